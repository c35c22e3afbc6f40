import { type DomainError } from '../domain/errors.js';
import { type OnProgress } from '../engine/ports.js';
import { type ClaimedJob, type Repositories } from '../services/ports.js';

export interface TaskContext extends ClaimedJob {
  /** Aborted when the job is cancelled, the lease lost, or the service drained; the reason is a DomainError. */
  signal: AbortSignal;
  onProgress: OnProgress;
  /** Resolves while this run owns the job; rejects when the lease is lost. Asked before everything that cannot be undone. */
  assertOwned(): Promise<void>;
  /** A transaction in which nobody can take the job over; rejects when the lease is lost. `work` may run more than once. */
  write<T>(work: (tx: Repositories) => Promise<T>): Promise<T>;
}

/** Written in the same fenced transaction as the end of the job. May run more than once. */
export type Finish = (tx: Repositories) => Promise<void>;

/** How one kind of job is done. Tasks keep to their fence: what they write for others to see, they write in `Finish` or by `write`. */
export interface Task {
  /** Does the work. A second and later attempt (`job.attempt > 1`) follows a run that died or was handed over. */
  run(context: TaskContext): Promise<Finish>;
  /**
   * How long a job is to wait that met `error`, in ms, instead of being over; null: it is over. Asked before `fail`, and not of jobs that were
   * stopped. A job that waits keeps its server and its attempts.
   */
  postpone?(job: ClaimedJob, error: DomainError): Promise<number | null>;
  /** What a failed or cancelled job leaves in other rows. */
  fail(job: ClaimedJob, error: DomainError, cancelled: boolean): Finish;
}
