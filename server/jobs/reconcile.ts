import { type Clock, type Log } from '../engine/ports.js';
import { type Database, type WorkQueue } from '../services/ports.js';
import { type WorkClock } from './clock.js';
import { retryWaitMs, wakeRefused } from './runner.js';

const BATCH = 200;
/** Of what is only kept for a time, at most so many rows go in one pass. */
const FORGET = 10_000;
/** Of job events: as many are looked at, whether they are old or not. */
const FORGET_EVENTS = 1_000;

export interface ReconcileDeps {
  db: Database;
  clock: Clock;
  log: Log;
  queue: WorkQueue;
  /** Whether there is a limit for all nodes together: a dead worker's place is then free for somebody. */
  limited?: boolean;
}

/** Tells the queue of jobs that nobody may take yet, when somebody may. */
export interface Waker {
  wakeLater(jobId: string, ms: number): void;
  stop(): void;
}

/** A wake-up that is lost with this process is made good by the recurring pass of any. */
export const createWaker = ({ queue, log }: Pick<ReconcileDeps, 'queue' | 'log'>): Waker => {
  const waits = new Set<NodeJS.Timeout>();
  return {
    wakeLater(jobId, ms) {
      // A little later than the job may be claimed: a wake-up that comes too early is lost.
      const wait = setTimeout(() => {
        waits.delete(wait);
        queue.enqueueJob(jobId).catch((error: unknown) => log.warn('A job could not be put into the queue; the next pass does it.', { jobId, error: String(error) }));
      }, ms + 50);
      waits.add(wait);
    },
    stop() {
      for (const wait of waits) clearTimeout(wait);
    },
  };
};

/** Gives jobs of dead workers back to the queue. Their fence grows, so that a worker that only slept can change nothing any more. */
export const collectExpired = async ({ db, clock, log, queue, limited }: ReconcileDeps, wakeLater: (jobId: string, ms: number) => void): Promise<void> => {
  const expired = await db.read.runs.expired(BATCH);
  for (const { id, fence, attempt } of expired) {
    const waitMs = retryWaitMs(attempt - 1);
    const taken = await db.transaction((tx) => tx.runs.takeBack(id, fence, waitMs, clock.now()));
    if (!taken) continue;
    log.warn('A job\'s worker is gone; the job goes back to the queue.', { jobId: id, attempt });
    wakeLater(id, waitMs);
  }
  if (limited && expired.length > 0) await wakeRefused({ db, requeue: (id) => queue.enqueueJob(id) });
};

/** Looks for expired leases every so often, one pass at a time. `stop` resolves when no pass is under way. */
export const startCollecting = (deps: ReconcileDeps & { waker: Waker }, everyMs: number): { stop(): Promise<void> } => {
  const { log, waker } = deps;
  let pass: Promise<void> | undefined;
  const timer = setInterval(() => {
    pass ??= collectExpired(deps, (jobId, ms) => waker.wakeLater(jobId, ms))
      .catch((error: unknown) => log.warn('Expired leases could not be looked for; they are at the next pass.', { error: String(error) }))
      .finally(() => {
        pass = undefined;
      });
  }, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await pass;
    },
  };
};

/** A job that has waited for longer has been put into the queue, or never will be. */
const ENQUEUED_WITHIN_MS = 5_000;

/** Wakes workers for everything that waits, in case the queue forgot it, and tells of what it had forgotten; a second wake-up is harmless. */
export const wakeWaiting = async ({ db, log, queue, limited }: Pick<ReconcileDeps, 'db' | 'log' | 'limited'> & { queue: Pick<WorkClock, 'enqueueJob' | 'enqueued'> }): Promise<void> => {
  const waiting = await db.read.runs.waiting(BATCH);
  const known = new Set(waiting.length > 0 ? await queue.enqueued() : []);
  for (const { id, forMs } of waiting) {
    // Under a limit for all nodes, jobs that were refused leave the queue and come back when there is room.
    if (forMs > ENQUEUED_WITHIN_MS && !known.has(id)) log[limited ? 'debug' : 'warn']('The clock had forgotten a job that waits; it is told again.', { jobId: id });
    await queue.enqueueJob(id);
  }
};

/** Removes what is over: idempotency keys past their time, leases whose readers died, job events and notices that are a month old, and old attempts at synchronisations. */
export const forgetOld = async ({ db }: Pick<ReconcileDeps, 'db'>): Promise<void> => {
  await db.read.idempotency.forgetOld(FORGET);
  await db.read.leases.forgetOld(FORGET);
  await db.read.links.forgetOld(FORGET);
  await db.read.events.forgetOld(FORGET_EVENTS);
  await db.read.notices.forgetOld(FORGET);
  await db.read.syncs.forgetOld(FORGET);
  await db.read.restoreDetails.forgetOld(FORGET);
};

/** All at once, whatever becomes of the others; what they failed with is thrown at the end. */
export const together = (...steps: (() => Promise<void>)[]): Promise<void> => {
  const begun = steps.map((step) => step());
  return everyStep(...begun.map((step) => () => step));
};

/** Every step, in order, whatever becomes of the others; what they failed with is thrown at the end. */
export const everyStep = async (...steps: (() => Promise<void>)[]): Promise<void> => {
  const faults: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => faults.push(error));
  if (faults.length > 1) throw new AggregateError(faults, `${faults.length} steps failed.`);
  if (faults.length === 1) throw faults[0];
};
