import { DomainError, retryAtOf } from '../domain/errors.js';
import { type JobFailure, type JobKind, type Phase } from '../domain/job.js';
import { type Clock, type Log } from '../engine/ports.js';
import { type ClaimedJob, type Database, type GivenBack, type JobChange } from '../services/ports.js';
import { type JobRecord } from '../services/records.js';
import { JobJournal } from './journal.js';
import { Lease, type LeaseTimes } from './lease.js';
import { type Finish, type Task, type TaskContext } from './task.js';

export interface RunnerDeps {
  db: Database;
  tasks: Partial<Record<JobKind, Task>>;
  clock: Clock;
  log: Log;
  /** Names this process in the job's row. */
  worker: string;
  lease: LeaseTimes;
  /** Most jobs that may run on all nodes together. Default: no limit. */
  totalLimit?: number | null;
  /** Puts a job that was given back into the queue, for another node or the next start; after `waitMs` nobody refuses it any more. */
  requeue(jobId: string, waitMs?: number): Promise<void>;
  /** Wakes when something about the job happened, such as a request to cancel it. Returns the way to stop. */
  onJobEvent(jobId: string, wake: () => void): () => void;
  /** Called after a run that has ended, or given back, its job: what waited for that may begin. Its failure is logged. */
  onRunOver?: (job: JobRecord) => Promise<void>;
  /** Told about every finished run. */
  observe?: (run: { kind: JobKind; conclusion: string; seconds: number }) => void;
}

/** What stops a process in the end. */
export interface DrainTimes {
  /** Running jobs may go on for so long. */
  drainMs: number;
  /** Then, interrupted, they may put things in order for so long. */
  graceMs: number;
}

export interface Runner {
  /** Runs a job if it can be claimed; resolves when the run has ended here. Never rejects for a failure of the job's own. */
  runJob(jobId: string): Promise<void>;
  readonly running: number;
  /** Takes nothing more, and interrupts what runs; each job goes back to the queue, for another node or the next start. */
  interrupt(): void;
  /**
   * Waits for what runs, interrupts what is left after `drainMs`, and hands over what even then does not end, such as a restore whose target
   * loads: nothing that such a run still does is written. No job is left to its lease when it resolves.
   */
  drain(times: DrainTimes): Promise<void>;
}

/** A job that a worker's death has interrupted waits this long, longer each time. */
export const retryWaitMs = (attempt: number): number => Math.min(60_000, 1000 * 2 ** attempt);

const CANCELLED = new DomainError('INTERRUPTED', 'The job was cancelled.');
const DRAINED = new DomainError('INTERRUPTED', 'The service was stopped while the job ran.', { retryable: true });

export const createRunner = (deps: RunnerDeps): Runner => {
  const runs = new Set<Run>();
  let interrupted = false;
  let idle: (() => void) | undefined;

  /** A place has become free: jobs that were refused for want of one are not in the queue any more. */
  const wakeNext = async (job: JobRecord): Promise<void> => {
    try {
      if (deps.totalLimit != null) await wakeRefused(deps);
      await deps.onRunOver?.(job);
    } catch (error) {
      deps.log.warn('What waited for a job to end could not be looked for; the recurring pass does it.', { error: describe(error) });
    }
  };

  /** Whether all runs ended within `ms`. */
  const ended = async (ms: number): Promise<boolean> => {
    if (runs.size === 0) return true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    const all = new Promise<true>((resolve) => {
      idle = () => resolve(true);
    });
    try {
      return await Promise.race([all, late]);
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    async runJob(jobId) {
      if (interrupted) throw DRAINED;
      const claimedAt = performance.now();
      const claimed = await deps.db.transaction((tx) =>
        tx.runs.claim(jobId, { worker: deps.worker, leaseMs: deps.lease.lifeMs, limit: deps.totalLimit ?? null, at: deps.clock.now() }));
      if (!claimed) return;
      const run = new Run(claimed, deps, claimedAt);
      runs.add(run);
      if (interrupted) run.stop('drained', DRAINED);
      try {
        await run.toItsEnd();
        await wakeNext(claimed.job);
      } finally {
        runs.delete(run);
        if (runs.size === 0) idle?.();
      }
    },
    get running() {
      return runs.size;
    },
    interrupt() {
      interrupted = true;
      for (const run of runs) run.stop('drained', DRAINED);
    },
    async drain({ drainMs, graceMs }) {
      if (!(await ended(drainMs))) {
        this.interrupt();
        if (!(await ended(graceMs))) await Promise.all([...runs].map((run) => run.handOver()));
      }
      interrupted = true;
    },
  };
};

/** As many as nodes may ask for at once when a place is free; who comes too late finds it taken, and changes nothing. */
const NEXT = 3;

/** Puts the jobs back into the queue that waited longest and that nobody was free for. */
export const wakeRefused = async ({ db, requeue }: Pick<RunnerDeps, 'db' | 'requeue'>): Promise<void> => {
  for (const { id } of await db.read.runs.waiting(NEXT)) await requeue(id);
};

type StopReason = 'cancelled' | 'lost' | 'drained';

class Run {
  private readonly abort = new AbortController();
  private readonly lease: Lease;
  private readonly journal: JobJournal;
  private stopped: StopReason | undefined;

  constructor(private readonly claimed: ClaimedJob, private readonly deps: RunnerDeps, claimedAt: number) {
    const { db, log, lease: times } = deps;
    this.lease = new Lease(
      claimed,
      { db, log, times, onLost: (error) => this.stop('lost', error), onCancelRequested: () => this.stop('cancelled', CANCELLED) },
      claimedAt,
    );
    this.journal = new JobJournal(claimed, this.lease, deps.clock);
  }

  /** The first reason stands. */
  stop(reason: StopReason, error: DomainError): void {
    if (this.stopped) return;
    this.stopped = reason;
    this.abort.abort(error);
  }

  /** For a run that will not end in time: from now on it writes nothing, and its job is another's. */
  async handOver(): Promise<void> {
    const { deps, lease, claimed: { job, fence } } = this;
    lease.lose(DRAINED);
    try {
      const given = await deps.db.transaction((tx) => tx.runs.giveBack(job.id, fence, { waitMs: 0, counts: false }, deps.clock.now()));
      if (given) await deps.requeue(job.id);
      deps.log.info('A job that could not be interrupted is handed over as it stands.', { jobId: job.id, kind: job.kind });
    } catch (error) {
      deps.log.warn('A job could not be handed over; its lease runs out.', { jobId: job.id, error: describe(error) });
    }
  }

  async toItsEnd(): Promise<void> {
    const { deps, claimed, lease } = this;
    const { job } = claimed;
    const startedAt = performance.now();
    const forget = deps.onJobEvent(job.id, () => void lease.look());
    lease.begin();
    let conclusion = 'HANDED_OVER';
    try {
      conclusion = await this.attempt();
    } catch (error) {
      // Only the bookkeeping failed: the lease runs out, and another worker takes the job up.
      if (lease.lost) deps.log.warn('A run lost its lease and has stopped.', { jobId: job.id, fence: claimed.fence });
      else deps.log.error('A job could not be brought to its end here.', { jobId: job.id, error: describe(error) });
    } finally {
      lease.end();
      this.journal.close();
      forget();
    }
    deps.observe?.({ kind: job.kind, conclusion, seconds: (performance.now() - startedAt) / 1000 });
  }

  private async attempt(): Promise<string> {
    const { deps, claimed } = this;
    const task = deps.tasks[claimed.job.kind];
    if (!task) throw new Error(`No task for jobs of kind ${claimed.job.kind}`);
    // Asked while the job was between two workers: a quick task would be done before the first look at its row.
    if (claimed.job.cancelRequestedAt !== null) this.stop('cancelled', CANCELLED);
    try {
      if (claimed.job.attempt > claimed.maxAttempts) {
        throw new DomainError('INTERRUPTED', `The job was interrupted ${claimed.maxAttempts} times and is given up.`, {
          hint: 'Look in the log for why workers end, then start it again.',
        });
      }
      const finish = await task.run(this.context());
      await this.conclude(finish, { conclusion: 'SUCCEEDED' });
      return 'SUCCEEDED';
    } catch (error) {
      return this.failed(task, error);
    }
  }

  private context(): TaskContext {
    return {
      ...this.claimed,
      signal: this.abort.signal,
      onProgress: this.journal.onProgress,
      assertOwned: () => this.lease.assertOwned(),
      write: (work) => this.lease.write(work),
    };
  }

  private async failed(task: Task, cause: unknown): Promise<string> {
    const { deps, claimed, lease } = this;
    const { job } = claimed;
    const error = asDomainError(cause);
    // The task may have met a request to cancel, or another worker, before this run has looked.
    if (!this.stopped && error.code === 'INTERRUPTED') await lease.look();
    if (lease.lost) throw lease.lost;
    await this.journal.flush();
    const drained = this.stopped === 'drained' && error.code === 'INTERRUPTED';
    // A stop says nothing about the job: however often nodes are restarted, it keeps its attempts.
    if (drained || this.isDatabaseFault(error)) return this.giveBack(error, { waitMs: 0, counts: !drained });
    const waitMs = this.stopped ? null : ((await task.postpone?.(claimed, error)) ?? null);
    if (waitMs !== null) return this.postpone(error, waitMs);
    if (error.code === 'INTERNAL') deps.log.error('A job failed by a fault of this service.', { jobId: job.id, kind: job.kind, error: describe(cause) });
    const cancelled = this.stopped === 'cancelled' && error.code === 'INTERRUPTED';
    const at = deps.clock.now();
    const conclusion = cancelled ? 'CANCELLED' : 'FAILED';
    const failure = cancelled ? null : failureOf(error, this.journal.phase, at);
    await this.conclude(task.fail(claimed, error, cancelled), { conclusion, failure }, at);
    deps.log.info('A job ended.', { jobId: job.id, kind: job.kind, conclusion, code: failure?.code });
    return conclusion;
  }

  private isDatabaseFault(error: DomainError): boolean {
    return error.code === 'INTERNAL' && this.deps.db.isTransient(error.cause);
  }

  /** What stood in the way passes by itself. Whoever follows the job is told what it waits for. */
  private async postpone(reason: DomainError, waitMs: number): Promise<string> {
    this.journal.onProgress({ kind: 'notice', code: 'POSTPONED', message: `${reason.message} The job waits, and goes on in ${Math.ceil(waitMs / 1_000)} seconds.` });
    await this.journal.flush();
    return this.giveBack(reason, { waitMs, counts: false });
  }

  /** Nothing is wrong with the job: whoever is there next takes it up at once. */
  private async giveBack(reason: DomainError, given: GivenBack): Promise<string> {
    const { deps, lease, claimed: { job, fence } } = this;
    await lease.transaction((tx) => tx.runs.giveBack(job.id, fence, given, deps.clock.now()));
    deps.log.info('A job goes back to the queue.', { jobId: job.id, kind: job.kind, error: describe(reason.cause ?? reason) });
    await deps.requeue(job.id, given.waitMs);
    return 'HANDED_OVER';
  }

  /** One transaction: what the task leaves, the job's end, its event. Refused as a whole when the lease is lost. */
  private async conclude(finish: Finish, end: Pick<JobChange, 'conclusion' | 'failure'>, at?: Date): Promise<void> {
    await this.journal.flush();
    const { deps, claimed: { job, fence }, journal, lease } = this;
    const completedAt = at ?? deps.clock.now();
    await lease.write(async (tx) => {
      await finish(tx);
      const change = { ...end, state: 'COMPLETED', completedAt, cancellable: false, phases: journal.closedPhases(completedAt), progress: journal.progress } as const;
      if (!(await tx.jobs.change(job.id, { fence }, change, { kind: 'STATE', at: completedAt }))) throw lease.lose();
    });
  }
}

const describe = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

const asDomainError = (error: unknown): DomainError =>
  error instanceof DomainError
    ? error
    : new DomainError('INTERNAL', 'The job failed by a fault of this service.', { hint: 'Its log tells more; look for the job\'s id.', cause: error });

const failureOf = (error: DomainError, phase: Phase | null, at: Date): JobFailure => ({
  code: error.code, message: error.message, hint: error.hint ?? null, retryable: error.retryable, retryAt: retryAtOf(error), phase, at,
});
