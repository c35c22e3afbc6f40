import { DomainError } from '../../domain/errors.js';
import { type CallOptions, type ListOptions, type ObjectWriter, type ReadOptions, type Store, type StoreHealth, type StoredObject, type SweepOptions } from './store.js';
import { WrappedStore } from './wrapped.js';

export interface StoreTimeouts {
  /** For each answer: of a call, and from one chunk or entry to the next. */
  callMs: number;
  /** For one `write`, which may wait until what was written before is through. */
  writeMs: number;
  /** For `commit`, `abort`, `check` and `sweep`, which may be many steps. */
  longMs: number;
  /** How long a call that was told to end may take to clean up, before its caller goes on without it. Default 30,000. */
  graceMs?: number | undefined;
}

const GRACE_MS = 30_000;

/**
 * Ends calls that take too long with STORAGE_IO, which can be retried. A call is told by its signal; one that does not listen, such as one on
 * a mount that hangs, is left alone.
 */
export const withTimeout = (store: Store, timeouts: StoreTimeouts): Store => new TimedStore(store, timeouts);

const tooSlow = (what: string, location: string, ms: number): DomainError =>
  new DomainError('STORAGE_IO', `${what} in ${location} did not end within ${ms / 1000} s.`, {
    hint: 'Check the store and the network to it; STORE_TIMEOUT_SECONDS gives it more time.', retryable: true,
  });

/** Time for steps of one call, of which each has its own; and the signal that tells the call when one is over. */
class Stopwatch {
  private readonly mine = new AbortController();
  readonly signal: AbortSignal;

  constructor(private readonly location: string, private readonly graceMs: number, theirs: AbortSignal | undefined) {
    this.signal = theirs === undefined ? this.mine.signal : AbortSignal.any([theirs, this.mine.signal]);
  }

  async time<T>(what: string, ms: number, step: () => Promise<T>): Promise<T> {
    const late = tooSlow(what, this.location, ms);
    let timer: NodeJS.Timeout | undefined;
    const lateness = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        this.mine.abort(late);
        timer = setTimeout(() => reject(late), this.graceMs);
      }, ms);
    });
    try {
      return await Promise.race([step(), lateness]);
    } finally {
      clearTimeout(timer);
    }
  }
}

class TimedStore extends WrappedStore {
  constructor(inner: Store, private readonly timeouts: StoreTimeouts) {
    super(inner);
  }

  override async create(key: string, { signal }: CallOptions = {}): Promise<ObjectWriter> {
    const watch = this.watch(signal);
    const { writeMs, longMs, callMs } = this.timeouts;
    const writer = await watch.time(`Creating ${key}`, callMs, () => this.inner.create(key, { signal: watch.signal }));
    return {
      write: (chunk) => watch.time(`Writing ${key}`, writeMs, () => writer.write(chunk)),
      commit: () => watch.time(`Committing ${key}`, longMs, () => writer.commit()),
      abort: () => watch.time(`Discarding ${key}`, longMs, () => writer.abort()),
    };
  }

  override read(key: string, options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    return this.stepwise(`Reading ${key}`, options.signal, (signal) => this.inner.read(key, { ...options, signal }));
  }

  override stat(key: string, options: CallOptions = {}): Promise<StoredObject | null> {
    return this.call(`Looking for ${key}`, options, (within) => this.inner.stat(key, within));
  }

  override remove(key: string, options: CallOptions = {}): Promise<void> {
    return this.call(`Removing ${key}`, options, (within) => this.inner.remove(key, within));
  }

  override list(prefix: string, options: ListOptions = {}): AsyncGenerator<StoredObject, void, undefined> {
    return this.stepwise('Listing', options.signal, (signal) => this.inner.list(prefix, { ...options, signal }));
  }

  override async check(options: CallOptions = {}): Promise<StoreHealth> {
    try {
      return await this.call('A probe', options, (within) => this.inner.check(within), this.timeouts.longMs);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      return { writable: false, freeBytes: null, problem: error };
    }
  }

  override sweep(options: SweepOptions): Promise<string[]> {
    return this.call('Sweeping', options, ({ signal }) => this.inner.sweep({ ...options, signal }), this.timeouts.longMs);
  }

  override owner(options: CallOptions = {}): Promise<string | null> {
    return this.call('Reading the marker', options, (within) => this.inner.owner(within));
  }

  override claim(catalogueId: string, from: string | null, options: CallOptions = {}): Promise<string | null> {
    return this.call('Claiming the store', options, (within) => this.inner.claim(catalogueId, from, within));
  }

  private watch(signal: AbortSignal | undefined): Stopwatch {
    return new Stopwatch(this.inner.location, this.timeouts.graceMs ?? GRACE_MS, signal);
  }

  private call<T>(what: string, { signal }: CallOptions, run: (within: CallOptions) => Promise<T>, ms = this.timeouts.callMs): Promise<T> {
    const watch = this.watch(signal);
    return watch.time(what, ms, () => run({ signal: watch.signal }));
  }

  /** The time that the consumer takes does not count. */
  private async *stepwise<T>(what: string, signal: AbortSignal | undefined, begin: (signal: AbortSignal) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const watch = this.watch(signal);
    const items = begin(watch.signal)[Symbol.asyncIterator]();
    let waiting = false;
    try {
      for (;;) {
        waiting = true;
        const next = await watch.time(what, this.timeouts.callMs, () => items.next());
        waiting = false;
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      // One that hangs in `next` would hang here too.
      if (!waiting) await items.return?.();
    }
  }
}
