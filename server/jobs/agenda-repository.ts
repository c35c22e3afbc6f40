import { type JobParameters, type JobRepository } from 'agenda';
import { type StoreEvents } from './agenda-store.js';

/** The row of a run was replaced or removed meanwhile: the run has nothing left to write. Expected, and never a fault. */
export class RowReplaced extends Error {
  override readonly name = 'RowReplaced';
}

const DATES = ['nextRunAt', 'lockedAt', 'lastRunAt', 'lastFinishedAt', 'failedAt'] as const;

const shift = (job: JobParameters, ms: number): JobParameters => {
  const shifted = { ...job };
  for (const field of DATES) {
    const date = job[field];
    if (date) shifted[field] = new Date(date.getTime() + ms);
  }
  return shifted;
};

/** A timer may fire a millisecond early, and a claim judged by the database would then find nothing due. */
const NEVER_EARLY_MS = 10;

/**
 * Wraps Agenda's rows for one process:
 * - Agenda compares and writes times by the process's clock. Here they are translated, so that what is stored is always the
 *   database's time; a process whose clock is wrong neither steals locks nor runs early or late.
 * - `close()` ends the taking of rows before Agenda itself can be stopped, and `idle()` waits for calls under way.
 * - `unlockJob`, whose promise Agenda drops, cannot end the process by failing.
 */
export class ClockRepository {
  /** What Agenda gets to see. */
  readonly repository: JobRepository;
  private skewMs = 0;
  private closed = false;
  private readonly calls = new Set<Promise<unknown>>();

  constructor(private readonly inner: JobRepository, private readonly events: StoreEvents) {
    const through: Pick<JobRepository, 'getNextJobToRun' | 'saveJobState' | 'unlockJob'> = {
      getNextJobToRun: (...args) => this.track(this.next(...args)),
      saveJobState: (...args) => this.track(this.saveState(...args)),
      unlockJob: (job) => this.track(this.unlock(job)),
    };
    this.repository = Object.assign(Object.create(inner) as JobRepository, through);
  }

  /**
   * Compares the clocks. The answer's arrival counts as the moment at which the database read its clock: the difference is then
   * never too large, and nothing runs early. Answers that took long say little and are passed over.
   */
  async compareClocks(now: () => Promise<Date>): Promise<number> {
    const asked = performance.now();
    const theirs = await now();
    if (performance.now() - asked < 500) this.skewMs = theirs.getTime() - Date.now();
    return this.skewMs;
  }

  /** From now on no row is taken any more. */
  close(): void {
    this.closed = true;
  }

  /** Resolves when no call of Agenda's is under way. */
  async idle(): Promise<void> {
    while (this.calls.size > 0) await Promise.allSettled(this.calls);
  }

  private track<T>(call: Promise<T>): Promise<T> {
    const settled = call.then(() => undefined, () => undefined).finally(() => this.calls.delete(settled));
    this.calls.add(settled);
    return call;
  }

  private async next(...[name, until, deadline, now, options]: Parameters<JobRepository['getNextJobToRun']>): Promise<JobParameters | undefined> {
    if (this.closed) return undefined;
    const theirs = (date: Date): Date => new Date(date.getTime() + this.skewMs);
    const job = await this.inner.getNextJobToRun(name, theirs(until), theirs(deadline), theirs(now ?? new Date()), options);
    if (!job) return undefined;
    const ours = shift(job, -this.skewMs);
    if (ours.nextRunAt) ours.nextRunAt = new Date(ours.nextRunAt.getTime() + NEVER_EARLY_MS);
    return ours;
  }

  private async saveState(...[job, options]: Parameters<JobRepository['saveJobState']>): Promise<void> {
    try {
      await this.inner.saveJobState(shift(job, this.skewMs), options);
    } catch (error) {
      if (job._id && (await this.inner.getJobById(job._id)) === null) throw new RowReplaced(`Row ${job._id} of ${job.name} is gone.`);
      throw error;
    }
  }

  private async unlock(job: JobParameters): Promise<void> {
    try {
      await this.inner.unlockJob(job);
    } catch (error) {
      this.events.trouble('A row of the clock could not be unlocked; its lock lapses by itself', error);
    }
  }
}
