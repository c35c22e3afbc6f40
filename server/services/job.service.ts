import { DomainError } from '../domain/errors.js';
import { authorise } from '../domain/principal.js';
import { type Clock } from '../engine/ports.js';
import { type JobApi } from './api.js';
import { noted } from './audit.js';
import { parseFeedCursor } from '../domain/cursor.js';
import { once, recalled } from './idempotency.js';
import { checkFilter, lookUp, shownId } from './lookup.js';
import { inOrder } from './order.js';
import { pageQuery, toPage } from './pagination.js';
import { type Database, type EventFeed, type Repositories, type WorkQueue } from './ports.js';
import { type JobEventRecord, type JobRecord } from './records.js';
import { failPlan } from './restore-plan.js';

const missing = (id: string): DomainError => new DomainError('NOT_FOUND', `There is no job ${shownId(id)}.`, { field: ['jobId'] });

export const createJobService = ({ db, feed, clock, queue }: { db: Database; feed: EventFeed; clock: Clock; queue: WorkQueue }): JobApi => ({
  async get(caller, id) {
    authorise(caller, 'read');
    return db.read.jobs.get(caller, id);
  },

  async getMany(caller, ids) {
    authorise(caller, 'read');
    return inOrder(ids, await db.read.jobs.getMany(caller, ids), ({ id }) => id);
  },

  async runningByInstance(caller, instanceIds) {
    authorise(caller, 'read');
    return inOrder(instanceIds, await db.read.jobs.runningByInstance(caller, instanceIds), ({ instanceId }) => instanceId ?? '');
  },

  async list(caller, filter, page, wanted) {
    authorise(caller, 'read');
    const query = pageQuery('jobs', page);
    const asked = checkFilter(filter);
    // Before the page: what happens in between is in both, and not in neither.
    const feedCursor = wanted?.feedCursor === true ? await feed.now(caller) : null;
    return { ...toPage('jobs', query, await db.read.jobs.list(caller, asked, query), () => db.read.jobs.count(caller, filter)), feedCursor };
  },

  async cancel(caller, { jobId, idempotencyKey: key }) {
    authorise(caller, 'operate');
    const at = clock.now();
    const call = { mutation: 'cancelJob', key, input: { jobId }, ids: {}, at };
    const cancelled = await db.transaction((tx) => once(tx, caller, call, async () => {
      const job = await lookUp('job', jobId, (id) => tx.jobs.get(caller, id));
      if (!job) throw missing(jobId);
      if (job.state === 'COMPLETED' || job.cancelRequestedAt !== null) return job;
      const told = async (changed: JobRecord): Promise<JobRecord> => {
        await noted(tx, caller, { action: 'JOB_CANCELLED', objectId: jobId, instanceId: job.instanceId, details: { kind: job.kind }, at });
        return changed;
      };
      const ended = await endUnstarted(tx, job, at);
      if (ended) return told(ended);
      // One step, judged by the row as it is now: the worker may pass the point of no return at the same moment.
      const asked = await tx.jobs.change(jobId, { states: ['QUEUED', 'RUNNING'], cancellable: true }, { cancelRequestedAt: at }, { kind: 'STATE', at });
      if (asked) return told(asked);
      const now = await tx.jobs.get(caller, jobId);
      if (!now) throw missing(jobId);
      if (now.state === 'COMPLETED') return now;
      throw new DomainError('CONFLICT', `This ${now.kind.toLowerCase()} can no longer be cancelled.`, {
        hint: now.kind === 'RESTORE' ? 'The target is loading the data; to go back, restore the safety backup afterwards.' : 'Wait until it has ended.',
        field: ['jobId'],
      });
    }, async () => recalled(await tx.jobs.get(caller, jobId))));
    // One that waits is put in order by a worker now, whatever it waits for.
    if (cancelled.state === 'QUEUED') await queue.enqueueJob(cancelled.id);
    return cancelled;
  },

  async progress(caller, { jobId, afterSequence }) {
    authorise(caller, 'read');
    if (afterSequence != null && afterSequence < 0) throw new DomainError('BAD_INPUT', '"afterSequence" must not be negative.', { field: ['afterSequence'] });
    const standing = await lookUp('job', jobId, (id) => feed.standing(caller, id));
    if (!standing) throw missing(jobId);
    const { snapshot, hasEvents } = standing;
    const { job } = snapshot;
    // Of a job that ended longer ago than events are kept, only how it ended can be told.
    const resumed = afterSequence != null && afterSequence < job.sequence && (hasEvents || job.state !== 'COMPLETED');
    return untilEnd(feed.job(caller, jobId, resumed ? afterSequence : job.sequence), resumed ? null : snapshot);
  },

  async events(caller, { filter, after }) {
    authorise(caller, 'read');
    if (after != null) parseFeedCursor(after, 'after');
    return feed.project(caller, checkFilter(filter), after ?? null);
  },
});

/** A job that no worker has ever taken up leaves nothing to put in order: it is over at once, and its server free. Null when one has. */
const endUnstarted = async (tx: Repositories, job: JobRecord, at: Date): Promise<JobRecord | null> => {
  const ended = await tx.jobs.change(
    job.id, { states: ['QUEUED'], cancellable: true, neverRun: true },
    { state: 'COMPLETED', conclusion: 'CANCELLED', cancelRequestedAt: at, completedAt: at, cancellable: false }, { kind: 'STATE', at },
  );
  if (!ended) return null;
  if (job.kind === 'BACKUP' && job.backupId !== null) await tx.backups.change(job, job.backupId, ['CREATING'], { state: 'DELETED', completedAt: at });
  if (job.kind === 'INSPECT') await tx.inspections.remove(job, job.id);
  if (job.kind === 'PLAN') await failPlan(tx, job, job.id);
  if (job.restoreId !== null) await tx.restores.change(job, job.restoreId, { completedAt: at });
  return ended;
};

/** The first event, then the feed up to the event that ends the job. */
const untilEnd = (events: AsyncIterableIterator<JobEventRecord>, first: JobEventRecord | null): AsyncIterableIterator<JobEventRecord> => {
  let pending = first;
  let over = false;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (over) return { done: true, value: undefined };
      const result: IteratorResult<JobEventRecord> = pending ? { done: false, value: pending } : await events.next();
      pending = null;
      if (result.done) over = true;
      else if (result.value.job.state === 'COMPLETED') {
        over = true;
        await events.return?.();
      }
      return result;
    },
    async return() {
      over = true;
      await events.return?.();
      return { done: true, value: undefined };
    },
  };
};
