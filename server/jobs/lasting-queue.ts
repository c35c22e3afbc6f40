import { type Log } from '../engine/ports.js';
import { type WorkQueue } from '../services/ports.js';

/** What could not be told is told again this often. */
const AGAIN_MS = 2_000;
/** Whoever has committed work waits no longer for the clock's store. */
const PATIENCE_MS = 1_000;
/** Beyond this the recurring pass finds what was not told. */
const MOST = 10_000;

export interface LastingQueue extends WorkQueue {
  stop(): void;
}

/**
 * A queue whose calls never fail: they come after a commit, and its caller has got what was asked for, also while the clock's store is away.
 * What could not be told is remembered and told again until it could be, the newest word for each job and policy.
 */
export const createLastingQueue = (queue: WorkQueue, log: Log): LastingQueue => {
  const waiting = new Map<string, () => Promise<void>>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const tellAgain = async (): Promise<void> => {
    for (const [key, call] of waiting) {
      try {
        await call();
      } catch {
        // Still away: the rest would only wait for the same answer.
        break;
      }
      if (waiting.get(key) === call) waiting.delete(key);
    }
    timer = undefined;
    if (waiting.size > 0) plan();
    else if (!stopped) log.info('The clock has been told everything it missed.');
  };
  const plan = (): void => {
    if (!stopped) timer ??= setTimeout(() => void tellAgain(), AGAIN_MS);
  };
  const remember = (key: string, call: () => Promise<void>, error: unknown): void => {
    if (waiting.size === 0) log.warn('The clock cannot be told of work; it is told when it is back.', { error: String(error) });
    if (waiting.size >= MOST && !waiting.has(key)) return;
    waiting.set(key, call);
    plan();
  };
  const tell = async (key: string, call: () => Promise<void>): Promise<void> => {
    // A later word than the one that waits.
    if (waiting.has(key)) {
      waiting.set(key, call);
      return;
    }
    let late: NodeJS.Timeout | undefined;
    const told = call().catch((error: unknown) => remember(key, call, error));
    await Promise.race([told, new Promise<void>((resolve) => {
      late = setTimeout(resolve, PATIENCE_MS);
    })]);
    clearTimeout(late);
  };

  return {
    enqueueJob: (jobId) => tell(`job ${jobId}`, () => queue.enqueueJob(jobId)),
    schedulePolicy: (policyId, at) => tell(`policy ${policyId}`, () => queue.schedulePolicy(policyId, at)),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
};
