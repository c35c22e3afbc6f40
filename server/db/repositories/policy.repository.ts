import { type EntityManager, In } from 'typeorm';
import { type PolicyRepository, type SlotRepository, type SlotRow } from '../../services/ports.js';
import { RETENTION_DAYS } from '../../domain/retention.js';
import { type PolicyRecord } from '../../services/records.js';
import { PolicyEntity } from '../entities/policy.entity.js';
import { SlotEntity } from '../entities/slot.entity.js';

const toRecord = (entity: PolicyEntity): PolicyRecord => ({ ...entity, retentionDays: RETENTION_DAYS });
const toRow = ({ retentionDays: _retentionDays, ...policy }: PolicyRecord) => ({ ...policy, weekdays: [...policy.weekdays] });

export const createPolicyRepository = (manager: EntityManager): PolicyRepository => ({
  async get({ projectId }, id) {
    const entity = await manager.findOneBy(PolicyEntity, { projectId, id });
    return entity ? toRecord(entity) : null;
  },
  getByInstances: async ({ projectId }, instanceIds) =>
    (await manager.findBy(PolicyEntity, { projectId, instanceId: In([...instanceIds]) })).map(toRecord),
  async insert(policy) {
    await manager.insert(PolicyEntity, toRow(policy));
  },
  async save(policy) {
    const { id, projectId, ...change } = toRow(policy);
    await manager.update(PolicyEntity, { id, projectId }, change);
  },
  async due(now, limit) {
    const due = await manager.createQueryBuilder(PolicyEntity, 'p').select(['p.id', 'p.nextRunAt']).where('p.nextRunAt <= :now', { now }).orderBy('p.nextRunAt').limit(limit).getMany();
    return due.map(({ id }) => id);
  },
  async lock(id, { skipLocked } = { skipLocked: false }) {
    const query = manager.createQueryBuilder(PolicyEntity, 'p').where('p.id = :id', { id }).setLock('pessimistic_write');
    const entity = await (skipLocked ? query.setOnLocked('skip_locked') : query).getOne();
    return entity ? toRecord(entity) : null;
  },
  async planned() {
    const rows = await manager.createQueryBuilder(PolicyEntity, 'p').select(['p.id', 'p.nextRunAt']).where('p.nextRunAt IS NOT NULL').getMany();
    return rows.flatMap(({ id, nextRunAt }) => (nextRunAt ? [{ id, nextRunAt }] : []));
  },
});

export const createSlotRepository = (manager: EntityManager): SlotRepository => ({
  async insert(slot) {
    const result = await manager.createQueryBuilder().insert().into(SlotEntity).values(slot).orIgnore().returning('id').execute();
    return (result.raw as unknown[]).length > 0;
  },
  async waiting(limit) {
    const slots = await manager.createQueryBuilder(SlotEntity, 's').select(['s.id', 's.plannedAt']).where(`s.state = 'DUE'`).orderBy('s.plannedAt').limit(limit).getMany();
    return slots.map(({ id }) => id);
  },
  lockWaiting: (id) =>
    manager.createQueryBuilder(SlotEntity, 's').where(`s.id = :id AND s.state = 'DUE'`, { id }).setLock('pessimistic_write').setOnLocked('skip_locked').getOne(),
  async save({ id, ...change }: SlotRow) {
    await manager.update(SlotEntity, { id }, change);
  },
  list: ({ projectId }, policyId) => manager.find(SlotEntity, { where: { projectId, policyId }, order: { plannedAt: 'DESC' }, take: 100 }),
});
