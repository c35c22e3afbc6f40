import { type EntityManager } from 'typeorm';
import { type LockRepository, type RetentionView, type UpkeepBackup, type UpkeepRepository } from '../../services/ports.js';
import { type SlotRecord } from '../../services/records.js';
import { InstanceEntity } from '../entities/instance.entity.js';
import { ProjectEntity } from '../entities/project.entity.js';
import { IS_READ } from './kept.js';
import { SLOT_COLUMNS } from './slot.repository.js';

const MILLIS = `interval '1 millisecond'`;

export const createLockRepository = (manager: EntityManager): LockRepository => ({
  async take(name, holder, leaseMs) {
    const [row]: { fence: number }[] = await manager.query(
      `INSERT INTO service_locks AS l (name, holder, fence, expires_at) VALUES ($1, $2, 1, clock_timestamp() + $3 * ${MILLIS})
       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = l.fence + 1, expires_at = excluded.expires_at
         WHERE l.expires_at <= clock_timestamp() RETURNING fence`,
      [name, holder, leaseMs],
    );
    return row?.fence ?? null;
  },
  async renew(name, fence, leaseMs) {
    const [, affected]: [unknown, number] = await manager.query(
      `UPDATE service_locks SET expires_at = clock_timestamp() + $3 * ${MILLIS} WHERE name = $1 AND fence = $2 AND expires_at > clock_timestamp()`,
      [name, fence, leaseMs],
    );
    return affected === 1;
  },
  async hold(name, fence) {
    const rows: unknown[] = await manager.query(
      'SELECT 1 FROM service_locks WHERE name = $1 AND fence = $2 AND expires_at > clock_timestamp() FOR SHARE', [name, fence],
    );
    return rows.length > 0;
  },
  async release(name, fence) {
    // A little earlier: the column's milliseconds are rounded, up too.
    await manager.query(`UPDATE service_locks SET expires_at = clock_timestamp() - interval '1 second' WHERE name = $1 AND fence = $2 AND expires_at > clock_timestamp()`, [name, fence]);
  },
});

const UNFINISHED = `EXISTS (SELECT 1 FROM jobs j WHERE j.state <> 'COMPLETED' AND (j.id = b.job_id OR j.backup_id = b.id))`;
const SELECT = `
  SELECT b.id, b.project_id AS "projectId", b.instance_id AS "instanceId", b.job_id AS "jobId", b.state, b.damage ->> 'code' AS "damageCode",
    b.completed_at AS "completedAt", b.expires_at AS "expiresAt", b.manifest_sha256 AS "manifestSha256", b.sha256,
    ${UNFINISHED} AS busy
  FROM backups b`;

export const createUpkeepRepository = (manager: EntityManager): UpkeepRepository => {
  const query = <T>(sql: string, parameters: readonly unknown[] = []): Promise<T[]> => manager.query(sql, [...parameters]);
  return {
    backups: (ids) => query<UpkeepBackup>(`${SELECT} WHERE b.id = ANY($1)`, [ids]),
    async busyBackups() {
      const rows = await query<{ id: string }>(
        `SELECT backup_id AS id FROM jobs WHERE state <> 'COMPLETED' AND backup_id IS NOT NULL
         UNION SELECT r.safety_backup_id FROM jobs j JOIN restores r ON r.id = j.restore_id WHERE j.state <> 'COMPLETED' AND r.safety_backup_id IS NOT NULL`,
      );
      return rows.map(({ id }) => id);
    },
    available: (afterId, limit) => query<UpkeepBackup>(`${SELECT} WHERE b.state = 'AVAILABLE' AND b.id > $1 ORDER BY b.id LIMIT $2`, [afterId, limit]),
    // The condition on constants is what lets the partial index answer.
    abandoned: (state, limit) =>
      query<UpkeepBackup>(`${SELECT} WHERE b.state IN ('CREATING', 'DELETING') AND b.state = $1 AND NOT ${UNFINISHED} ORDER BY b.created_at, b.id LIMIT $2`, [state, limit]),
    async instancesWithExpired(now, afterId, limit) {
      const rows = await query<{ id: string }>(
        `SELECT DISTINCT instance_id AS id FROM backups
         WHERE state IN ('AVAILABLE', 'FAILED', 'DAMAGED') AND expires_at <= $1 AND instance_id > $2 ORDER BY instance_id LIMIT $3`,
        [now, afterId, limit],
      );
      return rows.map(({ id }) => id);
    },
    async retention(instanceIds) {
      const backups = await query<RetentionView['backups'][number]>(
        `SELECT b.id AS "backupId", b.project_id AS "projectId", b.instance_id AS "instanceId", b.state, b.trigger, b.completed_at AS "completedAt", ${IS_READ} AS "inUse"
         FROM backups b WHERE b.instance_id = ANY($1) AND b.state NOT IN ('DELETING', 'DELETED') ORDER BY b.created_at DESC, b.id DESC`,
        [instanceIds],
      );
      const instances = await query<RetentionView['instances'][number]>(
        'SELECT id AS "instanceId", removed_at IS NULL AS protected FROM instances WHERE id = ANY($1)', [instanceIds],
      );
      return { backups, instances };
    },
    async lockBackups(instanceId) {
      await query(`SELECT 1 FROM backups WHERE instance_id = $1 AND state NOT IN ('DELETING', 'DELETED') ORDER BY created_at DESC, id DESC FOR UPDATE`, [instanceId]);
    },
    projectOfInstance: async (id) => (await manager.findOne(InstanceEntity, { where: { id }, select: { id: true, projectId: true } }))?.projectId ?? null,
    unsettledRestores: (limit) =>
      query(
        `SELECT r.id, r.project_id AS "projectId", r.instance_id AS "instanceId" FROM restores r JOIN instances i ON i.id = r.instance_id
         WHERE r.undo_record IS NOT NULL AND r.completed_at IS NOT NULL AND i.removed_at IS NULL
           AND (SELECT bool_and(j.state = 'COMPLETED') AND max(j.completed_at) < clock_timestamp() - interval '1 second' * least(4 ^ count(*), 86400)
                FROM jobs j WHERE j.restore_id = r.id)
         ORDER BY r.completed_at LIMIT $1`,
        [limit],
      ),
    secretsNotUnder: (keyId, afterId, limit) =>
      // Bytes 2 to 9 of a sealed secret name its master key.
      query(
        `SELECT id, project_id AS "projectId", secrets FROM instances
         WHERE secrets IS NOT NULL AND substring(secrets FROM 2 FOR 8) <> convert_to($1, 'UTF8') AND id > $2 ORDER BY id LIMIT $3`,
        [keyId, afterId, limit],
      ),
    async replaceSecrets(instanceId, from, to) {
      const [, affected]: [unknown, number] = await manager.query('UPDATE instances SET secrets = $3 WHERE id = $1 AND secrets = $2', [instanceId, from, to]);
      return affected === 1;
    },
    async endSlotsWithoutJob(reason, limit) {
      const [rows]: [SlotRecord[], number] = await manager.query(
        `UPDATE slots SET state = 'MISSED', job_id = NULL, reason = $1 WHERE id IN (
           SELECT s.id FROM slots s WHERE s.state = 'STARTED' AND s.planned_at > clock_timestamp() - interval '30 days'
             AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = s.job_id) LIMIT $2)
         RETURNING ${SLOT_COLUMNS}`,
        [reason, limit],
      );
      return rows.sort((a, b) => a.plannedAt.getTime() - b.plannedAt.getTime());
    },
    projects: () => manager.find(ProjectEntity, { order: { id: 'ASC' } }),
  };
};
