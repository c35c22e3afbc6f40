import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type SourceLimits } from '../../../server/engine/source/limits.js';
import { type ReceivedRdb, type ReceiveOptions, receiveRdb, type Sink } from '../../../server/engine/source/replication.js';
import { type StoreHealth } from '../../../server/engine/store/store.js';
import { WrappedStore } from '../../../server/engine/store/wrapped.js';
import { type FakeServer, type FakeServerOptions, startFakeServer } from '../../kit/fake-server.js';
import { HOSTILE, LIMITS, WITHIN_MS } from '../../kit/hostile/cases.js';
import { fullResync, mark, type Psync, sendInPieces, silentAfter, soundRdb, withLength, withMark } from '../../kit/hostile/sources.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { waitFor } from '../../kit/wait.js';
import { BACKUP_ID, backUp, dial, makeShelf, quiet, type Shelf } from './kit.js';

let shelf: Shelf;
const fakes: FakeServer[] = [];
beforeEach(async () => { shelf = await makeShelf(); });
afterEach(async () => {
  await Promise.all(fakes.splice(0).map((fake) => fake.stop()));
  await shelf.remove();
});

const start = async (options: FakeServerOptions): Promise<FakeServer> => {
  const fake = await startFakeServer(options);
  fakes.push(fake);
  return fake;
};

/** The failure of a backup, which must leave neither an object nor a connection. */
const failure = async (psync: Psync, limits: Partial<SourceLimits> = {}): Promise<unknown> => {
  const fake = await start({ psync });
  const error: unknown = await backUp(fake, shelf, { plan: { limits: { ...LIMITS, ...limits } } }).then(() => 'it succeeded', (cause: unknown) => cause);
  expect(shelf.files()).toEqual([]);
  await waitFor(() => fake.openConnections === 0, { message: 'our connections to be closed' });
  return error;
};

const sound = soundRdb();

describe('a source that misbehaves gives its code inside its time limit, and leaves nothing', () => {
  test.each(HOSTILE)('$name: $code', async ({ psync, code, limits }) => {
    const before = process.memoryUsage().rss;
    const began = performance.now();
    expect(await failure(psync, limits)).toMatchObject({ name: 'DomainError', code });
    expect(performance.now() - began).toBeLessThan(WITHIN_MS);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });
});

describe('what is odd but right is taken', () => {
  test.each<[string, Psync, string]>([
    ['a mark split into single bytes', async (link, server) => {
      const own = mark();
      await link.send(`${fullResync(server)}$EOF:${own.toString()}\r\n`);
      await link.send(sound);
      await sendInPieces(link, own, 1);
    }, 'STRUCTURE_AND_CHECKSUM'],
    ['everything in pieces of 3 bytes', async (link, server) => {
      const own = mark();
      await sendInPieces(link, Buffer.concat([Buffer.from(`\n${fullResync(server)}\n$EOF:${own.toString()}\r\n`), sound, own]), 3);
    }, 'STRUCTURE_AND_CHECKSUM'],
    ['beginnings of the mark inside a value', (link, server) => {
      const own = mark();
      const rdb = new RdbBuilder(10).select(0).string('tricky', Buffer.concat([own.subarray(0, 39), Buffer.from('-'), own.subarray(0, 39)])).build();
      return withMark(rdb, { mark: own })(link, server);
    }, 'STRUCTURE_AND_CHECKSUM'],
    ['an RDB without keys', withMark(new RdbBuilder(10).build()), 'STRUCTURE_AND_CHECKSUM'],
    ['a checksum of zero', withMark(new RdbBuilder(10).select(0).string('a', 'b').build('ZERO')), 'STRUCTURE_ONLY'],
    ['a command stream behind a length', withLength(sound, { behind: '*1\r\n$4\r\nPING\r\n'.repeat(10_000) }), 'STRUCTURE_AND_CHECKSUM'],
    ['an unknown type with a right checksum', withLength(new RdbBuilder(10).select(0).raw([0x70], Buffer.from('whatever')).build()), 'CHECKSUM_ONLY'],
  ])('%s', async (_, psync, integrity) => {
    const fake = await start({ psync });
    const { summary, phases, manifest, replication } = await backUp(fake, shelf, { plan: { limits: LIMITS } });
    expect(summary.integrity).toBe(integrity);
    expect(phases).toEqual(['PREPARING', 'SNAPSHOTTING', 'TRANSFERRING', 'VERIFYING', 'SEALING']);
    expect([manifest.artifacts[0].replication?.id, replication?.offset]).toEqual([fake.replicationId, 42n]);
    await waitFor(() => fake.openConnections === 0, { message: 'our connections to be closed' });
  });

  test('a server that knows none of the options gets them one by one, and nothing between PSYNC and the payload', async () => {
    const fake = await start({ commands: { REPLCONF: '-ERR Unrecognized REPLCONF option\r\n' }, psync: withLength(sound, { behind: '*1\r\n$4\r\nPING\r\n' }) });
    await backUp(fake, shelf, { plan: { limits: LIMITS } });
    const sent = fake.commands.slice(fake.commands.findIndex(([name]) => name === 'REPLCONF'));
    expect(sent.map((command) => command.slice(0, 2).join(' '))).toEqual(['REPLCONF listening-port', 'REPLCONF ip-address', 'REPLCONF capa', 'REPLCONF rdb-only', 'PSYNC ?']);
    expect(sent[2]).toEqual(['REPLCONF', 'capa', 'eof', 'capa', 'psync2']);
  });

  test('Valkey is told its own version', async () => {
    const fake = await start({ engine: 'VALKEY', version: '9.1.2', psync: withMark(sound) });
    const source = { instanceId: 'ins_1', instanceName: 's', engine: 'VALKEY' as const, version: '9.1.2', runId: fake.runId, coverage: { kind: 'INSTANCE' as const } };
    await backUp(fake, shelf, { plan: { source } });
    expect(fake.commands).toContainEqual(['REPLCONF', 'version', '9.1.2']);
  });
});

describe('no Redis at all', () => {
  const http = createServer((_, response) => { response.end('hello'); });
  beforeAll(() => new Promise<void>((done) => { http.listen(0, '127.0.0.1', done); }));
  afterAll(() => new Promise((done) => { http.close(done); }));

  test('a web server is PROTOCOL_ERROR', async () => {
    const source = { host: '127.0.0.1', port: (http.address() as AddressInfo).port, runId: 'x' };
    await expect(backUp(source, shelf)).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect(shelf.files()).toEqual([]);
  });

  test('one that turns into a web server between probe and link is PROTOCOL_ERROR', async () => {
    const fake = await start({ commands: { 'REPLCONF listening-port': 'HTTP/1.1 400 Bad Request\r\n\r\nbody\r\n' } });
    await expect(backUp(fake, shelf, { plan: { limits: LIMITS } })).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
  });

  test('silence in the handshake is CONNECT_FAILED within its limit', async () => {
    const fake = await start({ commands: { 'REPLCONF capa': () => new Promise<undefined>(() => undefined) } });
    const began = performance.now();
    await expect(backUp(fake, shelf, { plan: { limits: { ...LIMITS, handshakeMs: 300 } } })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    expect(performance.now() - began).toBeLessThan(WITHIN_MS);
    expect(shelf.files()).toEqual([]);
  });

  test('too many clients is CONNECT_FAILED with a hint', async () => {
    const fake = await start({ raw: (socket) => { socket.end('-ERR max number of clients reached\r\n'); } });
    await expect(backUp(fake, shelf)).rejects.toMatchObject({ code: 'CONNECT_FAILED', hint: expect.stringContaining('maxclients') });
  });
});

test('another server than the one that is locked is CONFLICT before it is asked for anything', async () => {
  const fake = await start({ psync: withMark(sound) });
  await expect(backUp({ ...fake, host: fake.host, port: fake.port, runId: 'somebody else' }, shelf)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(fake.commands.map(([name]) => name)).not.toContain('PSYNC');
  expect(shelf.files()).toEqual([]);
});

test('a store with too little room is STORAGE_FULL before the server is asked for anything', async () => {
  const fake = await start({ psync: withMark(sound), info: { used_memory: 4_000_000 } });
  const withRoom = (freeBytes: bigint): Shelf => {
    class Tight extends WrappedStore {
      override async check(): Promise<StoreHealth> {
        return { ...(await super.check()), freeBytes };
      }
    }
    return { ...shelf, store: new Tight(shelf.store) };
  };
  await expect(backUp(fake, withRoom(999_999n))).rejects.toMatchObject({ code: 'STORAGE_FULL', message: expect.stringContaining('999999 bytes free') as string });
  expect(fake.commands.map(([name]) => name)).toEqual(['PING', 'INFO']);
  expect(shelf.files()).toEqual([]);
  expect(await backUp(fake, withRoom(1_000_000n))).toMatchObject({ method: 'REPLICATION' });
});

test('a cancelled backup ends at once and leaves nothing', async () => {
  const fake = await start({ psync: silentAfter(5_000) });
  const cancel = new AbortController();
  const running = backUp(fake, shelf, { signal: cancel.signal, onProgress: (progress) => { if (progress.kind === 'phase' && progress.phase === 'TRANSFERRING') cancel.abort(); } });
  await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(shelf.files()).toEqual([]);
  await waitFor(() => fake.openConnections === 0);
});

test('an attempt that died between data and manifest is in nobody\'s way', async () => {
  const left = await shelf.store.create(`backups/${BACKUP_ID}/rdb`);
  await left.write(Buffer.from('left behind'));
  await left.commit();
  const fake = await start({ psync: withMark(sound) });
  const { plainBytes, manifest } = await backUp(fake, shelf);
  expect(plainBytes).toBe(BigInt(sound.length));
  await expect(backUp(fake, shelf)).rejects.toMatchObject({ code: 'CONFLICT' });
  expect(manifest.artifacts[0].plainSize).toBe(plainBytes);
});

describe('a source that cannot be made to wait', () => {
  const big = soundRdb(24 * 1024 * 1024);

  /** Sends all at once and says when the last byte was taken from it. */
  const eager = (): { psync: Psync; taken: () => boolean; options: FakeServerOptions } => {
    let all = false;
    const psync: Psync = async (link, server) => {
      await link.send(`${fullResync(server)}$${String(big.length)}\r\n`);
      all = await link.send(big);
    };
    return { psync, taken: () => all, options: { commands: { 'REPLCONF rdb-only': '-ERR Unrecognized REPLCONF option: rdb-only\r\n' }, psync } };
  };
  const take = async (fake: FakeServer, options: Partial<ReceiveOptions>, sink: Sink): Promise<ReceivedRdb> =>
    receiveRdb({ host: fake.host, port: fake.port }, { dial, log: quiet }, { engine: 'REDIS', version: '5.0.14', limits: LIMITS_FOR_BIG, ...options }, new AbortController().signal, sink);
  const LIMITS_FOR_BIG = { idleMs: 300_000 };

  test('is read at full speed into a file while the sink is busy', async () => {
    const { taken, options } = eager();
    const fake = await start(options);
    const pieces: Buffer[] = [];
    const received = await take(fake, { spillDirectory: shelf.root }, async (piece) => {
      if (pieces.length === 0) await waitFor(taken, { message: 'the source to have sent everything' });
      pieces.push(Buffer.from(piece));
    });
    expect(received).toMatchObject({ rdbOnly: false, framing: 'LENGTH', bytes: BigInt(big.length) });
    expect(Buffer.concat(pieces).equals(big)).toBe(true);
    expect(shelf.files()).toEqual([]);
  });

  test('ends with SOURCE_BUFFER_LIMIT when there is no room for it', async () => {
    const { options } = eager();
    const fake = await start(options);
    const taking = take(fake, {}, async () => { await waitFor(() => fake.openConnections === 0, { message: 'the connection to be given up' }); });
    await expect(taking).rejects.toMatchObject({ code: 'SOURCE_BUFFER_LIMIT' });
  });

  test('fills no more of the disk than it may', async () => {
    const { options } = eager();
    const fake = await start(options);
    const taking = take(fake, { spillDirectory: shelf.root, spillBytes: 2 * 1024 * 1024 }, async () => { await waitFor(() => fake.openConnections === 0, { message: 'the connection to be given up' }); });
    await expect(taking).rejects.toMatchObject({ code: 'SOURCE_BUFFER_LIMIT' });
    expect(shelf.files()).toEqual([]);
  });
});
