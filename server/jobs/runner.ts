import { DomainError } from '../domain/errors.js';
import { type JobFailure, type JobKind, type Phase } from '../domain/job.js';
import { type Clock, type Log } from '../engine/ports.js';
import { type ClaimedJob, type Database, type JobChange } from '../services/ports.js';
import { JobJournal } from './journal.js';
import { type Finish, type Task, type TaskContext } from './task.js';

export interface RunnerDeps {
  db: Database;
  tasks: Partial<Record<JobKind, Task>>;
  clock: Clock;
  log: Log;
  /** Names this process in the job's row. */
  worker: string;
  lease: { lifeMs: number; renewMs: number };
  /** Puts a job that was given back into the queue, for another node or the next start. */
  requeue(jobId: string): Promise<void>;
  /** Wakes when something about the job happened, such as a request to cancel it. Returns the way to stop. */
  onJobEvent(jobId: string, wake: () => void): () => void;
  /** Told about every finished run. */
  observe?: (run: { kind: JobKind; conclusion: string; seconds: number }) => void;
}

export interface Runner {
  /** Runs a job if it can be claimed; resolves when the run has ended here. Never rejects for a failure of the job's own. */
  runJob(jobId: string): Promise<void>;
  readonly running: number;
  /** Interrupts what runs; each job goes back to the queue, for another node or the next start. */
  interrupt(): void;
}

/** A job that a worker's death has interrupted waits this long, longer each time. */
export const retryWaitMs = (attempt: number): number => Math.min(60_000, 1000 * 2 ** attempt);

const CANCELLED = new DomainError('INTERRUPTED', 'The job was cancelled.');
const DRAINED = new DomainError('INTERRUPTED', 'The service was stopped while the job ran.', { retryable: true });

const leaseLost = (cause?: unknown): DomainError =>
  new DomainError('INTERRUPTED', 'Another worker has taken the job over.', { retryable: true, cause });

export const createRunner = (deps: RunnerDeps): Runner => {
  const runs = new Set<Run>();
  return {
    async runJob(jobId) {
      const claimed = await deps.db.transaction((tx) => tx.runs.claim(jobId, deps.worker, deps.lease.lifeMs, deps.clock.now()));
      if (!claimed) return;
      const run = new Run(claimed, deps);
      runs.add(run);
      try {
        await run.toItsEnd();
      } finally {
        runs.delete(run);
      }
    },
    get running() {
      return runs.size;
    },
    interrupt() {
      for (const run of runs) run.stop('drained', DRAINED);
    },
  };
};

type StopReason = 'cancelled' | 'lost' | 'drained';

class Run {
  private readonly abort = new AbortController();
  private readonly journal: JobJournal;
  private stopped: StopReason | undefined;
  private checking = false;
  private checkAgain = false;
  private ended = false;

  constructor(
    private readonly claimed: ClaimedJob,
    private readonly deps: RunnerDeps,
  ) {
    this.journal = new JobJournal(claimed, { db: deps.db, clock: deps.clock, onLost: (cause) => this.stop('lost', leaseLost(cause)) });
  }

  /** The first reason stands. */
  stop(reason: StopReason, error: DomainError): void {
    if (this.stopped) return;
    this.stopped = reason;
    this.abort.abort(error);
  }

  async toItsEnd(): Promise<void> {
    const { deps, claimed } = this;
    const { job } = claimed;
    const startedAt = performance.now();
    const renewal = setInterval(() => this.check(), deps.lease.renewMs);
    const forget = deps.onJobEvent(job.id, () => this.check());
    this.check();
    let conclusion = 'HANDED_OVER';
    try {
      conclusion = await this.attempt();
    } catch (error) {
      // Only the bookkeeping failed: the lease runs out, and another worker takes the job up.
      deps.log.error('A job could not be brought to its end here.', { jobId: job.id, error: String(error) });
    } finally {
      this.ended = true;
      clearInterval(renewal);
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
      assertOwned: async () => {
        if (this.stopped === 'lost' || !(await this.deps.db.read.runs.owns(this.claimed.job.id, this.claimed.fence))) {
          const error = leaseLost();
          this.stop('lost', error);
          throw error;
        }
      },
    };
  }

  private async failed(task: Task, cause: unknown): Promise<string> {
    const { deps, claimed } = this;
    const { job, fence } = claimed;
    const error = asDomainError(cause);
    if (error.code === 'INTERNAL') deps.log.error('A job failed by a fault of this service.', { jobId: job.id, kind: job.kind, error: describe(cause) });
    if (this.stopped === 'lost') {
      deps.log.warn('A run lost its lease and has stopped.', { jobId: job.id, fence });
      return 'HANDED_OVER';
    }
    await this.journal.flush();
    if (this.stopped === 'drained' && error.code === 'INTERRUPTED') {
      // Nothing is wrong with the job: whoever is there next takes it up at once.
      await deps.db.transaction((tx) => tx.runs.giveBack(job.id, fence, 0, deps.clock.now()));
      await deps.requeue(job.id);
      return 'HANDED_OVER';
    }
    const cancelled = this.stopped === 'cancelled' && error.code === 'INTERRUPTED';
    const at = deps.clock.now();
    const conclusion = cancelled ? 'CANCELLED' : 'FAILED';
    const failure = cancelled ? null : failureOf(error, this.journal.phase, at);
    await this.conclude(task.fail(claimed, error, cancelled), { conclusion, failure }, at);
    deps.log.info('A job ended.', { jobId: job.id, kind: job.kind, conclusion, code: failure?.code });
    return conclusion;
  }

  /** One transaction: what the task leaves, the job's end, its event. Refused as a whole when the lease is lost. */
  private async conclude(finish: Finish, end: Pick<JobChange, 'conclusion' | 'failure'>, at?: Date): Promise<void> {
    await this.journal.flush();
    const { deps, claimed, journal } = this;
    const completedAt = at ?? deps.clock.now();
    await deps.db.transaction(async (tx) => {
      await finish(tx);
      const ended = await tx.jobs.change(
        claimed.job.id,
        { fence: claimed.fence },
        { ...end, state: 'COMPLETED', completedAt, cancellable: false, phases: journal.closedPhases(completedAt), progress: journal.progress },
        { kind: 'STATE', at: completedAt },
      );
      if (!ended) {
        this.stop('lost', leaseLost());
        throw leaseLost();
      }
    });
  }

  /**
   * Renews the lease and looks whether somebody asked to cancel. One at a time; what asks meanwhile is looked after once more. A fault is
   * not yet a lost lease.
   */
  private check(): void {
    if (this.checking) {
      this.checkAgain = true;
      return;
    }
    this.checking = true;
    this.checkAgain = false;
    this.deps.db.read.runs
      .renew(this.claimed.job.id, this.claimed.fence, this.deps.lease.lifeMs)
      .then(
        (lease) => {
          if (!lease) this.stop('lost', leaseLost());
          else if (lease.cancelRequested) this.stop('cancelled', CANCELLED);
        },
        (error: unknown) => this.deps.log.warn('A lease could not be renewed; it is tried again.', { jobId: this.claimed.job.id, error: String(error) }),
      )
      .finally(() => {
        this.checking = false;
        if (this.checkAgain && !this.ended) this.check();
      })
      .catch(() => undefined);
  }
}

const describe = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

const asDomainError = (error: unknown): DomainError =>
  error instanceof DomainError
    ? error
    : new DomainError('INTERNAL', 'The job failed by a fault of this service.', { hint: 'Its log tells more; look for the job\'s id.', cause: error });

const failureOf = (error: DomainError, phase: Phase | null, at: Date): JobFailure => ({
  code: error.code, message: error.message, hint: error.hint ?? null, retryable: error.retryable, phase, at,
});
