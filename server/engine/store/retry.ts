import { abortReason } from '../../domain/errors.js';
import { isRetryable, pause, pauseAfter, retrying, type Backoff } from './backoff.js';
import { type CallOptions, type ListOptions, type ObjectWriter, type ReadOptions, type Store, type StoredObject } from './store.js';
import { WrappedStore } from './wrapped.js';

/**
 * Does again what failed for a reason that passes (`retryable`), and can be done twice: everything but the calls of an object's writer,
 * whose contract says that a fault is final, `check`, which does not fail, and `sweep`, whose answer says what this one call removed. A store that can repeat
 * parts of these does so by itself.
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
