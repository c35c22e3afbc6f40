import { getEventListeners } from 'node:events';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createClient, isSnapbackError, type Client, type ClientEvent, type JobEvent } from '../../sdk/src/index.js';
import { startProxy, type Proxy } from '../kit/proxy.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';

let service: TestService;
let redis: RedisServer;
let instanceId: string;
let proxy: Proxy;
let client: Client;
let told: ClientEvent[];

beforeAll(async () => {
  [service, redis] = await Promise.all([startService({ env: { RATE_LIMIT_POINTS: '0' } }), startRedis()]);
  await redis.cli('MSET', 'a', '1', 'b', '2');
  instanceId = (await service.sdk.instances.register({ name: 'cache', host: redis.host, port: redis.port })).id;
});
afterAll(async () => {
  await Promise.all([service?.stop(), redis?.stop()]);
});

beforeEach(async () => {
  proxy = await startProxy(Number(new URL(service.url).port));
  told = [];
  client = createClient({
    url: `http://127.0.0.1:${String(proxy.port)}`, token: service.key, keepAliveMs: 300, timeoutMs: 2_000,
    retry: { attempts: 100, baseMs: 5, maxMs: 50, resumeForMs: 120_000 }, onEvent: (event) => told.push(event),
  });
});
afterEach(async () => {
  client.close();
  await proxy.stop();
});

/** Reads in the background; `events` grows meanwhile. */
const read = (iterable: AsyncIterable<JobEvent>): { events: JobEvent[]; done: Promise<unknown> } => {
  const events: JobEvent[] = [];
  const done = (async () => {
    for await (const event of iterable) events.push(event);
  })().then(() => undefined, (error: unknown) => error);
  return { events, done };
};

/** What must not be lost: all but progress, which newer progress may replace. */
const changes = (events: readonly JobEvent[]): string[] =>
  events.filter(({ kind }) => kind !== 'PROGRESS' && kind !== 'SNAPSHOT').map(({ job, sequence, kind }) => `${job.id} ${String(sequence)} ${kind} ${job.state} ${job.phase ?? ''}`);

/** How often a stream had to be taken up again, over the socket or an event stream. */
const lost = (): number => told.filter(({ type }) => type === 'retry' || type === 'fallback').length;

/** What networks do: reset, say nothing any more in either direction, and hold back for a while. */
const FAULTS = ['cut', 'silence', 'hold'] as const;

/** One fault, up to the moment when the client has noticed it, or something has happened behind its back. */
const suffer = async (fault: (typeof FAULTS)[number], behind: () => number): Promise<void> => {
  const [before, seen] = [lost(), behind()];
  if (fault === 'hold') {
    proxy.hold();
    await waitFor(() => behind() > seen || lost() > before);
    proxy.release();
    return;
  }
  proxy[fault]();
  await waitFor(() => lost() > before || behind() > seen + 3);
  proxy.mend();
};

/** @returns the id of the job, which is over */
const backUp = async (name: string): Promise<string> => (await service.sdk.jobs.wait((await service.sdk.backups.create({ instanceId, name })).job)).id;

describe('through a network that cuts, delays and goes silent', () => {
  it('the feed loses no change and repeats none', async () => {
    const direct = read(service.sdk.jobs.events());
    const faulty = read(client.jobs.events());
    const ended = (events: readonly JobEvent[], id: string): boolean => events.some(({ job }) => job.id === id && job.state === 'COMPLETED');
    // Both have begun once both have seen one job end.
    let first = '';
    await waitFor(async () => {
      first = await backUp('first');
      return ended(direct.events, first) && (await waitFor(() => ended(faulty.events, first), { timeoutMs: 5_000 }).then(() => true, () => false));
    });
    let rounds = 0;
    let working = true;
    const work = (async () => {
      for (let made = 0; rounds < 9 || made < 9; made += 1) await backUp(`round ${String(made)}`);
    })().finally(() => {
      working = false;
    });
    for (; working; rounds += 1) {
      await suffer(FAULTS[rounds % FAULTS.length] ?? 'cut', () => (working ? direct.events.length : Infinity));
      const heard = faulty.events.length;
      await waitFor(() => !working || faulty.events.length > heard);
    }
    await work;
    const last = await backUp('last');
    await waitFor(() => ended(direct.events, last) && ended(faulty.events, last));
    expect(lost()).toBeGreaterThan(3);
    const after = (events: readonly JobEvent[]): string[] => changes(events.slice(events.findIndex(({ job }) => job.id === first && job.state === 'COMPLETED')));
    expect(after(faulty.events)).toEqual(after(direct.events));
    expect(new Set(faulty.events.map(({ cursor }) => cursor)).size).toBe(faulty.events.length);
    service.sdk.close();
    client.close();
    expect([await direct.done, await faulty.done].every((error) => isSnapbackError(error) && error.kind === 'aborted')).toBe(true);
  });

  it('watches bring each change of their job once, and end with it', async () => {
    for (let round = 0; round < 9; round += 1) {
      const fault = FAULTS[round % FAULTS.length] ?? 'cut';
      const started = await service.sdk.backups.create({ instanceId, name: `watched ${String(round)}` });
      const faulty = read(client.backups.watch(started));
      const direct = read(service.sdk.backups.watch(started));
      await waitFor(() => faulty.events.length > 0);
      const over = direct.done.then(() => true);
      await Promise.race([over, suffer(fault, () => direct.events.length)]);
      await over;
      if (fault === 'hold') proxy.release();
      else proxy.mend();
      expect(await faulty.done).toBeUndefined();
      const replay = read(service.sdk.jobs.watch(started.job, { afterSequence: faulty.events[0]?.sequence ?? 0 }));
      await replay.done;
      expect(changes(faulty.events)).toEqual(changes(replay.events));
      const sequences = faulty.events.map(({ sequence }) => sequence);
      expect(sequences).toEqual([...new Set(sequences)].sort((a, b) => a - b));
      expect(faulty.events.at(-1)?.job).toMatchObject({ state: 'COMPLETED', conclusion: 'SUCCEEDED' });
    }
  });

  it('a wait is over when the job is, however often its way is lost', async () => {
    const started = await service.sdk.backups.create({ instanceId, name: 'waited for' });
    const seen: string[] = [];
    const waiting = client.backups.wait(started, { onProgress: ({ state }) => { seen.push(state); } });
    await waitFor(() => seen.length > 0);
    proxy.silence();
    await service.sdk.backups.wait(started);
    proxy.mend();
    expect(await waiting).toMatchObject({ state: 'AVAILABLE', name: 'waited for' });
    expect(seen.at(-1)).toBe('COMPLETED');
  });
});

describe('a thousand watches that are given up', () => {
  it('leave no connection, no listener and no timer behind', async () => {
    await backUp('over');
    const { job } = await service.sdk.backups.create({ instanceId, name: 'watched a thousand times' });
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const outer = new AbortController();
    const giveUp = async (way: number): Promise<void> => {
      const own = new AbortController();
      const iterator = client.jobs.watch(job, { signal: way % 2 === 0 ? own.signal : outer.signal });
      const next = iterator.next();
      next.catch(() => undefined);
      if (way % 3 !== 0) await next;
      if (way % 2 === 0) {
        own.abort();
        await next.catch(() => undefined);
        await iterator.next().catch(() => undefined);
      } else await iterator.return?.();
      expect(getEventListeners(own.signal, 'abort')).toHaveLength(0);
    };
    await giveUp(1);
    await waitFor(() => proxy.open === 0);
    const before = timers();
    for (let batch = 0; batch < 40; batch += 1) {
      await Promise.all(Array.from({ length: 25 }, (_, i) => giveUp(batch * 25 + i)));
      if (batch % 10 === 5) {
        proxy.cut();
        proxy.mend();
      }
    }
    expect(getEventListeners(outer.signal, 'abort')).toHaveLength(0);
    // A watch that met a cut may have gone over an event stream, whose connection fetch keeps for its next request for a few seconds.
    await waitFor(() => proxy.open === 0 && timers() <= before, { message: () => `${String(proxy.open)} connections and ${String(timers() - before)} timers to go` });
    expect(told.filter((event) => event.type === 'socket' && event.state === 'open').length).toBeGreaterThan(4);
    const watch = client.jobs.watch(job);
    expect((await watch.next()).done).toBe(false);
    await watch.return?.();
  });
});
