import { feedCursor, parseFeedCursor } from '../domain/cursor.js';
import { type EventFeed, type JobEventRepository, type JobEventRow } from '../services/ports.js';
import { type JobEventRecord } from '../services/records.js';
import { type EventHub } from './hub.js';

const BATCH = 200;
/** Readers look this often even when nothing is announced: an announcement may be lost, an event never is. */
const POLL_MS = 2_000;

const toRecord = ({ position, ...event }: JobEventRow): JobEventRecord => ({ cursor: feedCursor(position), ...event });

/** Progress that a later event of the same job in the batch supersedes is left out; nothing else ever is. */
const withoutStaleProgress = (batch: readonly JobEventRow[]): JobEventRow[] => {
  const newest = new Map(batch.map((event) => [event.job.id, event.sequence]));
  return batch.filter((event) => event.kind !== 'PROGRESS' || newest.get(event.job.id) === event.sequence);
};

/**
 * Repeats `read` whenever the topic is announced, and gives out what it finds. `return()` ends a wait at once: a generator by itself
 * would let it wait for the next event.
 */
const follow = (hub: EventHub, topic: string, read: () => Promise<JobEventRow[]>): AsyncIterableIterator<JobEventRecord> => {
  let over = false;
  let announced = true;
  let resume: (() => void) | undefined;
  const forget = hub.onEvent(topic, () => {
    announced = true;
    resume?.();
  });
  const announcement = (): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        resume = undefined;
        resolve();
      };
      const timer = setTimeout(done, POLL_MS);
      resume = done;
    });
  const events = (async function* () {
    try {
      while (!over) {
        if (!announced) await announcement();
        if (over) return;
        announced = false;
        const batch = await read();
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

export const createEventFeed = (rows: JobEventRepository, hub: EventHub): EventFeed => ({
  job(scope, jobId, afterSequence) {
    let after = afterSequence;
    return follow(hub, jobId, async () => {
      const batch = await rows.ofJob(scope, jobId, after, BATCH);
      after = batch.at(-1)?.sequence ?? after;
      return batch;
    });
  },
  async project(scope, filter, cursor) {
    let after = cursor === null ? await rows.lastPosition(scope) : parseFeedCursor(cursor, 'after');
    return follow(hub, scope.projectId, async () => {
      const batch = await rows.ofProject(scope, filter, after, BATCH);
      after = batch.at(-1)?.position ?? after;
      return batch;
    });
  },
});
