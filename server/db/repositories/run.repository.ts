import { type EntityManager } from 'typeorm';
import { type GivenBack, type RunRepository } from '../../services/ports.js';
import { JobEntity } from '../entities/job.entity.js';
import { isUniqueViolation } from '../faults.js';
import { returned } from '../returned.js';
import { type AppendEvent, toJobRecord } from './job.repository.js';

const OWNED = `id = $1 AND fence = $2 AND state = 'RUNNING' AND lease_until > clock_timestamp()`;
/** Claims under a limit for all nodes come one after the other, or two could take the last place. Taken before every other lock. */
const LIMIT_LOCK = 5_277_632_003;
/** What is to be cancelled waits for nothing any more. */
const MAY_RUN = '(not_before IS NULL OR not_before <= clock_timestamp() OR cancel_requested_at IS NOT NULL)';
const MILLIS = `interval '1 millisecond'`;

/** Writes that bring an event belong into a transaction; the others are one statement each. */
export const createRunRepository = (manager: EntityManager, append: AppendEvent): RunRepository => {
  const update = async (sql: string, parameters: readonly unknown[]): Promise<Record<string, unknown>[]> => {
    const [rows]: [Record<string, unknown>[], number] = await manager.query(sql, [...parameters]);
    return rows;
  };
  const withEvent = async (row: Record<string, unknown>, at: Date): Promise<JobEntity> => {
    const entity = returned(manager, JobEntity, row);
    await append(toJobRecord(entity), { kind: 'STATE', at });
    return entity;
  };
  const backToQueue = async (where: string, [id, fence]: [string, number], { waitMs, counts }: GivenBack, at: Date): Promise<boolean> => {
    const [row] = await update(
      `UPDATE jobs SET state = 'QUEUED', fence = fence + 1, sequence = sequence + 1, lease_until = NULL, worker = NULL,
         max_attempts = max_attempts + $4, not_before = clock_timestamp() + $3 * ${MILLIS} WHERE ${where} RETURNING *`,
      [id, fence, waitMs, counts ? 0 : 1],
    );
    if (!row) return false;
    await withEvent(row, at);
    return true;
  };
  return {
    async claim(jobId, { worker, leaseMs, limit, at }) {
      if (limit !== null) await manager.query('SELECT pg_advisory_xact_lock($1)', [LIMIT_LOCK]);
      const [row] = await update(
        `UPDATE jobs SET state = 'RUNNING', fence = fence + 1, attempt = attempt + 1, sequence = sequence + 1, worker = $2,
           lease_until = clock_timestamp() + $3 * ${MILLIS}, started_at = coalesce(started_at, $4)
         WHERE id = $1 AND state = 'QUEUED' AND ${MAY_RUN}
           AND ($5::integer IS NULL OR $5 > (SELECT count(*) FROM jobs r WHERE r.state = 'RUNNING' AND r.lease_until > clock_timestamp()))
         RETURNING *`,
        [jobId, worker, leaseMs, at, limit],
      );
      if (!row) return null;
      const entity = await withEvent(row, at);
      return { job: toJobRecord(entity), fence: entity.fence, serverRunId: entity.serverRunId, maxAttempts: entity.maxAttempts };
    },
    async renew(jobId, fence, leaseMs) {
      const [row] = await update(
        `UPDATE jobs SET lease_until = clock_timestamp() + $3 * ${MILLIS} WHERE ${OWNED} RETURNING cancel_requested_at IS NOT NULL AS cancelled`,
        [jobId, fence, leaseMs],
      );
      return row ? { cancelRequested: row['cancelled'] === true } : null;
    },
    async owns(jobId, fence) {
      const rows: unknown[] = await manager.query(`SELECT 1 FROM jobs WHERE ${OWNED}`, [jobId, fence]);
      return rows.length > 0;
    },
    async hold(jobId, fence) {
      const rows: unknown[] = await manager.query(`SELECT 1 FROM jobs WHERE ${OWNED} FOR UPDATE`, [jobId, fence]);
      return rows.length > 0;
    },
    async bindServer(jobId, fence, runId) {
      // Checked first so that the usual refusal is no fault of a statement; the unique index decides a race.
      const bound = update(
        `UPDATE jobs SET server_run_id = $3 WHERE ${OWNED} AND NOT EXISTS (
           SELECT 1 FROM jobs o WHERE o.server_run_id = $3 AND o.id <> $1 AND o.state <> 'COMPLETED' AND o.kind IN ('BACKUP', 'RESTORE')) RETURNING id`,
        [jobId, fence, runId],
      );
      return bound.then((rows) => rows.length > 0, (error: unknown) => {
        if (isUniqueViolation(error)) return false;
        throw error;
      });
    },
    giveBack: (jobId, fence, given, at) => backToQueue(OWNED, [jobId, fence], given, at),
    async expired(limit) {
      return manager.query(`SELECT id, fence, attempt FROM jobs WHERE state = 'RUNNING' AND lease_until <= clock_timestamp() ORDER BY lease_until LIMIT $1`, [limit]);
    },
    takeBack: (jobId, fence, waitMs, at) =>
      backToQueue(`id = $1 AND fence = $2 AND state = 'RUNNING' AND lease_until <= clock_timestamp()`, [jobId, fence], { waitMs, counts: true }, at),
    async waiting(limit) {
      return manager.query(
        `SELECT id, extract(epoch FROM clock_timestamp() - coalesce(not_before, created_at))::float8 * 1000 AS "forMs" FROM jobs
         WHERE state = 'QUEUED' AND ${MAY_RUN} ORDER BY created_at LIMIT $1`,
        [limit],
      );
    },
  };
};
