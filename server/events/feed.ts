import { feedCursor, parseFeedCursor } from '../domain/cursor.js';
import { type EventFeed, type JobEventRepository, type JobEventRow } from '../services/ports.js';
import { type JobEventRecord } from '../services/records.js';
import { type EventHub } from './hub.js';

const BATCH = 200;
/** Readers look this often even when nothing is announced: an announcement may be lost, an event never is. */
const POLL_MS = 2_000;

const toRecord = ({ position, ...event }: JobEventRow): JobEventRecord => ({ cursor: feedCursor(position), ...event });

/** A database that is away is asked again this often, and for this long, before a reader is told. */
const AGAIN_MS = 500;
const PATIENCE_MS = 30_000;

/** Progress that a later event of the same job in the batch supersedes is left out; nothing else ever is. */
const withoutStaleProgress = (batch: readonly JobEventRow[]): JobEventRow[] => {
  const newest = new Map(batch.map((event) => [event.job.id, event.sequence]));
  return batch.filter((event) => event.kind !== 'PROGRESS' || newest.get(event.job.id) === event.sequence);
};

/**
 * Repeats `read` whenever the topic is announced, and gives out what it finds. `return()` ends a wait at once: a generator by itself
 * would let it wait for the next event.
 */
const follow = (hub: EventHub, topic: string, read: () => Promise<JobEventRow[]>, mayPass: (error: unknown) => boolean): AsyncIterableIterator<JobEventRecord> => {
  let over = false;
  let announced = true;
  let failingSince: number | undefined;
  let resume: (() => void) | undefined;
  const forget = hub.onEvent(topic, () => {
    announced = true;
    resume?.();
  });
  /** The next rows; null when the database is away for a moment. */
  const look = async (): Promise<JobEventRow[] | null> => {
    try {
      const rows = await read();
      failingSince = undefined;
      return rows;
    } catch (error) {
      failingSince ??= performance.now();
      if (!mayPass(error) || performance.now() - failingSince > PATIENCE_MS) throw error;
      return null;
    }
  };
  const announcement = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        resume = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      resume = done;
    });
  const events = (async function* () {
    try {
      while (!over) {
        if (!announced) await announcement(POLL_MS);
        if (over) return;
        announced = false;
        const batch = await look();
        if (batch === null) {
          await announcement(AGAIN_MS);
          announced = true;
          continue;
        }
        if (batch.length === BATCH) announced = true;
        for (const event of withoutStaleProgress(batch)) {
          if (over) return;
          yield toRecord(event);
        }
      }
    } finally {
      forget();
    }
  })();
  const end = (): void => {
    over = true;
    resume?.();
    forget();
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => events.next(),
    return: () => {
      end();
      return events.return(undefined);
    },
    throw: (error: unknown) => {
      end();
      return events.throw(error);
    },
  };
};

/** @param mayPass whether a fault of the database's passes by itself, so that reading is tried again */
export const createEventFeed = (rows: JobEventRepository, hub: EventHub, mayPass: (error: unknown) => boolean): EventFeed => ({
  job(scope, jobId, afterSequence) {
    let after = afterSequence;
    return follow(hub, jobId, async () => {
      const batch = await rows.ofJob(scope, jobId, after, BATCH);
      after = batch.at(-1)?.sequence ?? after;
      return batch;
    }, mayPass);
  },
  async project(scope, filter, cursor) {
    let after = cursor === null ? await rows.lastPosition(scope) : parseFeedCursor(cursor, 'after');
    return follow(hub, scope.projectId, async () => {
      const batch = await rows.ofProject(scope, filter, after, BATCH);
      after = batch.at(-1)?.position ?? after;
      return batch;
    }, mayPass);
  },
});
