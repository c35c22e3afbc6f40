import { carriers } from './carriers.js';
import type { Connection } from './connection.js';
import { JobFailedError } from './errors.js';
import { CancelJobDocument, FeedNowDocument, GetJobDocument, JobEventsDocument, ListJobsDocument } from './generated/job.documents.js';
import type { JobEventFragment, JobFilter, JobFragment } from './generated/operations.js';
import { createList, splitListInput, type List, type ListOptions } from './list.js';
import type { Loaded } from './nouns.js';
import type { CallOptions } from './options.js';
import type { Tries } from './outcome.js';
import { found, fulfilled, idOf, keyed, type Ref } from './payload.js';
import { isReplacedBy, pick, progressOf } from './progress.js';
import { follow, resumed, type Way } from './stream.js';
import { openSubscription } from './subscription.js';
import { retryPolicy } from './timing.js';

/** `timeoutMs` is the longest time for the whole watching; default: no limit. `headers` cannot go with a browser's socket. */
export interface WatchOptions extends CallOptions {
  /** Begin after this event of the job, as `JobEvent.sequence` gave it, instead of with a snapshot. */
  afterSequence?: number;
}

/** `timeoutMs` is the longest time to wait; the job goes on after it. Default: no limit. */
export interface WaitOptions extends CallOptions {
  /**
   * Called for how the job stands, and for each event. `event` is undefined where neither a socket nor an event stream can be had, and the
   * job is asked for again and again instead. What it throws ends the waiting.
   */
  onProgress?: (job: JobFragment, event: JobEventFragment | undefined) => void;
}

/** `timeoutMs` is the longest time for the whole feed; default: no limit. */
export interface FeedOptions extends CallOptions {
  /** Begin after this event, as `JobEvent.cursor` gave it, instead of now. */
  after?: string;
}

export interface JobMutations {
  /** Asks a job to stop. One that is over is given as it is. */
  cancel(job: Ref, options?: CallOptions): Promise<JobFragment>;
}

export interface Jobs extends JobMutations, Tries<JobMutations> {
  /** A job, or null when there is none. */
  get(job: Ref, options?: CallOptions): Promise<JobFragment | null>;
  list(filter?: JobFilter & ListOptions, options?: CallOptions): List<JobFragment>;
  /**
   * A job's events: how it stands, then each change, up to its end. A cut connection is taken up again after the last event, so that
   * nothing is missed and nothing comes twice. For a slow reader, progress events are dropped in favour of newer ones; others never are.
   * Goes over a WebSocket; where none can be had, over an event stream.
   */
  watch(job: Ref, options?: WatchOptions): AsyncIterableIterator<JobEventFragment>;
  /**
   * The job after its end. Throws JobFailedError when it did not succeed. Follows the job as `watch` does, and asks for it again and again
   * where events cannot be had at all.
   */
  wait(job: Ref, options?: WaitOptions): Promise<JobFragment>;
  /**
   * The events of all the project's jobs, from the moment at which the first is asked for. Does not end by itself. Taken up again like `watch`.
   */
  events(filter?: JobFilter, options?: FeedOptions): AsyncIterableIterator<JobEventFragment>;
}

export const createJobs = (connection: Connection): Loaded<Jobs> => {
  const watch: Jobs['watch'] = (job, options = {}) => {
    const jobId = idOf(job);
    const what = `Watching ${jobId}`;
    return follow(connection.following, what, options, async function* (signal) {
      for await (const { event } of progressOf(connection, jobId, { ...options, what, signal, polls: false })) if (event !== undefined) yield event;
    });
  };

  const events: Jobs['events'] = (filter = {}, options = {}) => {
    const what = 'The feed of job events';
    const { retry, headers } = options;
    return follow(connection.following, what, options, async function* (signal) {
      // A place of its own from the beginning: what happens while a connection is lost is not missed, although no event has come yet.
      const after = options.after ?? (await connection.execute(FeedNowDocument, {}, { signal, retry, headers })).jobs.feedCursor;
      yield* resumed<JobEventFragment>({
        what, signal, retry: retryPolicy(retry ?? connection.options.retry), emit: connection.emit,
        ways: carriers(connection, options).map(({ name, carrier }): Way<JobEventFragment> => ({ name, open: (last) => pick(
          openSubscription(carrier(), JobEventsDocument, { filter, after: last?.cursor ?? after }, {
            what, signal, replaces: (newer, waiting) => isReplacedBy(newer.jobEvents, waiting.jobEvents),
          }),
          ({ jobEvents }) => jobEvents,
        )})),
        isNewer: (event, last) => event.cursor !== last.cursor,
        isFinal: () => false,
      });
    });
  };

  const wait: Jobs['wait'] = async (job, { onProgress, ...options } = {}) => {
    const jobId = idOf(job);
    const what = `Waiting for ${jobId}`;
    let last: JobFragment | undefined;
    for await (const step of follow(connection.following, what, options, (signal) => progressOf(connection, jobId, { ...options, what, signal, polls: true }))) {
      last = step.job;
      onProgress?.(step.job, step.event);
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
      const { cancelJob } = await connection.execute(CancelJobDocument, { input: { jobId: idOf(job) } }, keyed(options));
      return fulfilled('cancelJob', cancelJob).job;
    },
    watch,
    wait,
    events,
  };
};
