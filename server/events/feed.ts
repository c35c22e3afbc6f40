import { feedCursor, parseFeedCursor } from '../domain/cursor.js';
import { DomainError } from '../domain/errors.js';
import { createJoint } from '../domain/joint.js';
import { reaches } from '../domain/principal.js';
import { type Clock } from '../engine/ports.js';
import { type EventFeed, type JobEventRepository, type JobRepository, type Scope } from '../services/ports.js';
import { type JobFilter } from '../services/records.js';
import { type EventHub } from './hub.js';
import { type MayPass } from './patience.js';
import { place, type Placed } from './placed.js';
import { BATCH, Subscription } from './subscription.js';
import { createTail } from './tail.js';

export interface FeedDeps {
  events: Pick<JobEventRepository, 'ofJob' | 'ofProject' | 'lastPosition' | 'since' | 'newestPosition' | 'forgottenTo'>;
  jobs: Pick<JobRepository, 'get'>;
  hub: Pick<EventHub, 'onEvent'>;
  clock: Clock;
  /** Whether a fault of the database's passes by itself, so that reading is tried again. */
  mayPass: MayPass;
  /** How often a node looks for events that nobody has announced to it. Default 2,000 ms. */
  pollMs?: number | undefined;
}

/** Who is shown the same; what else a caller is makes no difference to what it reads. */
const keyOf = ({ projectId, instanceIds }: Scope, ...more: readonly unknown[]): string => JSON.stringify([projectId, instanceIds ?? null, ...more]);

/** The conditions of `JobEventRepository.ofProject`, for an event that is at hand. */
const passes = ({ record: { job } }: Placed, scope: Scope, { instanceIds, kinds, states }: JobFilter): boolean =>
  job.projectId === scope.projectId
  && (scope.instanceIds == null || (job.instanceId !== null && reaches(scope, job.instanceId)))
  && (instanceIds == null || (job.instanceId !== null && instanceIds.includes(job.instanceId)))
  && (kinds == null || kinds.includes(job.kind))
  && (states == null || states.includes(job.state));

export const createEventFeed = ({ events, jobs, hub, clock, mayPass, pollMs }: FeedDeps): EventFeed => {
  const tail = createTail(events, hub, mayPass, pollMs);
  const jointly = createJoint();
  const lastOf = (scope: Scope): Promise<string> => jointly(keyOf(scope, 'last'), () => events.lastPosition(scope));
  const forgotten = (): Promise<string> => jointly('forgotten', () => events.forgottenTo());

  return {
    async now(scope) {
      const [last, gone] = [await lastOf(scope), await forgotten()];
      return feedCursor(BigInt(last) < BigInt(gone) ? gone : last);
    },
    standing: (scope, jobId) => jointly(keyOf(scope, 'standing', jobId), async () => {
      // The position first: an event that comes in between is then given twice in the feed, not skipped.
      const position = await events.lastPosition(scope, jobId);
      const job = await jobs.get(scope, jobId);
      if (!job) return null;
      const hasEvents = position !== '0';
      return {
        snapshot: { cursor: feedCursor(hasEvents ? position : await events.forgottenTo()), sequence: job.sequence, kind: 'SNAPSHOT', at: clock.now(), job, notice: null },
        hasEvents,
      };
    }),
    job: (scope, jobId, afterSequence) => new Subscription<number>({
      after: afterSequence,
      placeOf: ({ record }) => record.sequence,
      wants: (event) => passes(event, scope, {}),
      read: (after) => jointly(keyOf(scope, 'job', jobId, after), async () => (await events.ofJob(scope, jobId, after, BATCH)).map(place)),
      follow: (taker) => tail.follow(scope.projectId, jobId, taker),
    }, mayPass),
    async project(scope, filter, cursor) {
      const from = cursor === null
        ? await lastOf(scope)
        : parseFeedCursor(cursor, 'after');
      if (cursor !== null && BigInt(from) < BigInt(await forgotten())) {
        throw new DomainError('BAD_INPUT', '"after" is older than what is kept: events have come and gone since.', { hint: 'Read how the jobs stand, and follow the feed from now on.', field: ['after'] });
      }
      return new Subscription<bigint>({
        after: BigInt(from),
        placeOf: ({ position }) => position,
        wants: (event) => passes(event, scope, filter),
        read: (after) => jointly(keyOf(scope, 'project', filter.instanceIds, filter.kinds, filter.states, String(after)), async () => (await events.ofProject(scope, filter, String(after), BATCH)).map(place)),
        follow: (taker) => tail.follow(scope.projectId, scope.projectId, taker),
      }, mayPass);
    },
  };
};
