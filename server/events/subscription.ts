import { DomainError } from '../domain/errors.js';
import { type JobEventRecord } from '../services/records.js';
import { type MayPass, patiently } from './patience.js';
import { type Placed, under } from './placed.js';
import { type Followed, type Taker } from './tail.js';

/** Rows of the log that one reading of it gives. */
export const BATCH = 200;
/** Of events that wait for a reader. More than a burst brings, and less than one who has stopped reading would gather. */
const MOST_WAITING = 1_000;
const PROGRESS_EACH_MS = 1_000;
const PROGRESS_MOST = 4;

/** What a subscription reads, by its places: numbers within a job, positions within a feed. */
export interface Source<P extends number | bigint> {
  /** Everything up to here is known to the reader. */
  readonly after: P;
  placeOf(event: Placed): P;
  wants(event: Placed): boolean;
  /** Of the log, at most BATCH events; fewer only when there are no more. */
  read(after: P): Promise<readonly Placed[]>;
  follow(taker: Taker): Followed;
}

/**
 * One reader's events: those of the log first, then what the node's reader brings; the seam is where a reading of the log that began later than the
 * following has found the end. Waiting costs a reader nothing but what waits: of progress the newest of each job.
 */
export class Subscription<P extends number | bigint> implements AsyncIterableIterator<JobEventRecord>, Taker {
  private after: P;
  private followed: Followed | undefined;
  /** Whether the log is still to be read; what comes meanwhile is kept in `early`. */
  private behind = true;
  private early: Placed[] = [];
  /** More came early than is kept: the log must be read once more. */
  private spilled = false;
  private waiting: Placed[] = [];
  private readonly progress = new Map<string, Placed>();
  /** When the last few of these were given. */
  private readonly progressGiven: number[] = [];
  private last: Placed | undefined;
  private failure: { error: unknown } | undefined;
  private over = false;
  private wake: (() => void) | undefined;

  constructor(private readonly source: Source<P>, private readonly mayPass: MayPass) {
    this.after = source.after;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  take(event: Placed): void {
    if (this.over || !this.source.wants(event)) return;
    if (!this.behind) {
      this.offer(event);
      if (this.waiting.length > MOST_WAITING) this.fail(new DomainError('TOO_SLOW', 'This reader does not take its events.', { hint: 'Come again and go on after the last event.', retryable: true }));
      return;
    }
    if (this.early.length >= MOST_WAITING) {
      this.early = [];
      this.spilled = true;
    }
    this.early.push(event);
  }

  fail(error: unknown): void {
    if (this.over) return;
    this.failure ??= { error };
    this.leave();
  }

  async next(): Promise<IteratorResult<JobEventRecord, undefined>> {
    for (;;) {
      if (this.failure && !this.over) {
        this.over = true;
        throw this.failure.error;
      }
      if (this.over) return { done: true, value: undefined };
      const record = this.pick();
      if (record) return { done: false, value: record };
      if (this.behind) await this.readLog();
      else await this.more(this.progress.size > 0 ? this.progressWaitMs() : undefined);
    }
  }

  return(): Promise<IteratorResult<JobEventRecord, undefined>> {
    this.over = true;
    this.leave();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<IteratorResult<JobEventRecord, undefined>> {
    return this.return().then(() => Promise.reject(error as Error));
  }

  /** Ends the following, and a wait for more; what waits is forgotten. */
  private leave(): void {
    this.followed?.leave();
    this.early = [];
    this.waiting = [];
    this.progress.clear();
    this.wake?.();
  }

  private offer(event: Placed): void {
    const at = this.source.placeOf(event);
    if (at <= this.after) return;
    this.after = at;
    const { kind, job } = event.record;
    if (kind === 'PROGRESS') {
      // A job that waits for its turn keeps it.
      this.progress.set(job.id, event);
    } else {
      this.progress.delete(job.id);
      this.waiting.push(event);
    }
    this.wake?.();
  }

  private pick(): JobEventRecord | undefined {
    const lasting = this.waiting.shift();
    if (lasting) return this.given(lasting);
    if (this.progress.size === 0 || this.progressWaitMs() > 0) return undefined;
    for (const [jobId, event] of this.progress) {
      this.progress.delete(jobId);
      this.progressGiven.push(performance.now());
      if (this.progressGiven.length > PROGRESS_MOST) this.progressGiven.shift();
      return this.given(event);
    }
    return undefined;
  }

  /** Cursors never go back, or whoever resumes after the last would be given again what it has: progress that was held back takes the place it is given at. */
  private given(event: Placed): JobEventRecord {
    if (this.last && event.position < this.last.position) return under(this.last.record.cursor, event.record);
    this.last = event;
    return event.record;
  }

  private progressWaitMs(): number {
    const [oldest] = this.progressGiven;
    if (oldest === undefined || this.progressGiven.length < PROGRESS_MOST) return 0;
    return Math.max(0, oldest + PROGRESS_EACH_MS - performance.now());
  }

  /** One step of the log. */
  private async readLog(): Promise<void> {
    if (!this.followed) {
      this.followed = this.source.follow(this);
      await Promise.race([this.followed.ready, this.ended()]);
      if (this.isEnding()) return;
    }
    this.spilled = false;
    let batch: readonly Placed[];
    try {
      batch = await patiently(() => this.source.read(this.after), this.mayPass, () => !this.isEnding());
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.isEnding()) return;
    for (const event of batch) this.offer(event);
    if (batch.length === BATCH || this.spilled) return;
    this.behind = false;
    const { early } = this;
    this.early = [];
    for (const event of early) this.offer(event);
  }

  private isEnding(): boolean {
    return this.over || this.failure !== undefined;
  }

  /** Until something comes, it ends, or the time is up. */
  private more(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(() => this.wake?.(), Math.ceil(ms));
      this.wake = () => {
        this.wake = undefined;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private ended(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = () => {
        if (!this.isEnding()) return;
        this.wake = undefined;
        resolve();
      };
    });
  }
}
