import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openArchive } from '../../../server/engine/archive/archive.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { scanRdb, type ScanOptions } from '../../../server/engine/source/scan/scan.js';
import { digest } from '../../kit/digest.js';
import { startFakeServer, type FakeServer } from '../../kit/fake-server.js';
import { fillBytes } from '../../kit/fill.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { startRedis, type RedisServer, type RedisServerOptions } from '../../kit/redis.js';
import { seedAllTypes } from '../../kit/seed.js';
import { waitFor } from '../../kit/wait.js';
import { RING } from '../../unit/archive/archive-kit.js';
import { BACKUP_ID, backUp, dial, makeShelf, type Shelf } from './kit.js';

const servers: { stop(): Promise<void> }[] = [];
const folders: string[] = [];
let shelf: Shelf;
beforeEach(async () => { shelf = await makeShelf(); });
afterEach(() => shelf.remove());
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  await Promise.all(folders.map((folder) => removeTempDir(folder)));
});

const start = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
  const server = await startRedis(options);
  servers.push(server);
  return server;
};

const sourceOf = async (server: RedisServer) => ({ host: server.host, port: server.port, runId: /run_id:(\w+)/.exec(await server.cli('INFO', 'server'))?.[1] ?? '' });

const serverFromArchive = async (): Promise<RedisServer> => {
  const dir = makeTempDir('scanned');
  folders.push(dir);
  const reader = await openArchive(shelf.store, BACKUP_ID, { keys: RING });
  await pipeline(Readable.from(reader.read()), createWriteStream(join(dir, 'dump.rdb'), { mode: 0o644 }));
  await reader.close();
  return start({ dir });
};

/** Everything of a scan, without an archive. */
const scan = async (server: { host: string; port: number }, options: Partial<ScanOptions> = {}, signal = new AbortController().signal) => {
  const reader = new RdbReader();
  let largest = 0;
  await scanRdb(
    { host: server.host, port: server.port }, { dial }, { engine: 'REDIS', version: '7.0.15', databases: [{ database: 0, keys: 1n }], keysPerSecond: 1e6, ...options }, signal,
    (piece) => {
      largest = Math.max(largest, piece.length);
      expect(reader.push(piece)).toBe(piece.length);
    },
  );
  return { summary: reader.finish(), largest };
};

describe('reading key by key', () => {
  test('gives what the server holds: all types, several databases, expiries to the millisecond; the archive says how it came', async () => {
    const server = await start();
    await seedAllTypes(server);
    const result = await backUp(await sourceOf(server), shelf, { plan: { method: 'SCAN', scanKeysPerSecond: 1e6 } });
    expect(result).toMatchObject({ method: 'SCAN', replication: null, phases: ['PREPARING', 'TRANSFERRING', 'VERIFYING', 'SEALING'] });
    expect(result.manifest.capture).toEqual({ method: 'SCAN', consistency: 'FUZZY' });
    expect(result.summary).toMatchObject({ integrity: 'STRUCTURE_AND_CHECKSUM' });
    expect(result.summary.expiring).toBeGreaterThan(0n);
    expect(await digest(await serverFromArchive())).toBe(await digest(server));
    // Nothing on the server was changed, and it has never seen a replica.
    expect(await server.cli('INFO', 'replication')).toContain('master_repl_offset:0');
  });

  test('takes over by itself where PSYNC is refused, and where SCAN is refused too, tells of the right to PSYNC', async () => {
    const server = await start({ acl: ['reader on >pw ~* +@all -psync', 'nobody on >pw ~* +@all -psync -scan'] });
    await server.client().mset('a', '1', 'b', '2');
    const notices: string[] = [];
    const source = await sourceOf(server);
    const result = await backUp({ ...source, username: 'reader', password: 'pw' }, shelf, {
      onProgress: (progress) => { if (progress.kind === 'notice') notices.push(progress.code); },
    });
    expect(result).toMatchObject({ method: 'SCAN', summary: { keys: 2n } });
    expect(notices).toEqual(['SCAN_FALLBACK']);
    const other = await makeShelf();
    try {
      await expect(backUp({ ...source, username: 'nobody', password: 'pw' }, other)).rejects.toMatchObject({ code: 'PERMISSION_MISSING', details: { command: 'psync' } });
      expect(other.files()).toEqual([]);
    } finally {
      await other.remove();
    }
  });

  test('a value larger than any buffer passes in pieces, and the server is made to wait', async () => {
    const server = await start({ config: { rdbcompression: 'no' } });
    await server.cli('DEBUG', 'SET-ACTIVE-EXPIRE', '1').catch(() => undefined);
    await server.client().setrange('huge', 64 * 1024 * 1024, 'end');
    await server.client().set('small', 'x');
    const { summary, largest } = await scan(server);
    expect(summary.keys).toBe(2n);
    expect(summary.bytes).toBeGreaterThan(64n * 1024n * 1024n);
    expect(largest).toBeLessThanOrEqual(256 * 1024);
  });

  test('under writes every key that stays is there once, however the table grows; expired and deleted ones are left out', async () => {
    const server = await start();
    const client = server.client();
    await fillBytes(server, { mib: 2 });
    const stay = Number(await client.dbsize());
    await client.set('short', 'lived', 'PX', 1);
    let writing = true;
    let result: Awaited<ReturnType<typeof backUp>>;
    const writes = (async () => {
      for (let i = 0; writing; i += 1) {
        const batch = client.pipeline();
        for (let j = 0; j < 200; j += 1) batch.set(`new:${String(i)}:${String(j)}`, 'x');
        batch.del(`new:${String(i - 3)}:0`);
        await batch.exec();
      }
    })();
    try {
      await waitFor(async () => (await client.dbsize()) > stay * 2);
      // The reader itself refuses nothing here; a server would end at a key that comes twice.
      result = await backUp(await sourceOf(server), shelf, { plan: { method: 'SCAN', scanKeysPerSecond: 1e6 } });
    } finally {
      writing = false;
      await writes;
    }
    const loaded = (await serverFromArchive()).client();
    expect(Number(await loaded.dbsize())).toBe(Number(result.summary.keys));
    for (const pattern of ['fill:*']) {
      let cursor = '0';
      let found = 0;
      do {
        const [next, keys] = await loaded.scan(cursor, 'MATCH', pattern, 'COUNT', 5_000);
        cursor = next;
        found += keys.length;
      } while (cursor !== '0');
      expect(found).toBe(stay);
    }
    expect(await loaded.exists('short')).toBe(0);
  });

  test('keeps to its rate', async () => {
    const server = await start();
    const batch = server.client().pipeline();
    for (let i = 0; i < 300; i += 1) batch.set(`k${String(i)}`, 'v');
    await batch.exec();
    const begun = performance.now();
    expect((await scan(server, { keysPerSecond: 1_000 })).summary.keys).toBe(300n);
    expect(performance.now() - begun).toBeGreaterThan(250);
  });

  test.each<[string, Record<string, string>, string]>([
    ['a checksum that is wrong', { DUMP: `$13\r\n\0\x01a\x0a\0${'\0'.repeat(8)}\r\n` }, 'CORRUPT'],
    ['a value that is too short to be one', { DUMP: '$3\r\nabc\r\n' }, 'PROTOCOL_ERROR'],
    ['a length that is none', { DUMP: '$-7\r\n' }, 'PROTOCOL_ERROR'],
    ['another kind of reply', { DUMP: ':1\r\n' }, 'PROTOCOL_ERROR'],
    ['a list longer than any', { SCAN: '*2\r\n$1\r\n0\r\n*999999999\r\n' }, 'PROTOCOL_ERROR'],
    ['a cursor without keys', { SCAN: '*1\r\n$1\r\n0\r\n' }, 'PROTOCOL_ERROR'],
    ['a refusal of SCAN', { SCAN: '-NOPERM this user has no permissions to run the \'scan\' command\r\n' }, 'PERMISSION_MISSING'],
    ['no such command', { SCAN: '-ERR unknown command \'SCAN\'\r\n' }, 'ENGINE_UNSUPPORTED'],
  ])('%s ends it with its code', async (_, commands, code) => {
    const fake: FakeServer = await startFakeServer({
      commands: {
        SELECT: '+OK\r\n', TIME: '*2\r\n$1\r\n1\r\n$1\r\n0\r\n', RANDOMKEY: '$-1\r\n', PEXPIRETIME: ':-1\r\n', DUMP: '$-1\r\n',
        SCAN: '*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n', ...commands,
      },
    });
    servers.push(fake);
    await expect(scan(fake)).rejects.toMatchObject({ code });
    await waitFor(() => fake.openConnections === 0);
  });

  test('stops at its signal, and when the server goes away', async () => {
    const server = await start();
    await fillBytes(server, { mib: 1 });
    const stop = new AbortController();
    const reason = new Error('enough');
    const running = scan(server, { keysPerSecond: 1 }, stop.signal);
    setTimeout(() => stop.abort(reason), 50);
    await expect(running).rejects.toThrow();
    const cut = scan(server, { keysPerSecond: 1 });
    setTimeout(() => void server.kill(), 50);
    await expect(cut).rejects.toMatchObject({ code: 'SOURCE_DISCONNECTED' });
  });
});
