import { abortReason } from '../../domain/errors.js';
import { isRetryable, pause, pauseAfter, retrying, type Backoff } from './backoff.js';
import { type CallOptions, type ListOptions, type ObjectWriter, type ReadOptions, type Store, type StoreHealth, type StoredObject, type SweepOptions } from './store.js';
import { WrappedStore } from './wrapped.js';

/** Whoever asks for a store's health wants to know how it is now. */
const CHECK_ATTEMPTS = 2;

/**
 * Does again what failed for a reason that passes (`retryable`), and can be done twice: everything but the calls of an object's writer,
 * whose contract says that a fault is final. A store that can repeat parts of these by itself does so below this.
 */
export const withRetry = (store: Store, backoff: Backoff): Store => new RetryingStore(store, backoff);

class RetryingStore extends WrappedStore {
  constructor(inner: Store, private readonly backoff: Backoff) {
    super(inner);
  }

  override create(key: string, options: CallOptions = {}): Promise<ObjectWriter> {
    return retrying(() => this.inner.create(key, options), this.backoff, options.signal);
  }

  override async *read(key: string, options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    let offset = options.offset ?? 0n;
    let left = options.length;
    yield* this.resumed(() => this.inner.read(key, { ...options, offset, length: left }), options.signal, (chunk) => {
      offset += BigInt(chunk.length);
      if (left !== undefined) left -= BigInt(chunk.length);
    });
  }

  override stat(key: string, options: CallOptions = {}): Promise<StoredObject | null> {
    return retrying(() => this.inner.stat(key, options), this.backoff, options.signal);
  }

  override remove(key: string, options: CallOptions = {}): Promise<void> {
    return retrying(() => this.inner.remove(key, options), this.backoff, options.signal);
  }

  override async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<StoredObject, void, undefined> {
    let { after } = options;
    yield* this.resumed(() => this.inner.list(prefix, { ...options, after }), options.signal, (object) => {
      after = object.key;
    });
  }

  override async check(options: CallOptions = {}): Promise<StoreHealth> {
    for (let attempt = 1; ; attempt += 1) {
      const health = await this.inner.check(options);
      if (!isRetryable(health.problem) || attempt === CHECK_ATTEMPTS || options.signal?.aborted === true) return health;
      await pause(pauseAfter(attempt, health.problem, this.backoff));
    }
  }

  override sweep(options: SweepOptions): Promise<string[]> {
    return retrying(() => this.inner.sweep(options), this.backoff, options.signal);
  }

  override owner(options: CallOptions = {}): Promise<string | null> {
    return retrying(() => this.inner.owner(options), this.backoff, options.signal);
  }

  /** A claim that went through unheard is the caller's when it is made again: it says whose the store is. */
  override claim(catalogueId: string, from: string | null, options: CallOptions = {}): Promise<string | null> {
    return retrying(() => this.inner.claim(catalogueId, from, options), this.backoff, options.signal);
  }

  /** Goes on behind what has been given out; whatever comes in between two faults makes the next one the first again. */
  private async *resumed<T>(begin: () => AsyncIterable<T>, signal: AbortSignal | undefined, given: (item: T) => void): AsyncGenerator<T, void, undefined> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        for await (const item of begin()) {
          attempt = 1;
          // Before it is lent out, and comes back as its borrower left it.
          given(item);
          yield item;
        }
        return;
      } catch (error) {
        if (!isRetryable(error) || attempt >= this.backoff.attempts) throw error;
        if (signal?.aborted === true) throw abortReason(signal);
        await pause(pauseAfter(attempt, error, this.backoff), signal);
      }
    }
  }
}
