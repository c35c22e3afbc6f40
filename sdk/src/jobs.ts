import { type Connection } from './connection.js';
import { isSnapbackError, JobFailedError } from './errors.js';
import {
  CancelJobDocument, GetJobDocument, JobEventsDocument, JobProgressDocument, ListJobsDocument,
  type JobEventFragment, type JobFilter, type JobFragment,
} from './generated/operations.js';
import { createList, splitListInput, type List, type ListOptions } from './list.js';
import { type CallOptions } from './options.js';
import { found, fulfilled, idOf, type Ref } from './payload.js';
import { follow, resumed } from './stream.js';
import { openSubscription } from './subscription.js';
import { retryPolicy, startDeadline } from './timing.js';

export interface WatchOptions {
  /** Ends the watching; the iteration throws with kind `aborted` then. */
  signal?: AbortSignal;
  /** Begin after this event of the job, as `JobEvent.sequence` gave it, instead of with a snapshot. */
  afterSequence?: number;
}

export interface WaitOptions {
  /** Called for each event, the snapshot included. What it throws ends the waiting. */
  onProgress?: (job: JobFragment, event: JobEventFragment) => void;
  signal?: AbortSignal;
  /** Longest time to wait, in milliseconds; the job goes on after it. Default: no limit. */
  timeoutMs?: number;
}

export interface FeedOptions {
  signal?: AbortSignal;
  /** Begin after this event, as `JobEvent.cursor` gave it, instead of now. */
  after?: string;
}

export interface Jobs {
  /** A job, or null when there is none. */
  get(job: Ref, options?: CallOptions): Promise<JobFragment | null>;
  list(filter?: JobFilter & ListOptions, options?: CallOptions): List<JobFragment>;
  /** Asks a job to stop. One that is over is given as it is. */
  cancel(job: Ref, options?: CallOptions): Promise<JobFragment>;
  /**
   * A job's events: how it stands, then each change, up to its end. A cut connection is taken up again after the last event, so that
   * nothing is missed and nothing comes twice. For a slow reader, progress events are dropped in favour of newer ones; others never are.
   */
  watch(job: Ref, options?: WatchOptions): AsyncIterableIterator<JobEventFragment>;
  /** The job after its end. Throws JobFailedError when it did not succeed. */
  wait(job: Ref, options?: WaitOptions): Promise<JobFragment>;
  /**
   * The events of all the project's jobs, from now on. Does not end by itself. Taken up again like `watch`; what happened during a cut
   * before the very first event is not seen.
   */
  events(filter?: JobFilter, options?: FeedOptions): AsyncIterableIterator<JobEventFragment>;
}

const isReplacedBy = (newer: JobEventFragment, waiting: JobEventFragment): boolean =>
  waiting.kind === 'PROGRESS' && waiting.job.id === newer.job.id;

async function* pick<From, To>(events: AsyncIterable<From>, get: (from: From) => To): AsyncGenerator<To, void> {
  for await (const event of events) yield get(event);
}

export const createJobs = (connection: Connection): Jobs => {
  const retry = retryPolicy(connection.options.retry);

  const watch: Jobs['watch'] = (job, { signal: outer, afterSequence } = {}) => {
    const jobId = idOf(job);
    const what = `Watching ${jobId}`;
    return follow(what, outer, (signal) => resumed<JobEventFragment>({
      what, signal, retry,
      open: (last) => pick(
        openSubscription(connection, JobProgressDocument, { jobId, afterSequence: last?.sequence ?? afterSequence }, {
          what, signal, replaces: (newer, waiting) => isReplacedBy(newer.jobProgress, waiting.jobProgress),
        }),
        ({ jobProgress }) => jobProgress,
      ),
      isNewer: (event, last) => event.sequence > last.sequence,
      isFinal: (event) => event.job.state === 'COMPLETED',
    }));
  };

  const events: Jobs['events'] = (filter = {}, { signal: outer, after } = {}) => {
    const what = 'The feed of job events';
    return follow(what, outer, (signal) => resumed<JobEventFragment>({
      what, signal, retry,
      open: (last) => pick(
        openSubscription(connection, JobEventsDocument, { filter, after: last?.cursor ?? after }, {
          what, signal, replaces: (newer, waiting) => isReplacedBy(newer.jobEvents, waiting.jobEvents),
        }),
        ({ jobEvents }) => jobEvents,
      ),
      isNewer: (event, last) => event.cursor !== last.cursor,
      isFinal: () => false,
    }));
  };

  const wait: Jobs['wait'] = async (job, { onProgress, signal, timeoutMs } = {}) => {
    const jobId = idOf(job);
    const deadline = startDeadline(`Waiting for ${jobId}`, timeoutMs, signal);
    let last: JobFragment | undefined;
    try {
      for await (const event of watch(jobId, { signal: deadline.signal })) {
        last = event.job;
        onProgress?.(last, event);
      }
    } catch (error) {
      throw isSnapbackError(error) && error.kind === 'aborted' ? deadline.explain(error, () => error) : error;
    } finally {
      deadline.dispose();
    }
    const ended = found(last ?? null, `job ${jobId}`);
    if (ended.conclusion !== 'SUCCEEDED') throw new JobFailedError(ended);
    return ended;
  };

  return {
    get: async (job, options) => (await connection.execute(GetJobDocument, { id: idOf(job) }, options)).job,
    list: (input = {}, options) => {
      const { filter, list } = splitListInput<JobFilter>(input);
      return createList('ListJobs', list, async (page) => (await connection.execute(ListJobsDocument, { filter, ...page }, options)).jobs);
    },
    cancel: async (job, options) => {
      const { cancelJob } = await connection.execute(CancelJobDocument, { input: { jobId: idOf(job) } }, options);
      return fulfilled('cancelJob', cancelJob).job;
    },
    watch,
    wait,
    events,
  };
};
