import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { capabilities, engineGate } from '../../../server/domain/capability.js';
import { type ProbedRight, type ProbeReport, rightTo } from '../../../server/domain/server-report.js';
import { type Endpoint } from '../../../server/engine/ports.js';
import { probe } from '../../../server/engine/probe/probe.js';
import { bulk, type FakeServer, type FakeServerOptions, startFakeServer } from '../../kit/fake-server.js';
import { freePort } from '../../kit/processes.js';
import { type RedisServer, type RedisServerOptions, startRedis, startSentinel } from '../../kit/redis.js';
import { readPem } from '../../kit/redis-tls.js';
import { eventually, waitFor } from '../../kit/wait.js';
import { dial, quiet } from '../source/kit.js';

const servers: { stop(): Promise<void> }[] = [];
const listeners: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  for (const listener of listeners.splice(0)) listener.close();
});

const start = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
  const server = await startRedis(options);
  servers.push(server);
  return server;
};
const fake = async (options: FakeServerOptions): Promise<FakeServer> => {
  const server = await startFakeServer(options);
  servers.push(server);
  return server;
};
const look = (endpoint: Endpoint, timeoutMs?: number): Promise<ProbeReport> => probe(endpoint, { dial, log: quiet }, { timeoutMs });
const at = ({ host, port }: { host: string; port: number }, rest: Partial<Endpoint> = {}): Endpoint => ({ host, port, ...rest });
const whole = { acceptPartial: false };
const open = engineGate([]);

describe('what a probe finds', () => {
  test('of a server with data', async () => {
    const server = await start({ config: { maxmemory: '200mb', 'maxmemory-policy': 'allkeys-lru', save: '3600 1', rdbchecksum: 'no', appendonly: 'yes' } });
    const client = server.client();
    await client.mset('a', '1', 'b', '2');
    await client.set('c', '3', 'EX', 1_000);
    await client.select(7);
    await client.set('d', '4');
    const report = await look(at(server));
    expect(report).toMatchObject({
      engine: server.engine, version: server.version, role: 'MASTER', mode: 'STANDALONE', maxMemoryBytes: 200n * 1024n * 1024n, maxMemoryPolicy: 'allkeys-lru',
      keys: 4n, databases: [{ database: 0, keys: 3n, expiring: 1n }, { database: 7, keys: 1n, expiring: 0n }],
      persistence: { appendOnly: true, saveRules: '3600 1', rdbChecksum: false, lastSaveOk: true },
      rdbMagic: 'REDIS', connectedReplicas: 0, master: null, loading: false, sentinelWatched: false, slots: [],
    });
    expect(report.runId).toMatch(/^[0-9a-f]{40}$/);
    expect(report.replicationId).toMatch(/^[0-9a-f]{40}$/);
    expect(report.usedMemoryBytes).toBeGreaterThan(100_000n);
    expect(report.rights.every((right) => right.allowed === true)).toBe(true);
    expect(capabilities(report, open, whole)).toEqual({
      backup: { possible: true, method: 'REPLICATION', reason: null }, restore: { possible: true, methods: ['REPLICATION_LINK', 'RESTORE_PIPELINE', 'LOGICAL_COMMANDS'], reason: null },
    });
  });

  test('of a replica and its master', async () => {
    const master = await start();
    const replica = await start({ replicaOf: master });
    const seen = await eventually(async () => {
      const report = await look(at(replica));
      expect(report.master?.linkUp).toBe(true);
      return report;
    });
    expect(seen).toMatchObject({ role: 'REPLICA', master: { host: '127.0.0.1', port: master.port } });
    expect((await look(at(master))).connectedReplicas).toBe(1);
    expect(capabilities(seen, open, whole)).toMatchObject({ backup: { possible: true }, restore: { possible: false, methods: [] } });
    await master.kill();
    await waitFor(async () => (await look(at(replica))).master?.linkUp === false);
    expect(capabilities(await look(at(replica)), open, whole).backup).toMatchObject({ possible: false, method: null });
  });

  test('of a node of a cluster', async () => {
    const report = await look(at(await start({ cluster: { slots: [[0, 100], [16_383, 16_383]] } })));
    expect(report).toMatchObject({ mode: 'CLUSTER', slots: [{ start: 0, end: 100 }, { start: 16_383, end: 16_383 }] });
    expect(capabilities(report, open, whole)).toMatchObject({ backup: { possible: false, method: null }, restore: { possible: true, methods: ['RESTORE_PIPELINE', 'LOGICAL_COMMANDS'] } });
    expect(capabilities(report, open, { acceptPartial: true })).toMatchObject({ backup: { possible: true, method: 'REPLICATION' }, restore: { possible: true } });
  });

  test('of a Sentinel, and of a master that it watches', async () => {
    const master = await start();
    const sentinel = await startSentinel({ master });
    servers.push(sentinel);
    const watched = await eventually(async () => {
      const report = await look(at(master));
      expect(report.sentinelWatched).toBe(true);
      return report;
    });
    expect(capabilities(watched, open, whole)).toMatchObject({ backup: { possible: true, reason: expect.stringContaining('Sentinel') }, restore: { possible: true, methods: ['RESTORE_PIPELINE', 'LOGICAL_COMMANDS'] } });
    const report = await look(at(sentinel));
    expect(report.mode).toBe('SENTINEL');
    expect(capabilities(report, open, whole)).toMatchObject({ backup: { possible: false }, restore: { possible: false } });
  });

  test('over TLS', async () => {
    const server = await start({ tls: true });
    const ca = readPem(server.tls?.caFile ?? '');
    expect((await look(at(server, { tls: { ca } }))).version).toBe(server.version);
    await expect(look(at(server, { tls: { ca, serverName: 'elsewhere.example' } }))).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    expect((await look(at(server, { tls: { insecure: true } }))).version).toBe(server.version);
  });
});

describe('rights', () => {
  const rights = async (rules: string): Promise<Record<string, boolean | null>> => {
    const server = await start({ acl: [`someone on >pw ${rules}`] });
    const report = await look(at(server, { username: 'someone', password: 'pw' }));
    return Object.fromEntries(report.rights.map(({ command, allowed }) => [command, allowed]));
  };

  test('are unknown to a user that may not ask, and are not held against it', async () => {
    const server = await start({ acl: ['backup on >pw +ping +psync +replconf +info'] });
    const report = await look(at(server, { username: 'backup', password: 'pw' }));
    expect(report).toMatchObject({ sentinelWatched: null, persistence: { saveRules: null, rdbChecksum: null } });
    expect(rightTo(report, 'psync')).toBeNull();
    expect(rightTo(report, 'info')).toBe(true);
    expect(capabilities(report, open, whole).backup).toEqual({ possible: true, method: 'REPLICATION', reason: expect.stringContaining('PSYNC') });
  });

  test('are asked of the server where that is allowed', async () => {
    expect(await rights('~* +@all -psync -config|set -@dangerous +info +acl +config|get')).toMatchObject({ psync: false, 'config|get': true, 'config|set': false, info: true, replicaof: false, restore: false });
    const full = await rights('~* +@all -slaveof');
    expect(full).toMatchObject({ psync: true, replicaof: true, slaveof: false, restore: true, 'client|pause': true });
  });

  test('are worked out from the rules where a dry run is not allowed', async () => {
    const seen = await rights('~* +@all -@dangerous +info +acl -acl|dryrun +psync -client +client|list +config|get');
    expect(seen).toMatchObject({ ping: true, info: true, psync: true, replconf: false, replicaof: false, 'client|list': true, 'client|pause': false, 'config|get': true, 'config|set': false });
  });

  test('missing ones make a backup impossible, or leave a restore one way less', async () => {
    const server = await start({ acl: ['someone on >pw ~* +@all -psync -dump -replicaof -slaveof'] });
    const found = capabilities(await look(at(server, { username: 'someone', password: 'pw' })), open, whole);
    expect(found).toMatchObject({ backup: { possible: false, method: null, reason: expect.stringContaining('+psync') }, restore: { possible: true, methods: ['RESTORE_PIPELINE', 'LOGICAL_COMMANDS'], reason: expect.stringContaining('+replicaof') } });
  });

  test('before 6.0 there are none to lack, but commands may be missing', async () => {
    const server = await fake({
      version: '4.0.14',
      commands: { 'COMMAND info': (_, [, , ...names]) => `*${String(names.length)}\r\n${names.map((name) => (name === 'replicaof' ? '*-1\r\n' : `*1\r\n${bulk(name)}`)).join('')}` },
    });
    const report = await look(at(server));
    expect(report).toMatchObject({ engine: 'REDIS', version: '4.0.14', rdbVersion: 8 });
    const expected: Partial<Record<ProbedRight, boolean>> = { psync: true, slaveof: true, replicaof: false, 'config|set': true };
    expect(Object.fromEntries(Object.keys(expected).map((command) => [command, rightTo(report, command as ProbedRight)]))).toEqual(expected);
    expect(capabilities(report, open, whole).restore.possible).toBe(true);
  });
});

describe('servers that cannot be played by a package', () => {
  test('Valkey is told from Redis', async () => {
    const report = await look(at(await fake({ engine: 'VALKEY', version: '9.1.2' })));
    expect(report).toMatchObject({ engine: 'VALKEY', version: '9.1.2', rdbMagic: 'VALKEY', rdbVersion: 80 });
    expect(capabilities(report, engineGate(['valkey 9']), whole)).toMatchObject({ backup: { possible: false, reason: expect.stringContaining('Valkey 9.1.2') }, restore: { possible: false } });
  });

  test('Redis 2.8 without the fields that came later', async () => {
    const report = await look(at(await fake({ version: '2.8.24', info: { master_replid: undefined, maxmemory: undefined, maxmemory_policy: undefined, cluster_enabled: undefined }, commands: { CONFIG: (_, command) => `*2\r\n${bulk(command[2] ?? '')}${bulk(command[2] === 'maxmemory' ? '1000' : 'noeviction')}` } })));
    expect(report).toMatchObject({ version: '2.8.24', rdbVersion: 6, replicationId: null, maxMemoryBytes: 1_000n, maxMemoryPolicy: 'noeviction' });
  });

  test.each<[string, FakeServerOptions, string]>([
    ['Redis 2.6', { version: '2.6.17' }, 'ENGINE_UNSUPPORTED'],
    ['a lookalike', { info: { dragonfly_version: 'df-1.2' } }, 'ENGINE_UNSUPPORTED'],
    ['something that answers INFO with nothing', { commands: { INFO: bulk('') } }, 'PROTOCOL_ERROR'],
    ['something that answers INFO with a number', { commands: { INFO: ':1\r\n' } }, 'PROTOCOL_ERROR'],
    ['something that answers PING with a number', { commands: { PING: ':1\r\n' } }, 'PROTOCOL_ERROR'],
  ])('%s', async (_, options, code) => {
    await expect(look(at(await fake(options)))).rejects.toMatchObject({ code });
  });

  test('a server that loads is known, but cannot be backed up now', async () => {
    const report = await look(at(await fake({ info: { loading: 1 }, commands: { PING: '-LOADING Redis is loading the dataset in memory\r\n' } })));
    expect(capabilities(report, open, whole)).toMatchObject({ backup: { possible: false }, restore: { possible: false } });
  });
});

/** A limit that nothing runs into before a test has given up. */
const LONG_MS = 600_000;
/** Far below that, and far above what any code takes on a busy machine. */
const SOON_MS = 60_000;

describe('bad servers give their code, at once or within the time limit', () => {
  const timed = async (endpoint: Endpoint, timeoutMs?: number): Promise<{ error: { code?: string; message?: string; hint?: string }; ms: number }> => {
    const began = performance.now();
    const error = (await look(endpoint, timeoutMs).then(() => ({ code: 'none' }), (cause: unknown) => cause)) as { code?: string };
    return { error, ms: performance.now() - began };
  };
  const listen = async (listener: Server): Promise<Endpoint> => {
    listeners.push(listener);
    await new Promise<void>((done) => { listener.listen(0, '127.0.0.1', done); });
    return { host: '127.0.0.1', port: (listener.address() as AddressInfo).port };
  };

  test('one that is down', async () => {
    const { error, ms } = await timed({ host: '127.0.0.1', port: await freePort() }, LONG_MS);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', hint: expect.stringContaining('refused') });
    expect(ms).toBeLessThan(SOON_MS);
  });

  test('one that nobody knows', async () => {
    expect((await timed({ host: 'no-such-host.invalid', port: 6379 })).error).toMatchObject({ code: 'CONNECT_FAILED', message: expect.stringContaining('no-such-host.invalid:6379') });
  });

  test('one that accepts and stays silent', async () => {
    const endpoint = await listen(createServer((socket) => socket.on('error', () => undefined).resume()));
    const { error, ms } = await timed(endpoint);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED' });
    expect(ms).toBeLessThan(SOON_MS);
  });

  test('one that stays silent over TLS', async () => {
    const endpoint = await listen(createServer((socket) => socket.on('error', () => undefined).resume()));
    const { error, ms } = await timed({ ...endpoint, tls: {} }, 300);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED', hint: expect.stringContaining('TLS') });
    expect(ms).toBeLessThan(SOON_MS);
  });

  test('one that answers slowly, one command after the other', async () => {
    const server = await fake({ commands: { INFO: () => new Promise<undefined>(() => undefined) } });
    const { error, ms } = await timed(at(server), 400);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED' });
    expect(ms).toBeLessThan(SOON_MS);
    await waitFor(() => server.openConnections === 0);
  });

  test('one that sends an endless line', async () => {
    const server = await fake({ raw: (socket) => {
      const more = (): void => { if (socket.writable) socket.write(Buffer.alloc(65_536, 'x'), more); };
      socket.write('+', more);
    } });
    const { error, ms } = await timed(at(server), 1_000);
    expect(error).toMatchObject({ code: 'CONNECT_FAILED' });
    expect(ms).toBeLessThan(SOON_MS);
  });

  test('one that closes at once', async () => {
    expect((await timed(await listen(createServer((socket) => socket.destroy())))).error).toMatchObject({ code: 'CONNECT_FAILED' });
  });

  test('a web server, with and without a password for it', async () => {
    const endpoint = await listen(createHttpServer((_, response) => { response.end('hello'); }));
    expect((await timed(endpoint)).error).toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect((await timed({ ...endpoint, password: 'secret' })).error).toMatchObject({ code: 'PROTOCOL_ERROR' });
  });

  test.each<[string, RedisServerOptions, Partial<Endpoint>, string]>([
    ['a wrong password', { password: 'right' }, { password: 'wrong-secret' }, 'AUTH_FAILED'],
    ['a password where none is set', {}, { password: 'wrong-secret' }, 'AUTH_FAILED'],
    ['a password for the user "default" where none is set', {}, { username: 'default', password: 'wrong-secret' }, 'AUTH_FAILED'],
    ['a user that is not there', {}, { username: 'nobody', password: 'wrong-secret' }, 'AUTH_FAILED'],
    ['no password where one is set', { password: 'right' }, {}, 'AUTH_FAILED'],
    ['a user without the right to INFO', { acl: ['someone on >wrong-secret +ping'] }, { username: 'someone', password: 'wrong-secret' }, 'PERMISSION_MISSING'],
  ])('%s', async (_, options, credential, code) => {
    const { error, ms } = await timed(at(await start(options), credential), LONG_MS);
    expect(error).toMatchObject({ code });
    expect(ms).toBeLessThan(SOON_MS);
    expect(JSON.stringify([error, String(error), error.message, error.hint])).not.toContain('wrong-secret');
  });

  test('a cancelled probe ends with the reason and closes its connection', async () => {
    const server = await fake({ commands: { INFO: () => new Promise<undefined>(() => undefined) } });
    const cancel = new AbortController();
    const running = probe(at(server), { dial, log: quiet }, { signal: cancel.signal });
    await waitFor(() => server.commands.some(([name]) => name === 'INFO'));
    cancel.abort();
    await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await waitFor(() => server.openConnections === 0);
  });
});

test('a probe leaves nothing behind', async () => {
  const server = await start();
  await look(at(server));
  await waitFor(async () => (await server.cli('CLIENT', 'LIST')).split('\n').length === 1, { message: 'only the asking client to be connected' });
  expect(await server.cli('CONFIG', 'GET', 'save')).toBe('save\n');
});
