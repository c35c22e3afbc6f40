import { type DataSource, type SelectQueryBuilder } from 'typeorm';
import { JobEventEntity } from '../db/entities/job-event.entity.js';
import { feedCursor, parseFeedCursor } from '../services/cursor.js';
import { type EventFeed } from '../services/ports.js';
import { type JobEventRecord } from '../services/records.js';
import { type EventHub } from './hub.js';

const BATCH = 200;
/** Readers look this often even when nothing is announced: an announcement may be lost, an event never is. */
const POLL_MS = 2_000;

const toRecord = (entity: JobEventEntity): JobEventRecord => ({
  cursor: feedCursor(entity.position),
  sequence: entity.sequence,
  kind: entity.kind,
  at: entity.at,
  job: entity.job,
  notice: entity.notice,
});

/** Progress that a later event of the same job in the batch supersedes is left out; nothing else ever is. */
const withoutStaleProgress = (batch: readonly JobEventEntity[]): JobEventEntity[] => {
  const newest = new Map(batch.map((event) => [event.jobId, event.sequence]));
  return batch.filter((event) => event.kind !== 'PROGRESS' || newest.get(event.jobId) === event.sequence);
};

/**
 * Repeats `read` whenever the topic is announced, and gives out what it finds. `return()` ends a wait at once: a generator by itself
 * would let it wait for the next event.
 */
const follow = (hub: EventHub, topic: string, read: () => Promise<JobEventEntity[]>): AsyncIterableIterator<JobEventRecord> => {
  let over = false;
  let announced = true;
  let resume: (() => void) | undefined;
  const wake = (): void => {
    announced = true;
    resume?.();
  };
  const forget = hub.onEvent(topic, wake);
  const events = (async function* () {
    try {
      while (!over) {
        if (!announced) {
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, POLL_MS);
            resume = () => {
              clearTimeout(timer);
              resolve();
            };
          });
          resume = undefined;
        }
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

export const createEventFeed = (source: DataSource, hub: EventHub): EventFeed => {
  const select = (): SelectQueryBuilder<JobEventEntity> => source.manager.createQueryBuilder(JobEventEntity, 'e');
  return {
    job({ projectId }, jobId, afterSequence) {
      let after = afterSequence;
      return follow(hub, jobId, async () => {
        const batch = await select()
          .where('e.jobId = :jobId AND e.projectId = :projectId AND e.sequence > :after', { jobId, projectId, after })
          .orderBy('e.sequence')
          .limit(BATCH)
          .getMany();
        after = batch.at(-1)?.sequence ?? after;
        return batch;
      });
    },
    async project({ projectId }, filter, afterCursor) {
      let after: string;
      if (afterCursor !== null) {
        after = parseFeedCursor(afterCursor, 'after');
      } else {
        const [row]: { position: string | null }[] = await source.query('SELECT max(position) AS position FROM job_events WHERE project_id = $1', [projectId]);
        after = row?.position ?? '0';
      }
      return follow(hub, projectId, async () => {
        const query = select().where('e.projectId = :projectId AND e.position > :after', { projectId, after });
        if (filter.instanceIds) query.andWhere('e.instanceId = ANY(:instanceIds)', { instanceIds: filter.instanceIds });
        if (filter.kinds) query.andWhere('e.jobKind = ANY(:kinds)', { kinds: filter.kinds });
        if (filter.states) query.andWhere('e.jobState = ANY(:states)', { states: filter.states });
        const batch = await query.orderBy('e.position').limit(BATCH).getMany();
        after = batch.at(-1)?.position ?? after;
        return batch;
      });
    },
  };
};
