import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { openArchive, SealingThreads } from '../../../server/engine/archive/archive.js';
import { DEFAULT_BLOCK_SIZE } from '../../../server/engine/archive/layout.js';
import { type BackupDeps } from '../../../server/engine/backup.js';
import { type Permit } from '../../../server/engine/ports.js';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { nodeFsOps } from '../../../server/engine/store/fs-ops.js';
import { ALLOW_EVERYTHING, createPermit, TLS_DEFAULTS } from '../../../server/security/dial.js';
import { type FakeServer, type FakeServerOptions, startFakeServer } from '../../kit/fake-server.js';
import { HOSTILE, LIMITS, WITHIN_MS } from '../../kit/hostile/cases.js';
import { silentAfter, soundRdb, withLength, withMark } from '../../kit/hostile/sources.js';
import { startRedis } from '../../kit/redis.js';
import { readPem } from '../../kit/redis-tls.js';
import { transpile } from '../../kit/transpile.js';
import { waitFor } from '../../kit/wait.js';
import { RING } from '../../unit/archive/archive-kit.js';
import { BACKUP_ID, backUp, makeShelf, type Attempt, type Shelf } from './kit.js';

/*
 * What servers send is taken on the thread that seals it. All that lies between the two threads: what is asked in the middle, what ends a transfer from either
 * side, and that the other side hears of it. How sources are read is the same code, which has suites of its own.
 */

let entry: URL;
let threads: SealingThreads;
beforeAll(() => {
  entry = pathToFileURL(join(transpile('server/data-thread.ts', 'server/engine', 'server/domain', 'server/security'), 'server/data-thread.js'));
  threads = new SealingThreads(entry, { most: 2 });
});
afterAll(() => threads.close());

const permit = createPermit(ALLOW_EVERYTHING);
/** Nothing is dialled for a transfer but on the thread: here, only the look at the server before it. */
const there = (deps: Partial<BackupDeps> = {}): Partial<BackupDeps> => ({ threads, permit, ...deps });

/** Its own, so that tests may run at once. */
const place = async ({ onTestFinished }: TestContext): Promise<{ shelf: Shelf; fake: (options: FakeServerOptions) => Promise<FakeServer> }> => {
  const shelf = await makeShelf();
  onTestFinished(() => shelf.remove());
  return {
    shelf,
    fake: async (options) => {
      const fake = await startFakeServer(options);
      onTestFinished(() => fake.stop());
      return fake;
    },
  };
};

const failureOf = async (running: Promise<unknown>): Promise<unknown> => running.then(() => 'it succeeded', (cause: unknown) => cause);

const isGone = async (fake: FakeServer, shelf: Shelf): Promise<void> => {
  expect(shelf.files()).toEqual([]);
  await waitFor(() => fake.openConnections === 0, { message: 'our connections to be closed' });
};

describe('a source that misbehaves gives its code inside its time limit, and leaves nothing', () => {
  test.concurrent.each(HOSTILE.map((one) => [one.name, one] as const))('%s', async (_, { psync, code, limits }) => {
    const shelf = await makeShelf();
    const fake = await startFakeServer({ psync });
    try {
      const began = performance.now();
      expect(await failureOf(backUp(fake, shelf, { plan: { limits: { ...LIMITS, ...limits } }, deps: there() }))).toMatchObject({ name: 'DomainError', code });
      expect(performance.now() - began).toBeLessThan(WITHIN_MS);
      await isGone(fake, shelf);
    } finally {
      await fake.stop();
      await shelf.remove();
    }
  });
});

test('several at once each give the bytes that were sent, and nothing but their addresses is asked for', async (context) => {
  const { fake } = await place(context);
  const asked: unknown[] = [];
  const asking: Permit = (to) => {
    asked.push(to);
    return permit(to);
  };
  await Promise.all(Array.from({ length: 5 }, async (_, i) => {
    const shelf = await makeShelf();
    context.onTestFinished(() => shelf.remove());
    const rdb = soundRdb(1_000 + i * 1_700_000);
    const server = await fake({ psync: i % 2 === 0 ? withMark(rdb) : withLength(rdb), password: 'secret' });
    const amounts: bigint[] = [];
    const { phases, plainBytes, sha256, replication } = await backUp({ ...server, host: server.host, port: server.port, password: 'secret' }, shelf, {
      plan: { limits: { ...LIMITS, maxBytes: 1n << 40n } }, deps: there({ permit: asking }),
      onProgress: (progress) => { if (progress.kind === 'amount') amounts.push(progress.bytesDone); },
    });
    expect(phases).toEqual(['PREPARING', 'SNAPSHOTTING', 'TRANSFERRING', 'VERIFYING', 'SEALING']);
    expect([plainBytes, sha256, replication]).toEqual([BigInt(rdb.length), createHash('sha256').update(rdb).digest('hex'), { id: server.replicationId, offset: 42n }]);
    expect([amounts.at(-1), amounts]).toEqual([plainBytes, [...amounts].sort((a, b) => Number(a - b))]);
    const reader = await openArchive(shelf.store, BACKUP_ID, { keys: RING });
    await reader.verify();
    await reader.close();
    await waitFor(() => server.openConnections === 0);
    expect(server.commands.filter(([name]) => name === 'PSYNC')).toHaveLength(1);
  }));
  expect(asked).toHaveLength(5);
  expect(asked.map((to) => Object.keys(to as object).sort().join())).toEqual(Array.from({ length: 5 }, () => 'host,port'));
});

test('a real server is taken there, over and over the same thread', async (context) => {
  const { shelf } = await place(context);
  const server = await startRedis();
  context.onTestFinished(() => server.stop());
  const client = server.client();
  await client.call('DEBUG', 'POPULATE', '30000', 'key', '200');
  const runId = /run_id:(\w+)/.exec(String(await client.call('INFO', 'server')))?.[1] ?? '';
  const only = new SealingThreads(entry, { most: 1 });
  context.onTestFinished(() => only.close());
  for (const name of ['a', 'b']) {
    const { summary, phases } = await backUp({ host: server.host, port: server.port, runId }, shelf, { plan: { backupId: BACKUP_ID.replace(/.$/, name) }, deps: there({ threads: only }) });
    expect([summary.keys, summary.integrity, phases.length]).toEqual([30_000n, 'STRUCTURE_AND_CHECKSUM', 5]);
  }
});

test('TLS is spoken there as on the thread that says how', async (context) => {
  const { shelf } = await place(context);
  const server = await startRedis({ tls: true, config: { 'tls-protocols': 'TLSv1.2' } });
  context.onTestFinished(() => server.stop());
  const client = server.client();
  await client.call('DEBUG', 'POPULATE', '20000', 'key', '200');
  const runId = /run_id:(\w+)/.exec(String(await client.call('INFO', 'server')))?.[1] ?? '';
  const endpoint = { host: server.host, port: server.port, tls: { ca: readPem(server.tls?.caFile ?? '') } };
  const strict = new SealingThreads(entry, { most: 1, workerData: { tls: { ...TLS_DEFAULTS, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } } });
  context.onTestFinished(() => strict.close());
  expect(await failureOf(backUp({ ...endpoint, runId }, shelf, { plan: { endpoint }, deps: there({ threads: strict }) }))).toMatchObject({ code: 'CONNECT_FAILED' });
  const { summary } = await backUp({ ...endpoint, runId }, shelf, { plan: { endpoint }, deps: there() });
  expect([summary.keys, summary.integrity]).toEqual([20_000n, 'STRUCTURE_AND_CHECKSUM']);
});

test('a server that cannot be made to wait is read on the thread that is never busy sealing', async (context) => {
  const { shelf, fake } = await place(context);
  const server = await fake({ version: '5.0.14', psync: withLength(soundRdb()) });
  const source = { instanceId: 'ins_1', instanceName: 's', engine: 'REDIS' as const, version: '5.0.14', runId: server.runId, coverage: { kind: 'INSTANCE' as const } };
  let asked = 0;
  await backUp(server, shelf, { plan: { source }, deps: there({ permit: (to) => { asked += 1; return permit(to); } }) });
  expect(asked).toBe(0);
});

test('an address that may not be dialled is refused before anything goes there', async (context) => {
  const { shelf, fake } = await place(context);
  const server = await fake({ psync: withMark(soundRdb()) });
  const refusal = await failureOf(backUp(server, shelf, { deps: there({ permit: createPermit({ allows: () => false }) }) }));
  expect(refusal).toMatchObject({ code: 'TARGET_NOT_ALLOWED', hint: expect.stringContaining('CONNECT_ALLOW') as string });
  expect(server.commands.map(([name]) => name)).not.toContain('REPLCONF');
  await isGone(server, shelf);
});

test('who may not ask for a save does not, and fails as it was refused', async (context) => {
  const { shelf, fake } = await place(context);
  const server = await fake({ psync: withMark(soundRdb()) });
  const refusal = new DomainError('RATE_LIMITED', 'Not now.', { retryable: true, details: { retryAt: '2030-01-01T00:00:00.000Z' } });
  expect(await failureOf(backUp(server, shelf, { syncs: { begin: () => Promise.reject(refusal) }, deps: there() }))).toBe(refusal);
  expect(server.commands.map(([name]) => name)).not.toContain('PSYNC');
  await isGone(server, shelf);
});

test('a server that knows no PSYNC is read key by key into the same archive', async (context) => {
  const { shelf } = await place(context);
  const server = await startRedis({ args: ['--rename-command', 'PSYNC', '', '--rename-command', 'SYNC', ''] });
  context.onTestFinished(() => server.stop());
  const client = server.client();
  await client.set('a', 'b');
  const runId = /run_id:(\w+)/.exec(String(await client.call('INFO', 'server')))?.[1] ?? '';
  const { method, summary } = await backUp({ host: server.host, port: server.port, runId }, shelf, { deps: there() });
  expect([method, summary.keys]).toEqual(['SCAN', 1n]);
});

test.for<[string, (cancel: AbortController) => Attempt, object]>([
  ['somebody cancels', (cancel) => ({ signal: cancel.signal, onProgress: (progress) => { if (progress.kind === 'phase' && progress.phase === 'TRANSFERRING') cancel.abort(); } }), { code: 'INTERRUPTED' }],
  ['a listener throws', () => ({ onProgress: (progress) => { if (progress.kind === 'phase' && progress.phase === 'TRANSFERRING') throw new DomainError('CONFLICT', 'No more.'); } }), { code: 'CONFLICT', message: 'No more.' }],
])('when %s in the middle of a transfer it ends, though the server says nothing', async ([, attempt, expected], context) => {
  const { shelf, fake } = await place(context);
  const server = await fake({ psync: silentAfter(5_000) });
  expect(await failureOf(backUp(server, shelf, { plan: { limits: LIMITS }, deps: there(), ...attempt(new AbortController()) }))).toMatchObject(expected);
  await isGone(server, shelf);
});

test('a thread that dies in the middle of a transfer ends it', async (context) => {
  const { shelf, fake } = await place(context);
  const server = await fake({ psync: silentAfter(5_000) });
  const mortal = new SealingThreads(entry, { most: 1 });
  const failure = await failureOf(backUp(server, shelf, {
    plan: { limits: LIMITS }, deps: there({ threads: mortal }), onProgress: (progress) => { if (progress.kind === 'phase' && progress.phase === 'TRANSFERRING') void mortal.close(); },
  }));
  expect(failure).toMatchObject({ code: 'INTERNAL', retryable: true });
  await isGone(server, shelf);
});

describe('a store', () => {
  const big = soundRdb(12 * 1024 * 1024);
  const shelfWith = async ({ onTestFinished }: TestContext, append: (write: () => Promise<void>, blocks: number, chunk: Uint8Array) => Promise<void>): Promise<Shelf> => {
    const shelf = await makeShelf();
    onTestFinished(() => shelf.remove());
    let blocks = 0;
    const store = await openFilesystemStore({
      root: join(shelf.root, 'inner'), create: true,
      fs: { ...nodeFsOps, createFile: async (path) => {
        const file = await nodeFsOps.createFile(path);
        return { ...file, append: (chunk) => append(() => file.append(chunk), (blocks += chunk.length > 65_536 ? 1 : 0), chunk) };
      } },
    });
    return { ...shelf, store };
  };

  test('that is full ends the transfer with its own fault', async (context) => {
    const { fake } = await place(context);
    const server = await fake({ psync: withMark(big) });
    let given: Uint8Array | undefined;
    const shelf = await shelfWith(context, (write, blocks, chunk) => {
      if (blocks <= 4) return write();
      given ??= chunk;
      return Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
    });
    expect(await failureOf(backUp(server, shelf, { deps: there() }))).toMatchObject({ code: 'STORAGE_FULL' });
    await waitFor(() => server.openConnections === 0);
    expect(shelf.files()).toEqual([]);
    // A write that was given up may go on reading: its memory is nobody else's.
    expect(given?.length).toBeGreaterThan(65_536);
  });

  test('that fails after it has stood still ends a transfer that waits for it', async (context) => {
    const { fake } = await place(context);
    const server = await fake({ psync: withMark(big) });
    let stands = false;
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    const shelf = await shelfWith(context, async (write, blocks) => {
      if (blocks <= 4) return write();
      stands = true;
      await gate;
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    });
    const taken: bigint[] = [];
    const running = failureOf(backUp(server, shelf, { deps: there(), onProgress: (progress) => { if (progress.kind === 'amount') taken.push(progress.bytesDone); } }));
    await waitFor(() => stands);
    // The thread has all that it takes by now: the blocks under way are full.
    let before = -1;
    await waitFor(async () => {
      const still = taken.length === before;
      before = taken.length;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return still;
    });
    release();
    expect(await running).toMatchObject({ code: 'STORAGE_FULL' });
    await waitFor(() => server.openConnections === 0);
    expect(shelf.files()).toEqual([]);
  });

  test('that stands still makes the server wait, and nothing is held but what is under way', async (context) => {
    const { fake } = await place(context);
    let sent = 0;
    const server = await fake({ psync: async (link, self) => {
      await link.send(`+FULLRESYNC ${self.replicationId} 42\r\n$${String(big.length)}\r\n`);
      for (let at = 0; at < big.length; at += 65_536) {
        if (!(await link.send(big.subarray(at, at + 65_536)))) return;
        sent = Math.min(big.length, at + 65_536);
      }
      link.end();
    } });
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    const shelf = await shelfWith(context, async (write, blocks) => {
      if (blocks > 2) await gate;
      await write();
    });
    const taken: bigint[] = [];
    const running = backUp(server, shelf, { plan: { limits: { ...LIMITS, maxBytes: 1n << 40n } }, deps: there(), onProgress: (progress) => { if (progress.kind === 'amount') taken.push(progress.bytesDone); } });
    await waitFor(async () => {
      const before = [sent, taken.length];
      await new Promise((resolve) => setTimeout(resolve, 300));
      return sent > 0 && before.join() === [sent, taken.length].join();
    });
    // Those in the store, under way and being filled.
    expect(Number(taken.at(-1) ?? 0n)).toBeLessThanOrEqual(8 * DEFAULT_BLOCK_SIZE);
    release();
    expect((await running).plainBytes).toBe(BigInt(big.length));
  });
});
