import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { type ClaimedJob, type Database, type Repositories } from '../services/ports.js';

/** A database that was away is asked again after this long. */
const AGAIN_MS = 200;

export interface LeaseTimes {
  /** A lease that has not been renewed for this long is lost, by the database's clock as by this process's. */
  lifeMs: number;
  renewMs: number;
}

export interface LeaseDeps {
  db: Database;
  log: Log;
  times: LeaseTimes;
  /** Called once. */
  onLost(error: DomainError): void;
  /** Called with every look that finds that somebody has asked to cancel. */
  onCancelRequested(): void;
}

/** A run's hold on its job. Everything the run writes goes through it. */
export class Lease {
  /** Set when another worker has the job, or may have it. */
  lost: DomainError | undefined;
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | undefined;
  private again = false;
  private ended = false;

  /** @param renewedAt `performance.now()` from before the claim */
  constructor(private readonly claimed: Pick<ClaimedJob, 'job' | 'fence'>, private readonly deps: LeaseDeps, private renewedAt: number) {}

  /** Renews from now on, until `end`. */
  begin(): void {
    this.timer = setInterval(() => void this.look(), this.deps.times.renewMs);
    void this.look();
  }

  end(): void {
    this.ended = true;
    clearInterval(this.timer);
  }

  /** Renews, and looks whether somebody has asked to cancel. One at a time; whoever asks meanwhile gets another look. Never rejects. */
  look(): Promise<void> {
    this.again = true;
    this.expire();
    return (this.looking ??= this.lookOn().finally(() => {
      this.looking = undefined;
    }));
  }

  /** Tells that the lease is lost. Returns the error that says so. */
  lose(cause?: unknown): DomainError {
    if (this.lost) return this.lost;
    this.lost = new DomainError('INTERRUPTED', 'Another worker has taken the job over.', { retryable: true, cause });
    this.deps.onLost(this.lost);
    return this.lost;
  }

  /** Resolves while the job is this run's; rejects when the lease is lost. While the database is away it is asked again. */
  assertOwned(): Promise<void> {
    return this.write(() => Promise.resolve());
  }

  /**
   * A transaction in which nobody can take the job over. Repeated while the database is away, so that `work` may run more than once, even
   * after it was committed. Rejects when the lease is lost.
   */
  write<T>(work: (tx: Repositories) => Promise<T>): Promise<T> {
    return this.transaction(async (tx) => {
      if (!(await tx.runs.hold(this.claimed.job.id, this.claimed.fence))) throw this.lose();
      return work(tx);
    });
  }

  /** As `write`, for work that names the fence itself. */
  async transaction<T>(work: (tx: Repositories) => Promise<T>): Promise<T> {
    for (;;) {
      if (this.lost) throw this.lost;
      try {
        return await this.deps.db.transaction(work);
      } catch (error) {
        if (!this.deps.db.isTransient(error)) throw error;
      }
      await sleep(AGAIN_MS);
      this.expire();
    }
  }

  private async lookOn(): Promise<void> {
    while (this.again && !this.ended && !this.lost) {
      this.again = false;
      await this.renew();
    }
  }

  private async renew(): Promise<void> {
    const { job, fence } = this.claimed;
    const asked = performance.now();
    try {
      const lease = await this.deps.db.read.runs.renew(job.id, fence, this.deps.times.lifeMs);
      if (this.ended) return;
      if (!lease) {
        this.lose();
        return;
      }
      this.renewedAt = asked;
      if (lease.cancelRequested) this.deps.onCancelRequested();
    } catch (error) {
      // A fault is not yet a lost lease.
      this.deps.log.warn('A lease could not be renewed; it is tried again.', { jobId: job.id, error: String(error) });
    }
  }

  private expire(): void {
    if (performance.now() - this.renewedAt > this.deps.times.lifeMs) this.lose();
  }
}
