import { describe, expect, it, vi } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { pauseAfter, retrying } from '../../../server/engine/store/backoff.js';
import { withRateLimit } from '../../../server/engine/store/rate-limit.js';
import { withRetry } from '../../../server/engine/store/retry.js';
import { type ObjectWriter, type Store } from '../../../server/engine/store/store.js';
import { withTimeout } from '../../../server/engine/store/timeout.js';
import { memoryStore } from '../../kit/memory-store.js';

const passing = (details: Record<string, number> = {}): DomainError => new DomainError('STORAGE_IO', 'It passes.', { retryable: true, details });
const lasting = new DomainError('STORAGE_PERMISSION', 'It stays.');
const thrownBy = async (run: () => Promise<unknown>): Promise<unknown> => run().then(() => 'nothing', (error: unknown) => error);
const never = <T>(): Promise<T> => new Promise(() => undefined);
/** Rejects with the reason once the signal fires. */
const untilTold = <T>(signal: AbortSignal | undefined): Promise<T> =>
  new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));

const readAll = async (store: Store, key: string): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const part of store.read(key)) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
};

describe('trying again', () => {
  it('pauses by chance below a bound that doubles, and for what the other side asks', () => {
    const most = { attempts: 9, firstMs: 100, maxMs: 1_000, random: () => 1 };
    expect([1, 2, 3, 4, 5, 6].map((attempt) => pauseAfter(attempt, passing(), most))).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(pauseAfter(5, passing(), { ...most, random: () => 0 })).toBe(0);
    expect(pauseAfter(1, passing({ retryAfterMs: 700 }), most)).toBe(700);
    expect(pauseAfter(1, passing({ retryAfterMs: 3_600_000 }), most)).toBe(1_000);
    const pauses = Array.from({ length: 50 }, () => pauseAfter(1, passing(), { attempts: 9, firstMs: 100, maxMs: 1_000 }));
    expect(new Set(pauses).size).toBeGreaterThan(40);
    expect(pauses.every((ms) => ms >= 0 && ms <= 100)).toBe(true);
  });

  it('ends at success, at a fault that lasts, at the last attempt, or when it is told to', async () => {
    const quick = { attempts: 3, firstMs: 1, maxMs: 1 };
    let runs = 0;
    const failing = (error: Error, times: number) => () => ((runs += 1) > times ? Promise.resolve('done') : Promise.reject(error));
    expect(await retrying(failing(passing(), 2), quick)).toBe('done');
    runs = 0;
    expect(await thrownBy(() => retrying(failing(passing(), 9), quick))).toMatchObject({ message: 'It passes.' });
    expect(runs).toBe(3);
    runs = 0;
    expect(await thrownBy(() => retrying(failing(lasting, 9), quick))).toBe(lasting);
    runs = 0;
    expect(await thrownBy(() => retrying(failing(new Error('not ours'), 9), quick))).toMatchObject({ message: 'not ours' });
    expect(runs).toBe(1);
    const stop = new AbortController();
    const waiting = thrownBy(() => retrying(() => Promise.reject(passing()), { attempts: 3, firstMs: 60_000, maxMs: 60_000, random: () => 1 }, stop.signal));
    stop.abort(lasting);
    expect(await waiting).toBe(lasting);
  });

  it('does not repeat what a writer was told', async () => {
    const inner = memoryStore();
    let writes = 0;
    const writer: ObjectWriter = { write: () => Promise.reject((writes += 1, passing())), commit: () => Promise.reject(passing()), abort: () => Promise.resolve() };
    const store = withRetry({ ...inner, create: () => Promise.resolve(writer) }, { attempts: 5, firstMs: 1, maxMs: 1 });
    expect(await thrownBy(async () => (await store.create('x')).write(Buffer.from('x')))).toMatchObject({ message: 'It passes.' });
    expect(writes).toBe(1);
  });

  it('claims once, though the answer was lost', async () => {
    let owner: string | null = null;
    let lost = 0;
    const store = withRetry({
      ...memoryStore(),
      claim: (catalogueId, from) => {
        if (owner === from) owner = catalogueId;
        return (lost += 1) === 1 ? Promise.reject(passing()) : Promise.resolve(owner);
      },
    }, { attempts: 3, firstMs: 1, maxMs: 1 });
    expect(await store.claim('one', null)).toBe('one');
  });
});

describe('timeouts', () => {
  const TIMES = { callMs: 30, writeMs: 30, longMs: 30, graceMs: 30 };
  const over = (calls: Partial<Store>, times = TIMES): Store => withTimeout({ ...memoryStore(new Map([['x', Buffer.from('x')]])), ...calls }, times);
  const late = { code: 'STORAGE_IO', retryable: true, message: expect.stringContaining('did not end within 0.03 s') as string };

  it.each<[string, Partial<Store>, (store: Store) => Promise<unknown>]>([
    ['stat', { stat: never }, (store) => store.stat('x')],
    ['remove', { remove: (_key, options) => untilTold(options?.signal) }, (store) => store.remove('x')],
    ['owner', { owner: never }, (store) => store.owner()],
    ['claim', { claim: never }, (store) => store.claim('a', null)],
    ['create', { create: never }, (store) => store.create('y')],
    ['sweep', { sweep: never }, (store) => store.sweep({ olderThan: new Date(), keep: () => false })],
    ['read', { read: (_key, options) => ({ [Symbol.asyncIterator]: () => ({ next: () => untilTold(options?.signal) }) }) }, (store) => readAll(store, 'x')],
    ['list', { list: () => ({ [Symbol.asyncIterator]: () => ({ next: never }) }) }, async (store) => {
      for await (const object of store.list('')) expect(object.key).toBe('never');
    }],
  ])('end %s, whether it listens or not', async (_name, calls, run) => {
    expect(await thrownBy(() => run(over(calls)))).toMatchObject(late);
  });

  it('are told by check as a problem', async () => {
    expect(await over({ check: never }).check()).toMatchObject({ writable: false, problem: late });
  });

  it('end a writer that hangs, and give one that is told to end time to clean up', async () => {
    const hanging: ObjectWriter = { write: never, commit: never, abort: never };
    const writer = await over({ create: () => Promise.resolve(hanging) }).create('y');
    for (const run of [() => writer.write(Buffer.from('x')), () => writer.commit(), () => writer.abort()]) expect(await thrownBy(run)).toMatchObject(late);

    let cleaned = false;
    const tidy = over({
      create: (_key, options) => Promise.resolve({
        ...hanging,
        write: () => untilTold<void>(options?.signal).catch(async (error: unknown) => {
          await new Promise((resolve) => setTimeout(resolve, 20));
          cleaned = true;
          throw error;
        }),
        // What turns out to have gone well in that time, has gone well.
        commit: () => untilTold<void>(options?.signal).catch(() => undefined),
      }),
    }, { ...TIMES, graceMs: 5_000 });
    expect(await thrownBy(async () => (await tidy.create('y')).write(Buffer.from('x')))).toMatchObject(late);
    expect(cleaned).toBe(true);
    expect(await thrownBy(async () => (await tidy.create('y')).commit())).toBe('nothing');
  });

  it('do not count the time that a consumer takes, and let what is told from outside through as it is', async () => {
    // With a clock of the test's own: the call itself takes none of this time.
    vi.useFakeTimers();
    try {
      for await (const part of over({}).read('x')) {
        expect(part.length).toBe(1);
        await vi.advanceTimersByTimeAsync(100);
      }
    } finally {
      vi.useRealTimers();
    }
    const stop = new AbortController();
    const waiting = thrownBy(() => over({ stat: (_key, options) => untilTold(options?.signal) }, { ...TIMES, callMs: 60_000 }).stat('x', { signal: stop.signal }));
    stop.abort(lasting);
    expect(await waiting).toBe(lasting);
  });
});

describe('rate limits', () => {
  it('hold all writers and readers of a store to so many bytes a second together', async () => {
    const MIB = 1024 * 1024;
    const inner = memoryStore(new Map([['r', Buffer.alloc(2 * MIB)]]), () => 64 * 1024);
    expect(withRateLimit(inner, { writePerSecond: null, readPerSecond: null })).toBe(inner);
    const store = withRateLimit(inner, { writePerSecond: 4 * MIB, readPerSecond: 4 * MIB });
    const timed = async (run: () => Promise<unknown>): Promise<number> => {
      const from = performance.now();
      await run();
      return performance.now() - from;
    };
    const write = async (key: string): Promise<void> => {
      const writer = await store.create(key);
      for (let at = 0; at < 16; at += 1) await writer.write(Buffer.alloc(64 * 1024));
      await writer.commit();
    };
    // 2 MiB at 4 MiB/s take 500 ms, of which 250 may have been saved up.
    const [writing, reading] = await Promise.all([timed(() => Promise.all([write('a'), write('b')])), timed(() => readAll(store, 'r'))]);
    for (const ms of [writing, reading]) expect(ms).toBeGreaterThan(230);
    expect(Math.max(writing, reading)).toBeLessThan(30_000);
  });

  it('do not keep those waiting who are told to stop', async () => {
    const store = withRateLimit(memoryStore(), { writePerSecond: 1, readPerSecond: null });
    const stop = new AbortController();
    const writer = await store.create('a', { signal: stop.signal });
    const waiting = thrownBy(() => writer.write(Buffer.alloc(1_000_000)));
    stop.abort(lasting);
    expect(await waiting).toBe(lasting);
  });
});
