import { type EntityManager } from 'typeorm';
import { type SyncDelayHoldRow, type SyncDelayRepository } from '../../services/ports.js';

const MILLIS = `interval '1 millisecond'`;
const COLUMNS = `h.run_id AS "runId", h.project_id AS "projectId", h.instance_id AS "instanceId", h.job_id AS "jobId", h.fence, h.host, h.port, h.before, h.ours`;
const RUN = `run_id = $1 AND job_id = $2 AND fence = $3`;
/** After the first attempt half a minute, then twice as long each time, up to an hour. */
const PAUSE = `interval '1 second' * least(15 * 2 ^ least(h.attempts + 1, 20), 3600)`;

export const createSyncDelayRepository = (manager: EntityManager): SyncDelayRepository => {
  const exists = async (sql: string, parameters: readonly unknown[]): Promise<boolean> => ((await manager.query(sql, [...parameters])) as unknown[]).length > 0;
  return {
    take: (hold) =>
      exists(
        `INSERT INTO sync_delay_holds AS h (run_id, job_id, fence, project_id, instance_id, host, port, before, ours, created_at, due_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp(), clock_timestamp())
         ON CONFLICT (run_id) DO UPDATE SET before = excluded.before WHERE h.job_id = excluded.job_id AND h.fence = excluded.fence AND h.settler IS NULL RETURNING run_id`,
        [hold.runId, hold.jobId, hold.fence, hold.projectId, hold.instanceId, hold.host, hold.port, hold.before, hold.ours],
      ),
    isHeld: (hold) => exists(`SELECT 1 FROM sync_delay_holds WHERE ${RUN} AND settler IS NULL`, [hold.runId, hold.jobId, hold.fence]),
    async release(hold) {
      await manager.query(`DELETE FROM sync_delay_holds WHERE ${RUN} AND settler IS NULL`, [hold.runId, hold.jobId, hold.fence]);
    },
    async claimDead({ name, leaseMs }, of) {
      const [where, parameter] = 'instanceId' in of ? ['h.instance_id = $3', of.instanceId] : ['h.due_at <= clock_timestamp()', of.limit];
      const [rows]: [SyncDelayHoldRow[], number] = await manager.query(
        `WITH dead AS (
           SELECT h.run_id FROM sync_delay_holds h
           WHERE ${where} AND (h.settling_until IS NULL OR h.settling_until <= clock_timestamp())
             AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = h.job_id AND j.fence = h.fence AND j.state = 'RUNNING' AND j.lease_until > clock_timestamp())
           ORDER BY h.created_at LIMIT ${'limit' in of ? '$3' : 'ALL'} FOR UPDATE OF h SKIP LOCKED)
         UPDATE sync_delay_holds h SET settler = $1, settling_until = clock_timestamp() + $2 * ${MILLIS}, attempts = h.attempts + 1, due_at = clock_timestamp() + ${PAUSE}
         FROM dead WHERE h.run_id = dead.run_id RETURNING ${COLUMNS}`,
        [name, leaseMs, parameter],
      );
      return rows;
    },
    isClaimed: (runId, settler) => exists('SELECT 1 FROM sync_delay_holds WHERE run_id = $1 AND settler = $2 AND settling_until > clock_timestamp()', [runId, settler]),
    async settled(runId, settler) {
      const [, affected]: [unknown, number] = await manager.query('DELETE FROM sync_delay_holds WHERE run_id = $1 AND settler = $2', [runId, settler]);
      return affected === 1;
    },
    async giveUp(runId, settler) {
      await manager.query('UPDATE sync_delay_holds SET settling_until = NULL WHERE run_id = $1 AND settler = $2', [runId, settler]);
    },
    async leftOn({ projectId }, instanceId) {
      const [row]: SyncDelayHoldRow[] = await manager.query(
        `SELECT ${COLUMNS} FROM sync_delay_holds h WHERE h.project_id = $1 AND h.instance_id = $2
           AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = h.job_id AND j.state <> 'COMPLETED') LIMIT 1`,
        [projectId, instanceId],
      );
      return row ?? null;
    },
    async abandon({ projectId }, instanceId) {
      await manager.query('DELETE FROM sync_delay_holds WHERE project_id = $1 AND instance_id = $2', [projectId, instanceId]);
    },
  };
};
