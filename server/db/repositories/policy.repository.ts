import { Between, type EntityManager, In, IsNull, Not } from 'typeorm';
import { reaches } from '../../domain/principal.js';
import { type PolicyRepository } from '../../services/ports.js';
import { RETENTION_DAYS } from '../../domain/retention.js';
import { type PolicyRecord } from '../../services/records.js';
import { PolicyEntity } from '../entities/policy.entity.js';
import { owned } from './scoped.js';

const toRecord = ({ lateSince: _lateSince, ...entity }: PolicyEntity): PolicyRecord => ({ ...entity, retentionDays: RETENTION_DAYS });
const toRow = ({ retentionDays: _retentionDays, ...policy }: PolicyRecord) => ({ ...policy, weekdays: [...policy.weekdays] });

export const createPolicyRepository = (manager: EntityManager): PolicyRepository => ({
  async get(scope, id) {
    const entity = await manager.findOneBy(PolicyEntity, { ...owned(scope), id });
    return entity ? toRecord(entity) : null;
  },
  getByInstances: async (scope, instanceIds) =>
    (await manager.findBy(PolicyEntity, { projectId: scope.projectId, instanceId: In(instanceIds.filter((id) => reaches(scope, id))) })).map(toRecord),
  async insert(policy) {
    await manager.insert(PolicyEntity, toRow(policy));
  },
  async save(policy) {
    const { id, projectId, ...change } = toRow(policy);
    await manager.update(PolicyEntity, { id, projectId }, change);
  },
  async due(now, after, limit) {
    const query = manager.createQueryBuilder(PolicyEntity, 'p').select(['p.id', 'p.nextRunAt']).where('p.nextRunAt <= :now', { now });
    if (after) query.andWhere('(p.next_run_at, p.id) > (:plannedAt, :id)', after);
    return (await query.orderBy('p.nextRunAt').addOrderBy('p.id').limit(limit).getMany()).flatMap(({ id, nextRunAt }) => (nextRunAt ? [{ id, plannedAt: nextRunAt }] : []));
  },
  async lock(id, { skipLocked } = { skipLocked: false }) {
    const query = manager.createQueryBuilder(PolicyEntity, 'p').where('p.id = :id', { id }).setLock('pessimistic_write');
    const entity = await (skipLocked ? query.setOnLocked('skip_locked') : query).getOne();
    return entity ? toRecord(entity) : null;
  },
  async planned(within) {
    const rows = await manager.find(PolicyEntity, { select: { id: true, nextRunAt: true }, where: { nextRunAt: within ? Between(within.from, within.to) : Not(IsNull()) } });
    return rows.flatMap(({ id, nextRunAt }) => (nextRunAt ? [{ id, nextRunAt }] : []));
  },
});
