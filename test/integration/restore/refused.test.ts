import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Endpoint } from '../../../server/engine/ports.js';
import { digest } from '../../kit/digest.js';
import { startRedis, startSentinel, type RedisServer, type RedisServerOptions } from '../../kit/redis.js';
import { eventually } from '../../kit/wait.js';
import { endpointOf, infoOf, inspect, restoreInto, sourceOf, takeRdb, type Rdb } from './harness.js';

/** The target's data, role and settings are what they were, and no replication was ever begun there. */
describe('a target that must not be restored into', () => {
  let rdb: Rdb;
  const servers: RedisServer[] = [];
  const start = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  };
  const fill = async (server: RedisServer): Promise<void> => {
    await server.cli('MSET', 'a', '1', 'b', '2', 'c', '3');
  };
  const expectRefused = async (target: RedisServer, blocker: string, code: string, what: Rdb = rdb, endpoint: Endpoint = endpointOf(target)): Promise<void> => {
    const found = await inspect(target, what, endpoint);
    expect(found.blockers.map(({ name }) => name)).toContain(blocker);
    expect(found.blockers.find(({ name }) => name === blocker)).toMatchObject({ code });
    const [before, role] = [await digest(target), (await infoOf(target))['role']];
    const { failure, records, report } = await restoreInto(target, sourceOf(what), { plan: { endpoint } });
    expect(report).toBeUndefined();
    expect(failure).toMatchObject({ name: 'RestoreFailure', report: { dataNow: 'OLD', promoted: true, bytesSent: 0n } });
    expect(String(failure?.details['blockers']).split(' ')).toContain(blocker);
    expect(records).toEqual([]);
    expect(await digest(target)).toBe(before);
    expect((await infoOf(target))['role']).toBe(role);
    if (role === 'master') expect(target.log()).not.toContain('Connecting to MASTER');
  };

  beforeAll(async () => {
    const source = await start();
    const client = source.client();
    for (let i = 0; i < 200; i += 1) await client.set(`k:${i}`, 'v'.repeat(50));
    rdb = await takeRdb(source);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('is a replica', async () => {
    const master = await start();
    await fill(master);
    const target = await start({ replicaOf: { host: master.host, port: master.port } });
    await eventually(async () => { expect((await infoOf(target))['master_link_status']).toBe('up'); });
    await expectRefused(target, 'TARGET_IS_REPLICA', 'TARGET_BLOCKED');
    expect((await inspect(master, rdb)).warnings.map(({ name }) => name)).toContain('REPLICAS_WILL_RESYNC');
  });

  it('runs in cluster mode', async () => {
    const target = await start({ cluster: true });
    await fill(target).catch(() => undefined);
    await expectRefused(target, 'CLUSTER_MODE', 'TARGET_BLOCKED');
  });

  it('is watched by a Sentinel', async () => {
    const target = await start();
    await fill(target);
    const sentinel = await startSentinel({ master: { host: target.host, port: target.port } });
    servers.push(sentinel);
    await eventually(async () => { expect(await target.cli('CLIENT', 'LIST')).toContain('name=sentinel-'); });
    await expectRefused(target, 'SENTINEL_IN_CHARGE', 'TARGET_BLOCKED');
  });

  it('is watched by a Sentinel, though CLIENT LIST may not be read', async () => {
    const target = await start({ acl: ['restorer on >pw ~* &* +@all -client|list'] });
    const sentinel = await startSentinel({ master: { host: target.host, port: target.port } });
    servers.push(sentinel);
    await eventually(async () => { expect(await target.cli('PUBSUB', 'NUMSUB', '__sentinel__:hello')).toContain('1'); });
    await expectRefused(target, 'SENTINEL_IN_CHARGE', 'TARGET_BLOCKED', rdb, { ...endpointOf(target), username: 'restorer', password: 'pw' });
  });

  it('has too little memory', async () => {
    const target = await start();
    await fill(target);
    await target.cli('CONFIG', 'SET', 'maxmemory', String(Number((await infoOf(target))['used_memory']) + 1_000));
    const grown: Rdb = { ...rdb, facts: { ...rdb.facts, summary: { ...rdb.facts.summary, aux: { ...rdb.facts.summary.aux, 'used-mem': '50000000' } } } };
    await expectRefused(target, 'INSUFFICIENT_MEMORY', 'INSUFFICIENT_MEMORY', grown);
  });

  it('has too little memory for old and new data, which swapdb keeps side by side', async () => {
    const target = await start({ config: { 'repl-diskless-load': 'swapdb' } });
    await fill(target);
    const used = Number((await infoOf(target))['used_memory']);
    await target.cli('CONFIG', 'SET', 'maxmemory', String(Math.round(used * 1.8)));
    const alike: Rdb = { ...rdb, facts: { ...rdb.facts, summary: { ...rdb.facts.summary, aux: { ...rdb.facts.summary.aux, 'used-mem': String(used) } } } };
    await expectRefused(target, 'INSUFFICIENT_MEMORY', 'INSUFFICIENT_MEMORY', alike);
    await target.cli('CONFIG', 'SET', 'repl-diskless-load', 'disabled');
    expect((await inspect(target, alike)).blockers).toEqual([]);
  });

  it('takes writes while it is a replica', async () => {
    const target = await start({ config: { 'replica-read-only': 'no' } });
    await fill(target);
    await expectRefused(target, 'REPLICA_READ_ONLY_OFF', 'TARGET_BLOCKED');
  });

  it('has fewer databases than the backup', async () => {
    const target = await start({ config: { databases: '4' } });
    await fill(target);
    const deep = await start();
    await deep.cli('-n', '4', 'SET', 'x', '1');
    await expectRefused(target, 'TOO_FEW_DATABASES', 'TARGET_BLOCKED', await takeRdb(deep));
  });

  it('has fewer databases than the backup, though CONFIG may not be read', async () => {
    const target = await start({ config: { databases: '4' }, acl: ['restorer on >pw ~* &* +@all -config'] });
    const deep = await start();
    await deep.cli('-n', '4', 'SET', 'x', '1');
    await expectRefused(target, 'TOO_FEW_DATABASES', 'TARGET_BLOCKED', await takeRdb(deep), { ...endpointOf(target), username: 'restorer', password: 'pw' });
  });

  it('cannot load the version of the backup', async () => {
    const target = await start();
    await fill(target);
    const newer: Rdb = { ...rdb, facts: { ...rdb.facts, source: null, summary: { ...rdb.facts.summary, version: 12, aux: { 'redis-ver': '8.0.2' } } } };
    await expectRefused(target, 'CANNOT_LOAD', 'VERSION_TOO_OLD', newer);
  });

  it('cannot load a module of the backup', async () => {
    const target = await start();
    await fill(target);
    const modules: Rdb = { ...rdb, facts: { ...rdb.facts, summary: { ...rdb.facts.summary, modules: ['ReJSON-RL'] } } };
    await expectRefused(target, 'CANNOT_LOAD', 'UNSUPPORTED_FORMAT', modules);
  });

  it('does not let the user run REPLICAOF', async () => {
    const target = await start({ acl: ['restorer on >pw ~* &* +@all -replicaof -slaveof'] });
    await fill(target);
    await expectRefused(target, 'NO_RIGHT_TO_REPLICAOF', 'PERMISSION_MISSING', rdb, { ...endpointOf(target), username: 'restorer', password: 'pw' });
  });

  it('was restarted since the plan', async () => {
    const target = await start();
    await fill(target);
    const { failure, records } = await restoreInto(target, sourceOf(rdb), { plan: { runId: '0'.repeat(40) } });
    expect(failure).toMatchObject({ code: 'CONFIRMATION_REQUIRED', report: { dataNow: 'OLD', promoted: true } });
    expect(records).toEqual([]);
    expect(await target.cli('DBSIZE')).toBe('3');
  });

  it('keeps things from us: those warnings have to be accepted by name', async () => {
    const target = await start({ acl: ['restorer on >pw ~* &* +@all -config -client|list -client|pause'] });
    await fill(target);
    const endpoint = { ...endpointOf(target), username: 'restorer', password: 'pw' };
    const found = await inspect(target, rdb, endpoint);
    expect(found.blockers).toEqual([]);
    expect(found.warnings.filter(({ mustAccept }) => mustAccept).map(({ name }) => name)).toEqual(['UNCHECKED_SENTINEL', 'UNCHECKED_CONFIG']);

    const refused = await restoreInto(target, sourceOf(rdb), { plan: { endpoint, acceptedWarnings: ['UNCHECKED_CONFIG'] } });
    expect(refused.failure).toMatchObject({ code: 'CONFIRMATION_REQUIRED', details: { warnings: 'UNCHECKED_SENTINEL' } });
    expect(await target.cli('DBSIZE')).toBe('3');

    const done = await restoreInto(target, sourceOf(rdb), { plan: { endpoint, acceptedWarnings: ['UNCHECKED_CONFIG', 'UNCHECKED_SENTINEL'] } });
    expect(done.failure).toBeUndefined();
    expect(await target.cli('DBSIZE')).toBe('200');
  });

  it('stays untouched when its safety copy fails, and its writers are let go at once', async () => {
    const target = await start();
    await fill(target);
    const { failure, records } = await restoreInto(target, sourceOf(rdb), { deps: { safetyBackup: () => Promise.reject(new Error('no room')) } });
    expect(failure).toMatchObject({ code: 'INTERNAL', report: { dataNow: 'OLD', promoted: true } });
    expect(records).toEqual([]);
    const began = performance.now();
    expect(await target.cli('SET', 'd', '4')).toBe('OK');
    // They are held for thirty at a time.
    expect(performance.now() - began).toBeLessThan(25_000);
  });

  it('stays untouched when the archive cannot be read', async () => {
    const target = await start();
    await fill(target);
    const { failure, records } = await restoreInto(target, sourceOf(rdb, { before: { byte: 0, act: () => { throw new Error('gone'); } } }));
    expect(failure).toMatchObject({ report: { dataNow: 'OLD', promoted: true } });
    expect(records).toEqual([]);
    expect(target.log()).not.toContain('Connecting to MASTER');
  });

  it('is told what a restore will do', async () => {
    const target = await start({ config: { 'replica-serve-stale-data': 'no', 'min-replicas-to-write': '0' } });
    await fill(target);
    const found = await inspect(target, rdb);
    expect(found.blockers).toEqual([]);
    expect(found.warnings.map(({ name, mustAccept }) => [name, mustAccept])).toEqual([
      ['UNREADABLE_WHILE_LOADING', false], ['SERVE_STALE_DATA_OFF', false], ['DUMP_RDB_LEFT', false], ['WRITES_NOT_IN_SAFETY_BACKUP', false],
    ]);
    expect(found).toMatchObject({ compatibility: { loads: true, reason: null }, keysAfter: [{ database: 0, keys: 200n }], facts: { keysNow: [{ database: 0, keys: 3n }], role: 'MASTER', mode: 'STANDALONE' } });
    expect((await infoOf(target))['role']).toBe('master');
  });
});
