import { type EntityManager } from 'typeorm';
import { type SyncRecord } from '../../domain/source-sync.js';
import { type SyncRepository } from '../../services/ports.js';

const OWNED = `EXISTS (SELECT 1 FROM jobs j WHERE j.id = s.job_id AND j.fence = s.fence AND j.state = 'RUNNING' AND j.lease_until > clock_timestamp())`;

export const createSyncRepository = (manager: EntityManager): SyncRepository => ({
  async ofServer(runId, { windowMs, exceptId }) {
    await manager.query(`SELECT pg_advisory_xact_lock(hashtextextended('full synchronisation of ' || $1, 0))`, [runId]);
    return manager.query<SyncRecord[]>(
      `SELECT s.started_at AS "startedAt", CASE WHEN s.good THEN 'GOOD' WHEN s.ended_at IS NULL AND ${OWNED} THEN 'RUNNING' ELSE 'FAILED' END AS state
       FROM source_syncs s WHERE s.server_run_id = $1 AND s.id <> $3
         AND (s.started_at > clock_timestamp() - $2 * interval '1 millisecond' OR s.ended_at IS NULL)`,
      [runId, windowMs, exceptId],
    );
  },
  async insert({ id, runId, jobId, fence }) {
    await manager.query(
      `INSERT INTO source_syncs (id, server_run_id, job_id, fence, started_at, good) VALUES ($1, $2, $3, $4, clock_timestamp(), false) ON CONFLICT (id) DO NOTHING`,
      [id, runId, jobId, fence],
    );
  },
  async end(id, good) {
    await manager.query('UPDATE source_syncs SET ended_at = clock_timestamp(), good = $2 WHERE id = $1 AND ended_at IS NULL', [id, good]);
  },
  async forgetOld(limit) {
    // The longest window has a day; what runs for longer is kept.
    await manager.query(
      `DELETE FROM source_syncs WHERE id IN (
         SELECT s.id FROM source_syncs s WHERE s.started_at < clock_timestamp() - interval '2 days' AND NOT (s.ended_at IS NULL AND ${OWNED}) ORDER BY s.started_at LIMIT $1)`,
      [limit],
    );
  },
});
