import { pause } from './backoff.js';
import { type CallOptions, type ObjectWriter, type ReadOptions, type Store } from './store.js';
import { WrappedStore } from './wrapped.js';

export interface StoreRates {
  /** Bytes a second of all writers of this process together; null: as fast as it goes. */
  writePerSecond: number | null;
  /** The same of all readers. */
  readPerSecond: number | null;
}

/** Keeps what goes to and comes from a store to so many bytes a second, over all objects together. */
export const withRateLimit = (store: Store, { writePerSecond, readPerSecond }: StoreRates): Store =>
  writePerSecond === null && readPerSecond === null ? store : new LimitedStore(store, budget(writePerSecond), budget(readPerSecond));

/** Waits as long as those bytes have to wait. */
type Budget = (bytes: number, signal?: AbortSignal) => Promise<void>;

/** So much may go at once after a time of rest. */
const BURST_MS = 250;

const budget = (perSecond: number | null): Budget => {
  if (perSecond === null) return () => Promise.resolve();
  /** When what has been let through is through at that rate. */
  let busyUntil = 0;
  return async (bytes, signal) => {
    const now = performance.now();
    busyUntil = Math.max(busyUntil, now - BURST_MS) + (bytes / perSecond) * 1000;
    if (busyUntil > now) await pause(busyUntil - now, signal);
  };
};

class LimitedStore extends WrappedStore {
  constructor(inner: Store, private readonly written: Budget, private readonly readBytes: Budget) {
    super(inner);
  }

  override async create(key: string, options: CallOptions = {}): Promise<ObjectWriter> {
    const writer = await this.inner.create(key, options);
    const { signal } = options;
    return {
      write: async (chunk) => {
        await this.written(chunk.length, signal);
        await writer.write(chunk);
      },
      commit: () => writer.commit(),
      abort: () => writer.abort(),
    };
  }

  override async *read(key: string, options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of this.inner.read(key, options)) {
      await this.readBytes(chunk.length, options.signal);
      yield chunk;
    }
  }
}
