import { carriers } from './carriers.js';
import type { Connection } from './connection.js';
import { GetJobDocument, JobProgressDocument } from './generated/job.documents.js';
import type { JobEventFragment, JobFragment } from './generated/operations.js';
import type { CallOptions } from './options.js';
import { found } from './payload.js';
import { resumed, type Way } from './stream.js';
import { openSubscription } from './subscription.js';
import { pause, retryPolicy } from './timing.js';

/** How a job stands after one of its events; or when it was asked for, and then without the event. */
export interface Step {
  sequence: number;
  job: JobFragment;
  event: JobEventFragment | undefined;
}

export interface ProgressOptions extends CallOptions {
  what: string;
  signal: AbortSignal;
  afterSequence?: number | undefined;
  /** Whether to ask for the job again and again where its events cannot be had. */
  polls: boolean;
}

/** First and longest pause between two questions, and how long to ask before events are tried again. */
const POLL = { minMs: 1_000, maxMs: 5_000, forMs: 60_000 };

/** Whether a newer event of a job makes one that waits for its reader worthless: only progress ever is. */
export const isReplacedBy = (newer: JobEventFragment, waiting: JobEventFragment): boolean =>
  waiting.kind === 'PROGRESS' && waiting.job.id === newer.job.id;

export async function* pick<From, To>(events: AsyncIterable<From>, get: (from: From) => To): AsyncGenerator<To, void> {
  for await (const event of events) yield get(event);
}

async function* poll(connection: Connection, jobId: string, { what, signal, retry, headers }: ProgressOptions): AsyncGenerator<Step, void> {
  const since = Date.now();
  for (let pauseMs = POLL.minMs; Date.now() - since < POLL.forMs; pauseMs = Math.min(POLL.maxMs, pauseMs * 1.5)) {
    const job = found((await connection.execute(GetJobDocument, { id: jobId }, { signal, retry, headers })).job, `job ${jobId}`);
    yield { sequence: job.sequence, job, event: undefined };
    await pause(pauseMs, what, signal);
  }
}

/** How a job stands, then each change up to its end: none missing, none twice, over whichever way can be had. */
export const progressOf = (connection: Connection, jobId: string, options: ProgressOptions): AsyncGenerator<Step, void> => {
  const { what, signal, afterSequence, polls } = options;
  const events = carriers(connection, options).map(({ name, carrier }): Way<Step> => ({
    name,
    open: (last) => pick(
      openSubscription(carrier(), JobProgressDocument, { jobId, afterSequence: last?.sequence ?? afterSequence }, {
        what, signal, replaces: (newer, waiting) => isReplacedBy(newer.jobProgress, waiting.jobProgress),
      }),
      ({ jobProgress }) => ({ sequence: jobProgress.sequence, job: jobProgress.job, event: jobProgress }),
    ),
  }));
  const polling: Way<Step> = { name: 'polling', interim: true, open: () => poll(connection, jobId, options) };
  return resumed<Step>({
    what, signal, retry: retryPolicy(options.retry ?? connection.options.retry), emit: connection.emit,
    ways: polls ? [...events, polling] : events,
    isNewer: (step, last) => step.sequence > last.sequence,
    isFinal: ({ job }) => job.state === 'COMPLETED',
  });
};
