import { type EntityManager, In } from 'typeorm';
import { type BackupRepository, type LeaseRepository } from '../../services/ports.js';
import { type BackupRecord } from '../../services/records.js';
import { BackupEntity } from '../entities/backup.entity.js';
import { createBackupList } from './backup-list.js';
import { removeInspectionsOf } from './inspection.repository.js';
import { IS_READ, RETAINED_BECAUSE } from './kept.js';
import { instancesOf, owned, within } from './scoped.js';

const toRecord = ({ replicationId: _id, replicationOffset: _offset, ...entity }: BackupEntity, retainedBecause: BackupRecord['retainedBecause'] | undefined): BackupRecord => ({
  ...entity,
  durationMs: entity.startedAt && entity.completedAt ? entity.completedAt.getTime() - entity.startedAt.getTime() : null,
  retainedBecause: retainedBecause ?? null,
  verifications: entity.verifications ?? [],
});

export const createBackupRepository = (manager: EntityManager): BackupRepository => {
  const withKept = async (entities: readonly BackupEntity[]): Promise<BackupRecord[]> => {
    const expiring = entities.filter(({ state }) => state === 'AVAILABLE' || state === 'DAMAGED').map(({ id }) => id);
    const rows: Pick<BackupRecord, 'id' | 'retainedBecause'>[] = expiring.length > 0 ? await manager.query(`SELECT b.id, ${RETAINED_BECAUSE} AS "retainedBecause" FROM backups b WHERE b.id = ANY($1)`, [expiring]) : [];
    const kept = new Map(rows.map((row) => [row.id, row.retainedBecause]));
    return entities.map((entity) => toRecord(entity, kept.get(entity.id)));
  };
  const one = async (entity: BackupEntity | null): Promise<BackupRecord | null> => (entity ? ((await withKept([entity]))[0] ?? null) : null);

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
    ...createBackupList(manager),
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
