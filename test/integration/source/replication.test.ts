import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openArchive } from '../../../server/engine/archive/archive.js';
import { receiveRdb, type ReceiveEvent } from '../../../server/engine/source/replication.js';
import { digest } from '../../kit/digest.js';
import { fillBytes } from '../../kit/fill.js';
import { collect } from '../../kit/garbage.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { checkRdb } from '../../kit/redis-binary.js';
import { type RedisServer, type RedisServerOptions, startRedis } from '../../kit/redis.js';
import { readPem } from '../../kit/redis-tls.js';
import { seedAllTypes } from '../../kit/seed.js';
import { waitFor } from '../../kit/wait.js';
import { BACKUP_ID, backUp, dial, makeShelf, quiet, type Shelf, type Source } from './kit.js';
import { RING } from '../../unit/archive/archive-kit.js';

let shelf: Shelf;
const servers: RedisServer[] = [];
const folders: string[] = [];
beforeEach(async () => { shelf = await makeShelf(); });
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  await Promise.all(folders.splice(0).map(removeTempDir));
  await shelf.remove();
});

const start = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
  const server = await startRedis(options);
  servers.push(server);
  return server;
};

const runIdOf = async (server: RedisServer): Promise<string> => /run_id:(\w+)/.exec(await server.cli('INFO', 'server'))?.[1] ?? '';
const sourceOf = async (server: RedisServer, credential: Pick<Source, 'username' | 'password'> = {}): Promise<Source> =>
  ({ host: server.host, port: server.port, runId: await runIdOf(server), password: server.password, ...credential });

/** A server that has started from the archived file. */
const serverFromArchive = async (): Promise<RedisServer> => {
  const dir = makeTempDir('from-archive');
  folders.push(dir);
  const reader = await openArchive(shelf.store, BACKUP_ID, { keys: RING });
  await pipeline(Readable.from(reader.read()), createWriteStream(join(dir, 'dump.rdb'), { mode: 0o644 }));
  await reader.close();
  await checkRdb(join(dir, 'dump.rdb'));
  return start({ dir });
};

describe('what is archived is what the server held', () => {
  test.each<[string, RedisServerOptions, { acceptDiskless?: boolean }, boolean]>([
    ['diskless, ended by a mark', {}, {}, false],
    ['saved to disk first, with its length', { config: { 'repl-diskless-sync': 'no' } }, {}, true],
    ['without capa eof, with its length', {}, { acceptDiskless: false }, true],
    ['without checksums', { config: { rdbchecksum: 'no' } }, {}, false],
  ])('%s', async (_, options, plan, knowsLength) => {
    const server = await start(options);
    await seedAllTypes(server);
    const totals = new Set<bigint | null>();
    const result = await backUp(await sourceOf(server), shelf, { plan, onProgress: (progress) => { if (progress.kind === 'amount') totals.add(progress.bytesTotal); } });
    expect(result.phases).toEqual(['PREPARING', 'SNAPSHOTTING', 'TRANSFERRING', 'VERIFYING', 'SEALING']);
    expect([...totals]).toEqual([knowsLength ? result.plainBytes : null]);
    expect(result.summary.integrity).toBe(options.config?.['rdbchecksum'] === 'no' ? 'STRUCTURE_ONLY' : 'STRUCTURE_AND_CHECKSUM');
    expect(result.replication?.id).toBe(/master_replid:(\w+)/.exec(await server.cli('INFO', 'replication'))?.[1]);
    const loaded = await serverFromArchive();
    expect(await digest(loaded)).toBe(await digest(server));
    await waitFor(async () => (await server.cli('INFO', 'replication')).includes('connected_slaves:0'), { message: 'the server to forget us' });
  });

  test('under write load it is one point in time', async () => {
    const server = await start();
    await fillBytes(server, { mib: 16 });
    const writer = server.client();
    let writing = true;
    const written = (async () => {
      for (let i = 1; writing; i += 1) await writer.multi().set('first', i).rpush('log', `entry ${String(i)}`).set('last', i).exec();
    })();
    await waitFor(() => writer.llen('log'));
    const { replication } = await backUp(await sourceOf(server), shelf);
    writing = false;
    await written;
    const loaded = (await serverFromArchive()).client();
    const [first, last, length] = [Number(await loaded.get('first')), Number(await loaded.get('last')), await loaded.llen('log')];
    expect([last, length]).toEqual([first, first]);
    expect(first).toBeGreaterThan(0);
    const end = /master_repl_offset:(\d+)/.exec(await server.cli('INFO', 'replication'))?.[1] ?? '0';
    expect(replication?.offset).toBeLessThan(BigInt(end));
  });

  test('the offset is where the replication stream goes on', async () => {
    const server = await start();
    await seedAllTypes(server, { keysPerType: 2 });
    await backUp(await sourceOf(server), shelf);
    const before = BigInt(/master_repl_offset:(\d+)/.exec(await server.cli('INFO', 'replication'))?.[1] ?? '0');
    const again = await makeShelf();
    try {
      expect((await backUp(await sourceOf(server), again)).replication?.offset).toBe(before);
    } finally {
      await again.remove();
    }
  });

  test('an empty server gives a backup without keys', async () => {
    const { summary } = await backUp(await sourceOf(await start()), shelf);
    expect([summary.keys, summary.integrity]).toEqual([0n, 'STRUCTURE_AND_CHECKSUM']);
  });

  test('over TLS', async () => {
    const server = await start({ tls: true });
    const { tls } = server;
    if (!tls) throw new Error('the kit made no certificates');
    await server.client().set('a', 'b');
    const source = { ...(await sourceOf(server)), host: 'localhost' };
    const endpoint = { host: 'localhost', port: server.port };
    const { summary } = await backUp(source, shelf, { plan: { endpoint: { ...endpoint, tls: { ca: readPem(tls.caFile) } } } });
    expect(summary.keys).toBe(1n);
    await expect(backUp(source, shelf, { plan: { endpoint: { ...endpoint, tls: { ca: readPem(tls.otherCaFile) } } } })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    await expect(backUp(source, shelf, { plan: { endpoint: { ...endpoint, tls: {} } } })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
  });

  test('one node of a cluster is a shard with the slots it owns now', async () => {
    const server = await start({ cluster: { slots: [[0, 100], [200, 200]] } });
    const source = { instanceId: 'ins_0123456789abcdefghjkmnpqrs', instanceName: 'node', engine: 'REDIS' as const, version: server.version, runId: await runIdOf(server) };
    const { manifest } = await backUp(await sourceOf(server), shelf, { plan: { source: { ...source, coverage: { kind: 'SHARD', slots: [{ start: 5, end: 6 }] } } } });
    expect(manifest.artifacts[0].coverage).toEqual({ kind: 'SHARD', slots: [{ start: 0, end: 100 }, { start: 200, end: 200 }] });
  });
});

describe('who may take a backup', () => {
  const ACL = ['backup on >secret +ping +psync +replconf +info', 'reader on >secret ~* +@read -scan +info +ping', 'blind on >secret +psync +replconf +ping'];

  test('the least rights are enough', async () => {
    const server = await start({ acl: ACL });
    await server.client().set('a', 'b');
    const { summary } = await backUp(await sourceOf(server, { username: 'backup', password: 'secret' }), shelf);
    expect(summary.keys).toBe(1n);
  });

  test.each([
    ['a wrong password', 'backup', 'wrong', 'AUTH_FAILED'],
    ['an unknown user', 'nobody', 'secret', 'AUTH_FAILED'],
    ['no right to REPLCONF and PSYNC', 'reader', 'secret', 'PERMISSION_MISSING'],
    ['no right to INFO', 'blind', 'secret', 'PERMISSION_MISSING'],
  ])('%s', async (_, username, password, code) => {
    const server = await start({ acl: ACL });
    await expect(backUp(await sourceOf(server, { username, password }), shelf)).rejects.toMatchObject({ code });
    expect(shelf.files()).toEqual([]);
    expect(server.log()).not.toMatch(/Replica .* asks for synchronization/);
  });

  test.each([
    ['a wrong password', 'right', { password: 'wrong' }],
    ['a password where none is set', undefined, { password: 'any' }],
    ['no password where one is set', 'right', { password: undefined }],
  ])('the link itself refuses %s', async (_, password, credential) => {
    const server = await start({ password });
    const source = { host: server.host, port: server.port, ...credential };
    const taken = receiveRdb(source, { dial, log: quiet }, { engine: 'REDIS', version: server.version }, new AbortController().signal, () => undefined);
    await expect(taken).rejects.toMatchObject({ code: 'AUTH_FAILED' });
    expect(server.log()).not.toMatch(/Replica .* asks for synchronization/);
  });

  test('with the password of the server', async () => {
    const server = await start({ password: 'right' });
    expect((await backUp(await sourceOf(server), shelf)).summary.keys).toBe(0n);
  });
});

describe('faults in the middle', () => {
  /** Slow enough to be hit: 20 µs a key. */
  const slow = { config: { 'rdb-key-save-delay': '20' } };

  test.each<[string, RedisServerOptions]>([
    ['diskless', slow],
    ['from disk', { config: { 'repl-diskless-sync': 'no' } }],
  ])('a source that is killed while it sends, %s', async (_, options) => {
    const server = await start(options);
    await fillBytes(server, { mib: 24 });
    let killed: Promise<void> | undefined;
    const running = backUp(await sourceOf(server), shelf, {
      onProgress: (progress) => { if (progress.kind === 'amount' && progress.bytesDone > 0n) killed ??= server.kill('SIGKILL'); },
    });
    await expect(running).rejects.toMatchObject({ code: 'SOURCE_DISCONNECTED', retryable: true });
    await killed;
    expect(shelf.files()).toEqual([]);
  });

  test('a backup that is cancelled while the server saves lets it stop', async () => {
    const server = await start(slow);
    await fillBytes(server, { mib: 24 });
    const cancel = new AbortController();
    const running = backUp(await sourceOf(server), shelf, {
      signal: cancel.signal, onProgress: (progress) => { if (progress.kind === 'amount' && progress.bytesDone > 0n) cancel.abort(); },
    });
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(shelf.files()).toEqual([]);
    await waitFor(async () => (await server.cli('INFO', 'persistence')).includes('rdb_bgsave_in_progress:0'), { message: 'the saving child to end' });
    await server.client().config('SET', 'rdb-key-save-delay', '0');
    expect((await backUp(await sourceOf(server), shelf)).summary.keys).toBeGreaterThan(0n);
  });

  test('a slow sink holds the source up, and nothing is lost', async () => {
    const server = await start();
    await fillBytes(server, { mib: 64 });
    const events: ReceiveEvent[] = [];
    let seen = 0;
    let most = 0;
    collect();
    const before = process.memoryUsage().arrayBuffers;
    let looked = 0;
    const received = await receiveRdb(
      { host: server.host, port: server.port }, { dial, log: quiet }, { engine: 'REDIS', version: server.version, onEvent: (event) => events.push(event) }, new AbortController().signal,
      async (piece) => {
        seen += piece.length;
        // Without garbage, which is collected when there is time.
        if (seen - looked > 2 * 1024 * 1024) {
          looked = seen;
          collect();
          most = Math.max(most, process.memoryUsage().arrayBuffers - before);
        }
        if (seen % 7 === 0) await new Promise((next) => setTimeout(next, 1));
      },
    );
    expect(received).toMatchObject({ bytes: BigInt(seen), framing: 'EOF_MARK', rdbOnly: true });
    expect(seen).toBeGreaterThan(40 * 1024 * 1024);
    expect(most).toBeLessThan(40 * 1024 * 1024);
    expect(events.map((event) => event.kind)).toEqual(['snapshotting', 'saving', 'transferring']);
  });
});

test('a server that stops between probe and backup is CONNECT_FAILED', async () => {
  const server = await start();
  const source = await sourceOf(server);
  await server.kill();
  await expect(backUp(source, shelf)).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
  expect(shelf.files()).toEqual([]);
});

test('a restarted server is CONFLICT: the lock was for another one', async () => {
  const server = await start();
  const source = await sourceOf(server);
  await server.restart();
  await expect(backUp(source, shelf)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(shelf.files()).toEqual([]);
});

test('the client and its timers are gone afterwards', async () => {
  const server = await start();
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  await backUp(await sourceOf(server), shelf);
  await waitFor(async () => !(await server.cli('CLIENT', 'LIST')).includes('flags=S'));
  await waitFor(() => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length <= before);
});
