import { type Clock, type Log } from '../engine/ports.js';
import { type Database, type WorkQueue } from '../services/ports.js';
import { retryWaitMs } from './runner.js';

const BATCH = 200;

/** Gives jobs of dead workers back to the queue. Their fence grows, so that a worker that only slept can change nothing any more. */
export const collectExpired = async ({ db, clock, log, queue }: { db: Database; clock: Clock; log: Log; queue: WorkQueue }): Promise<void> => {
  for (const { id, fence, attempt } of await db.read.runs.expired(BATCH)) {
    const taken = await db.transaction((tx) => tx.runs.takeBack(id, fence, retryWaitMs(attempt - 1), clock.now()));
    if (!taken) continue;
    log.warn('A job\'s worker is gone; the job goes back to the queue.', { jobId: id, attempt });
    setTimeout(() => void queue.enqueueJob(id).catch(() => undefined), retryWaitMs(attempt - 1) + 50).unref();
  }
};

/** Wakes workers for everything that waits, in case the queue forgot it; a second wake-up is harmless. */
export const wakeWaiting = async ({ db, queue }: { db: Database; queue: WorkQueue }): Promise<void> => {
  for (const id of await db.read.runs.waiting(BATCH)) await queue.enqueueJob(id);
};
