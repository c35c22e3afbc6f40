import { type EntityManager, IsNull, Not, type SelectQueryBuilder } from 'typeorm';
import { type PlanRepository, type PlanRow, type RestoreRepository, type Scope } from '../../services/ports.js';
import { type RestoreFilter, type RestoreRecord } from '../../services/records.js';
import { RestorePlanEntity } from '../entities/restore-plan.entity.js';
import { RestoreEntity } from '../entities/restore.entity.js';
import { countUpTo, fetchPage } from './page.js';
import { within } from './scoped.js';

/** The instance that the backup came from: a restore reads that one as well as it overwrites its target. */
const sourceOf = (alias: string): string => `(SELECT b.instance_id FROM backups b WHERE b.id = ${alias}.backup_id)`;

/** Of plans from before 0.2: all of them were for the replication link. */
const EARLIER = { methodReason: 'There was no other way then.', mayFallBack: false, replacesEverything: true, losses: [], disklessLoad: false };

const toPlan = ({ plan, keyId, usedAt }: RestorePlanEntity): PlanRow => ({ ...EARLIER, ...plan, keyId, usedAt });

export const createPlanRepository = (manager: EntityManager): PlanRepository => {
  const reached = (scope: Scope): SelectQueryBuilder<RestorePlanEntity> => within(manager.createQueryBuilder(RestorePlanEntity, 'p'), scope, 'p.instanceId', sourceOf('p'));
  return {
    async get(scope, id) {
      const row = await reached(scope).andWhere('p.id = :id', { id }).getOne();
      return row ? toPlan(row) : null;
    },
    getMany: async (scope, ids) => (await reached(scope).andWhere('p.id = ANY(:ids)', { ids }).getMany()).map(toPlan),
    async ofJob({ projectId }, jobId) {
      const row = await manager.findOneBy(RestorePlanEntity, { projectId, jobId });
      return row ? toPlan(row) : null;
    },
    async insert({ keyId, usedAt, ...plan }) {
      const { id, projectId, backupId, instanceId, jobId, createdAt, expiresAt } = plan;
      await manager.insert(RestorePlanEntity, { id, projectId, keyId, backupId, instanceId, plan, jobId, createdAt, expiresAt, usedAt });
    },
    async fill({ keyId: _keyId, usedAt: _usedAt, ...plan }) {
      const { id, projectId, expiresAt } = plan;
      await manager.update(RestorePlanEntity, { projectId, id, usedAt: IsNull() }, { plan, expiresAt });
    },
    async use({ projectId }, id, at) {
      const result = await manager.update(RestorePlanEntity, { projectId, id, usedAt: IsNull() }, { usedAt: at });
      return result.affected === 1;
    },
  };
};

const toRecord = ({ undoRecord: _undoRecord, ...entity }: RestoreEntity): RestoreRecord => entity;

export const createRestoreRepository = (manager: EntityManager): RestoreRepository => {
  const reached = (scope: Scope): SelectQueryBuilder<RestoreEntity> => within(manager.createQueryBuilder(RestoreEntity, 'r'), scope, 'r.instanceId', sourceOf('r'));
  const filtered = (scope: Scope, filter: RestoreFilter): SelectQueryBuilder<RestoreEntity> => {
    const query = reached(scope);
    if (filter.instanceId != null) query.andWhere('r.instanceId = :instanceId', { instanceId: filter.instanceId });
    if (filter.backupId != null) query.andWhere('r.backupId = :backupId', { backupId: filter.backupId });
    return query;
  };
  return {
    async get(scope, id) {
      const entity = await reached(scope).andWhere('r.id = :id', { id }).getOne();
      return entity ? toRecord(entity) : null;
    },
    getMany: async (scope, ids) => (await reached(scope).andWhere('r.id = ANY(:ids)', { ids }).getMany()).map(toRecord),
    list: (scope, filter, page) => fetchPage(filtered(scope, filter), page, toRecord),
    count: (scope, filter) => countUpTo(filtered(scope, filter)),
    async insert(restore) {
      await manager.insert(RestoreEntity, { ...restore, acceptedWarnings: [...restore.acceptedWarnings] });
    },
    async change({ projectId }, id, change) {
      await manager.update(RestoreEntity, { projectId, id }, change as Partial<RestoreEntity>);
    },
    async undoRecord({ projectId }, id) {
      const entity = await manager.findOneBy(RestoreEntity, { projectId, id });
      return entity?.undoRecord ?? null;
    },
    async unsettledInto({ projectId }, instanceId) {
      const entity = await manager.findOneBy(RestoreEntity, { projectId, instanceId, undoRecord: Not(IsNull()), completedAt: Not(IsNull()) });
      return entity ? toRecord(entity) : null;
    },
  };
};
