import { randomUUID } from 'node:crypto';
import { type SyncLimits, syncRefusal } from '../domain/source-sync.js';
import { type Log, type SyncGate } from '../engine/ports.js';
import { type ClaimedJob, type Database, type Repositories } from './ports.js';

export interface SyncOwner extends Pick<ClaimedJob, 'job' | 'fence'> {
  /** A transaction in which nobody can take the job over; `work` may run more than once. */
  write<T>(work: (tx: Repositories) => Promise<T>): Promise<T>;
}

export interface SyncGateDeps {
  db: Database;
  log: Log;
  limits: SyncLimits;
}

/**
 * The gate of one run. Each attempt is a row from before PSYNC is sent until the server is rid of us; one that dies with its run counts as failed.
 * @param always the attempts count, but none is refused: a person has asked for what depends on them
 */
export const createSyncGate = ({ db, log, limits }: SyncGateDeps, { job, fence, write }: SyncOwner, { always = false }: { always?: boolean } = {}): SyncGate => ({
  async begin({ runId, address }) {
    const id = randomUUID();
    await write(async (tx) => {
      // Also where none is refused: it waits for who judges at this moment.
      const attempts = await tx.syncs.ofServer(runId, { windowMs: limits.windowMs, exceptId: id });
      const refusal = always ? null : syncRefusal(address, attempts, limits, await tx.now());
      if (refusal) throw refusal;
      await tx.syncs.insert({ id, runId, jobId: job.id, fence });
    });
    return {
      // It ends with its run by itself; then it counts as failed.
      end: (good) => db.read.syncs.end(id, good).catch((error: unknown) => log.warn('The end of a synchronisation could not be written down.', { jobId: job.id, error: String(error) })),
    };
  },
});
