import { type EntityManager, type SelectQueryBuilder } from 'typeorm';
import { type Scope, type SlotRepository } from '../../services/ports.js';
import { type SlotFilter, type SlotRecord } from '../../services/records.js';
import { SlotEntity } from '../entities/slot.entity.js';
import { COUNTED, isAscending } from './page.js';
import { instancesOf, owned } from './scoped.js';

/** A whole record, for statements of their own. */
export const SLOT_COLUMNS = `id, project_id AS "projectId", policy_id AS "policyId", instance_id AS "instanceId", planned_at AS "plannedAt", weekday, state,
  started_by AS "startedBy", job_id AS "jobId", reason`;

export const createSlotRepository = (manager: EntityManager): SlotRepository => {
  const select = (): SelectQueryBuilder<SlotEntity> => manager.createQueryBuilder(SlotEntity, 's');
  /** Of instance `w.id`; $1 to $4 as `parametersOf` gives them. */
  const OF_INSTANCE = 's.instance_id = w.id AND s.project_id = $1 AND ($2::text[] IS NULL OR s.instance_id = ANY($2)) AND ($3::text[] IS NULL OR s.state = ANY($3))';
  const parametersOf = (scope: Scope, instanceIds: readonly string[], { states }: SlotFilter): unknown[] => [scope.projectId, instancesOf(scope), states ?? null, instanceIds];
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
    async listByInstance(scope, instanceIds, filter, page) {
      const { forward, limit, from } = page;
      const ascending = isAscending(page);
      const direction = ascending ? 'ASC' : 'DESC';
      const behind = from ? `AND (s.planned_at, s.id) ${ascending ? '>' : '<'} ($6, $7)` : '';
      const rows: SlotRecord[] = await manager.query(
        `SELECT p.* FROM unnest($4::text[]) w (id) CROSS JOIN LATERAL (
           SELECT ${SLOT_COLUMNS} FROM slots s WHERE ${OF_INSTANCE} ${behind} ORDER BY s.planned_at ${direction}, s.id ${direction} LIMIT $5) p
         ORDER BY p."plannedAt" ${direction}, p.id ${direction}`,
        [...parametersOf(scope, instanceIds, filter), limit + 1, ...(from ? [from.createdAt, from.id] : [])],
      );
      return instanceIds.map((id) => {
        const own = rows.filter(({ instanceId }) => instanceId === id);
        const items = own.slice(0, limit);
        return { items: forward ? items : items.reverse(), more: own.length > limit };
      });
    },
    async countByInstance(scope, instanceIds, filter) {
      const rows: { id: string; count: number }[] = await manager.query(
        `SELECT w.id, (SELECT count(*)::int FROM (SELECT 1 FROM slots s WHERE ${OF_INSTANCE} LIMIT ${COUNTED}) counted) AS count FROM unnest($4::text[]) w (id)`, parametersOf(scope, instanceIds, filter),
      );
      const counts = new Map(rows.map(({ id, count }) => [id, count]));
      return instanceIds.map((id) => counts.get(id) ?? 0);
    },
  };
};
