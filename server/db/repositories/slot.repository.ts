import { type EntityManager, type SelectQueryBuilder } from 'typeorm';
import { type Scope, type SlotRepository } from '../../services/ports.js';
import { type SlotFilter, type SlotRecord } from '../../services/records.js';
import { SlotEntity } from '../entities/slot.entity.js';
import { fetchPage } from './page.js';
import { owned, within } from './scoped.js';

/** A whole record, for statements of their own. */
export const SLOT_COLUMNS = `id, project_id AS "projectId", policy_id AS "policyId", instance_id AS "instanceId", planned_at AS "plannedAt", weekday, state,
  started_by AS "startedBy", job_id AS "jobId", reason`;

export const createSlotRepository = (manager: EntityManager): SlotRepository => {
  const select = (): SelectQueryBuilder<SlotEntity> => manager.createQueryBuilder(SlotEntity, 's');
  const filtered = (scope: Scope, instanceId: string, { states }: SlotFilter): SelectQueryBuilder<SlotEntity> => {
    const query = within(select().where('s.instanceId = :instanceId', { instanceId }), scope, 's.instanceId');
    return states ? query.andWhere('s.state = ANY(:states)', { states }) : query;
  };
  return {
    get: (scope, id) => manager.findOneBy(SlotEntity, { ...owned(scope), id }),
    async insert(slot) {
      const result = await manager.createQueryBuilder().insert().into(SlotEntity).values(slot).orIgnore().returning('id').execute();
      return (result.raw as unknown[]).length > 0;
    },
    async waiting(after, limit) {
      const query = select().select(['s.id', 's.plannedAt']).where(`s.state = 'DUE'`);
      if (after) query.andWhere('(s.planned_at, s.id) > (:plannedAt, :id)', after);
      return (await query.orderBy('s.plannedAt').addOrderBy('s.id').limit(limit).getMany()).map(({ id, plannedAt }) => ({ id, plannedAt }));
    },
    waitingOf: async (policyId) => (await select().select('s.id').where(`s.policyId = :policyId AND s.state = 'DUE'`, { policyId }).getMany()).map(({ id }) => id),
    lockWaiting: (id) => select().where(`s.id = :id AND s.state = 'DUE'`, { id }).setLock('pessimistic_write').setOnLocked('skip_locked').getOne(),
    async endWaiting(policyId, exceptId, reason) {
      const [rows]: [SlotRecord[], number] = await manager.query(
        `UPDATE slots SET state = 'MISSED', reason = $3 WHERE policy_id = $1 AND state = 'DUE' AND id <> $2
         RETURNING ${SLOT_COLUMNS}`,
        [policyId, exceptId, reason],
      );
      return rows.sort((a, b) => a.plannedAt.getTime() - b.plannedAt.getTime());
    },
    async save({ id, ...change }) {
      await manager.update(SlotEntity, { id }, change);
    },
    list: (scope, instanceId, filter, page) => fetchPage(filtered(scope, instanceId, filter), page, (slot) => slot, 'plannedAt'),
    count: (scope, instanceId, filter) => filtered(scope, instanceId, filter).getCount(),
  };
};
