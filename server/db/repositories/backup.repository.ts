import { type EntityManager, In, type SelectQueryBuilder } from 'typeorm';
import { type BackupRepository, type LeaseRepository, type Scope } from '../../services/ports.js';
import { type BackupFilter, type BackupRecord } from '../../services/records.js';
import { BackupEntity } from '../entities/backup.entity.js';
import { removeInspectionsOf } from './inspection.repository.js';
import { containsText, fetchPage } from './page.js';
import { instancesOf, owned, within } from './scoped.js';

type Kept = { newestGood: boolean; read: boolean };

/** Whether something reads backup `b`, or a restore, verification or inspection that is still to begin will. */
export const IS_READ = `(
    EXISTS (SELECT 1 FROM backup_leases l WHERE l.backup_id = b.id AND l.expires_at > clock_timestamp())
    OR EXISTS (SELECT 1 FROM jobs r WHERE r.backup_id = b.id AND r.kind IN ('RESTORE', 'PLAN', 'VERIFY', 'INSPECT') AND r.state <> 'COMPLETED'))`;

/** `retainedBecause` as the retention rules of `domain/retention.ts` say it, in SQL, for one page of rows at a time. */
const KEPT_SQL = `
  SELECT b.id, ${IS_READ} AS "read",
    b.state = 'AVAILABLE' AND b.trigger <> 'PRE_RESTORE' AND i.removed_at IS NULL AND NOT EXISTS (
      SELECT 1 FROM backups n WHERE n.instance_id = b.instance_id AND n.state = 'AVAILABLE' AND n.trigger <> 'PRE_RESTORE'
        AND (n.completed_at, n.id) > (b.completed_at, b.id)) AS "newestGood"
  FROM backups b JOIN instances i ON i.id = b.instance_id
  WHERE b.id = ANY($1)`;

const toRecord = ({ replicationId: _id, replicationOffset: _offset, ...entity }: BackupEntity, kept: Kept | undefined): BackupRecord => ({
  ...entity,
  durationMs: entity.startedAt && entity.completedAt ? entity.completedAt.getTime() - entity.startedAt.getTime() : null,
  retainedBecause: kept?.newestGood ? 'NEWEST_GOOD' : kept?.read ? 'IN_USE' : null,
  verifications: entity.verifications ?? [],
});

export const createBackupRepository = (manager: EntityManager): BackupRepository => {
  const withKept = async (entities: readonly BackupEntity[]): Promise<BackupRecord[]> => {
    const expiring = entities.filter(({ state }) => state === 'AVAILABLE' || state === 'DAMAGED').map(({ id }) => id);
    const rows: (Kept & { id: string })[] = expiring.length > 0 ? await manager.query(KEPT_SQL, [expiring]) : [];
    const kept = new Map(rows.map((row) => [row.id, row]));
    return entities.map((entity) => toRecord(entity, kept.get(entity.id)));
  };
  const one = async (entity: BackupEntity | null): Promise<BackupRecord | null> => (entity ? ((await withKept([entity]))[0] ?? null) : null);

  const filtered = (scope: Scope, filter: BackupFilter): SelectQueryBuilder<BackupEntity> => {
    const query = within(manager.createQueryBuilder(BackupEntity, 'b'), scope, 'b.instanceId');
    if (filter.instanceId != null) query.andWhere('b.instanceId = :instanceId', { instanceId: filter.instanceId });
    if (filter.states) query.andWhere('b.state = ANY(:states)', { states: filter.states });
    else query.andWhere(`b.state <> 'DELETED'`);
    if (filter.triggers) query.andWhere('b.trigger = ANY(:triggers)', { triggers: filter.triggers });
    if (filter.nameContains) query.andWhere(containsText('b.name', 'name', filter.nameContains));
    if (filter.createdFrom) query.andWhere('b.createdAt >= :createdFrom', { createdFrom: filter.createdFrom });
    if (filter.createdBefore) query.andWhere('b.createdAt < :createdBefore', { createdBefore: filter.createdBefore });
    return query;
  };

  return {
    get: async (scope, id) => one(await manager.findOneBy(BackupEntity, { ...owned(scope), id })),
    getMany: async (scope, ids) => withKept(await manager.findBy(BackupEntity, { ...owned(scope), id: In([...ids]) })),
    async latestByInstance(scope, instanceIds) {
      const latest = manager
        .createQueryBuilder(BackupEntity, 'b')
        .distinctOn(['b.instance_id'])
        .where(`b.instanceId = ANY(:instanceIds) AND b.state = 'AVAILABLE' AND b.trigger <> 'PRE_RESTORE'`, { instanceIds });
      const entities = await within(latest, scope, 'b.instanceId')
        .orderBy('b.instance_id')
        .addOrderBy('b.completed_at', 'DESC')
        .addOrderBy('b.id', 'DESC')
        .getMany();
      return withKept(entities);
    },
    async list(scope, filter, page) {
      const { items, more } = await fetchPage(filtered(scope, filter), page, (entity) => entity);
      return { items: await withKept(items), more };
    },
    count: (scope, filter) => filtered(scope, filter).getCount(),
    async insert(backup) {
      await manager.insert(BackupEntity, { ...backup, state: 'CREATING', captureMethod: 'REPLICATION' });
    },
    async change(scope, id, from, change) {
      const result = await manager.update(BackupEntity, { ...owned(scope), id, state: In([...from]) }, change as Partial<BackupEntity>);
      const changed = result.affected === 1;
      // Whoever deletes a backup deletes what was found in it.
      if (changed && (change.state === 'DELETING' || change.state === 'DELETED')) await removeInspectionsOf(manager, scope, id);
      return changed;
    },
    async lock(scope, id) {
      return one(await within(manager.createQueryBuilder(BackupEntity, 'b').where('b.id = :id', { id }), scope, 'b.instanceId').setLock('pessimistic_write').getOne());
    },
  };
};

export const createLeaseRepository = (manager: EntityManager): LeaseRepository => ({
  async add({ projectId }, { id, backupId, holder, seconds }) {
    await manager.query(
      `INSERT INTO backup_leases (id, project_id, backup_id, holder, expires_at) VALUES ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 second')`,
      [id, projectId, backupId, holder, seconds],
    );
  },
  async renew(id, seconds) {
    const [, affected]: [unknown, number] = await manager.query(
      `UPDATE backup_leases SET expires_at = clock_timestamp() + $2 * interval '1 second' WHERE id = $1 AND expires_at > clock_timestamp()`,
      [id, seconds],
    );
    return affected === 1;
  },
  async remove(id) {
    await manager.query('DELETE FROM backup_leases WHERE id = $1', [id]);
  },
  async forgetOld(limit) {
    await manager.query(`DELETE FROM backup_leases WHERE id IN (SELECT id FROM backup_leases WHERE expires_at < clock_timestamp() - interval '1 hour' LIMIT $1)`, [limit]);
  },
  async isRead(scope, backupId) {
    const rows: unknown[] = await manager.query(
      `SELECT 1 FROM backups b WHERE b.project_id = $1 AND b.id = $2 AND ($3::text[] IS NULL OR b.instance_id = ANY($3)) AND ${IS_READ}`,
      [scope.projectId, backupId, instancesOf(scope)],
    );
    return rows.length > 0;
  },
});
