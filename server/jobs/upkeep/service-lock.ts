import { DomainError } from '../../domain/errors.js';
import { type Log } from '../../engine/ports.js';
import { type Database, type Repositories } from '../../services/ports.js';
import { type LeaseTimes } from '../lease.js';

export interface ServiceLockDeps {
  db: Database;
  log: Log;
  /** Names this process in the lock's row. */
  worker: string;
  times: LeaseTimes;
}

/**
 * Work that one node at a time does for all of them: a lease on a row, renewed until `release`. A holder that was stopped for longer
 * than its lease finds out at its next write, which is refused.
 */
export class ServiceLock {
  private readonly abort = new AbortController();
  private timer: NodeJS.Timeout | undefined;

  private constructor(private readonly name: string, private readonly fence: number, private readonly deps: ServiceLockDeps, private renewedAt: number) {}

  /** null while another node has it. */
  static async take(name: string, deps: ServiceLockDeps): Promise<ServiceLock | null> {
    const asked = performance.now();
    const fence = await deps.db.read.locks.take(name, deps.worker, deps.times.lifeMs);
    if (fence === null) return null;
    const lock = new ServiceLock(name, fence, deps, asked);
    lock.timer = setInterval(() => void lock.renew(), deps.times.renewMs);
    return lock;
  }

  /** Aborted when the lock is lost. */
  get lost(): AbortSignal {
    return this.abort.signal;
  }

  /** A transaction in which nobody can take the lock over; INTERRUPTED when it is lost. */
  write<T>(work: (tx: Repositories) => Promise<T>): Promise<T> {
    return this.deps.db.transaction(async (tx) => {
      if (!(await tx.locks.hold(this.name, this.fence))) throw this.lose();
      return work(tx);
    });
  }

  /** Resolves while the lock is ours. Awaited before everything that cannot be undone. */
  assertHeld(): Promise<void> {
    return this.write(() => Promise.resolve());
  }

  async release(): Promise<void> {
    clearInterval(this.timer);
    // One that cannot be given back ends by itself.
    await this.deps.db.read.locks.release(this.name, this.fence).catch((error: unknown) => this.deps.log.warn('A lock could not be given back.', { lock: this.name, error: String(error) }));
  }

  private lose(): DomainError {
    const error = new DomainError('INTERRUPTED', `Another node has taken over the lock "${this.name}".`, { retryable: true });
    this.abort.abort(error);
    return error;
  }

  private async renew(): Promise<void> {
    const asked = performance.now();
    if (asked - this.renewedAt > this.deps.times.lifeMs) this.lose();
    try {
      if (await this.deps.db.read.locks.renew(this.name, this.fence, this.deps.times.lifeMs)) this.renewedAt = asked;
      else this.lose();
    } catch (error) {
      this.deps.log.warn('A lock could not be renewed; it is tried again.', { lock: this.name, error: String(error) });
    }
  }
}
