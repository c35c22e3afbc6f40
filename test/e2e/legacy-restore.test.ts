import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type BackupFragment, type InstanceFragment } from '../../sdk/src/generated/operations.js';
import { RdbBuilder } from '../kit/rdb-builder.js';
import { legacyDataset, LEGACY_COUNTS, EXPIRES_AT_MS } from '../kit/legacy/dataset.js';
import { backUp, perDatabase, register, restoreInto } from '../kit/legacy/journey.js';
import { digestOfRdb, startLegacyServer, type LegacyServer, type LegacyServerOptions, type LegacyVersion } from '../kit/legacy/server.js';
import { keyCounts } from '../kit/digest.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';

const oldData = (version: 6 | 8): Buffer => {
  const rdb = new RdbBuilder(version).select(0);
  for (let i = 0; i < 5; i += 1) rdb.string(`old:${String(i)}`, 'of the target');
  return rdb.select(7).string('elsewhere', 'too').build();
};
const OLD_COUNTS = { 0: 5, 7: 1 };

/** A peer that is not the target: asks the restore listener for the data and tells what it got. */
const stranger = (host: string, port: number, say: readonly string[]): Promise<Buffer> => new Promise((done) => {
  const got: Buffer[] = [];
  const socket = connect(port, host, () => socket.write(say.map((line) => `${line}\r\n`).join('')));
  socket.on('data', (chunk: Buffer) => got.push(chunk)).on('error', () => undefined).once('close', () => { done(Buffer.concat(got)); });
});

describe('restoring into and from servers of versions that only scripts can play', () => {
  let service: TestService;
  let real: RedisServer;
  const servers: LegacyServer[] = [];
  const start = async (options: LegacyServerOptions): Promise<LegacyServer> => {
    const server = await startLegacyServer(options);
    servers.push(server);
    return server;
  };

  /** One backup of each, which the tests share. */
  const sources: Partial<Record<LegacyVersion | 'real', { backup: BackupFragment; server?: LegacyServer }>> = {};
  let realInstance: InstanceFragment;
  const backupOf = (name: LegacyVersion | 'real'): BackupFragment => sources[name]!.backup;
  const RDB = { '2.8.24': 6, '4.0.14': 8 } as const;

  beforeAll(async () => {
    [service, real] = await Promise.all([startService(), startRedis()]);
    await real.cli('SET', 'key', 'value');
    realInstance = await register(service.sdk, real);
    await Promise.all([
      backUp(service.sdk, realInstance).then((backup) => { sources.real = { backup }; }),
      ...(['2.8.24', '4.0.14'] as const).map(async (version) => {
        const server = await startLegacyServer({ version, rdb: legacyDataset(RDB[version]) });
        sources[version] = { server, backup: await backUp(service.sdk, await register(service.sdk, server)) };
      }),
    ]);
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), real?.stop(), ...Object.values(sources).map(({ server }) => server?.stop())]);
  });

  it.each([
    { from: '2.8.24', into: '2.8.24', holds: 'nothing' },
    { from: '2.8.24', into: '2.8.24', holds: 'data' },
    { from: '4.0.14', into: '4.0.14', holds: 'nothing' },
    { from: '4.0.14', into: '4.0.14', holds: 'data' },
    { from: '2.8.24', into: '4.0.14', holds: 'data' },
  ] as const)('restores a backup of Redis $from into a $into that holds $holds', async ({ from, into, holds }) => {
    const { sdk } = service;
    const target = await start({ version: into, busy: false, ...(holds === 'data' ? { rdb: oldData(RDB[into]) } : {}) });
    const before = target.digestLike();
    const backup = backupOf(from);
    const instance = await register(sdk, target);

    const { plan, restore, events } = await restoreInto(sdk, backup, instance);
    expect(plan).toMatchObject({ blockers: [], compatibility: { loads: true }, method: 'REPLICATION_LINK', targetVersion: into, targetRunId: target.runId });
    expect(events.at(-1)?.job).toMatchObject({ conclusion: 'SUCCEEDED', failure: null });
    expect(restore).toMatchObject({
      dataNow: 'NEW', unsavedWriteBytes: '0', safetyBackup: { state: 'AVAILABLE' }, report: { promoted: true, bytesSent: backup.sizeBytes, notices: [] },
    });
    expect(perDatabase(restore.report?.keysBefore ?? null)).toEqual(holds === 'data' ? OLD_COUNTS : {});
    expect(perDatabase(restore.report?.keysAfter ?? null)).toEqual(LEGACY_COUNTS);
    expect([target.digestLike(), target.role()]).toEqual([digestOfRdb(legacyDataset(RDB[from])), 'master']);
    expect(target.slaveofs()).toEqual([expect.stringMatching(/^SLAVEOF 127\.0\.0\.1 \d+$/), 'SLAVEOF NO ONE']);
    expect(target.commands.map(([name, what]) => `${name ?? ''} ${what ?? ''}`)).not.toEqual(expect.arrayContaining(['CONFIG REWRITE']));
    // A pause of these versions would hold back the replication link too.
    expect(plan.pauseWrites).toBe(true);
    expect(target.commands.filter(([name, what]) => name === 'CLIENT' && what?.toUpperCase() === 'PAUSE')).toEqual([]);

    // The undo: what the target held is in the safety copy, to the last key.
    if (from !== into || holds === 'nothing') return;
    const undone = await restoreInto(sdk, { id: restore.safetyBackup?.id ?? '' }, instance);
    expect(undone.restore).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
    expect(target.digestLike()).toBe(before);
  });

  it.each(['2.8.24', '4.0.14'] as const)('restores a backup of Redis %s into a real, newer server, every old encoding readable', async (version) => {
    await real.cli('SET', 'old', 'data');
    const { plan, restore } = await restoreInto(service.sdk, backupOf(version), realInstance);
    expect(plan.blockers).toEqual([]);
    expect(restore).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
    expect(await keyCounts(real)).toEqual(LEGACY_COUNTS);
    const client = real.client();
    expect(await client.mget('plain', 'integer', 'compressed', 'old')).toEqual(['value', '12345', 'a'.repeat(3_000), null]);
    expect(await client.getBuffer(Buffer.from([0, 13, 10, 255]))).toEqual(Buffer.from([10, 0, 13, 254]));
    expect(Number(await client.call('PEXPIRETIME', 'expiring'))).toBe(EXPIRES_AT_MS);
    expect(await client.lrange('list', 0, -1)).toEqual(['one', 'two', 'three']);
    expect([(await client.smembers('set-small')).sort(), (await client.smembers('set')).sort()]).toEqual([['-2', '1', '300'], ['a', 'b', 'c']]);
    expect(await client.zrange('zset-small', 0, -1, 'WITHSCORES')).toEqual(['low', '1', 'high', '2.5']);
    expect(await client.zrange('zset', 0, -1, 'WITHSCORES')).toEqual(['first', '0.5', 'second', '7']);
    expect(await client.hgetall('hash-small')).toEqual({ field: 'value', other: '5' });
    await client.select(3);
    expect([await client.hget('hash', 'big'), await client.get('number')]).toEqual(['x'.repeat(300), '-7']);
  });

  it.each([
    { from: 'real', into: '2.8.24' }, { from: 'real', into: '4.0.14' }, { from: '4.0.14', into: '2.8.24' },
  ] as const)('refuses a backup of a newer server ($from) for Redis $into before anything there is touched', async ({ from, into }) => {
    const { sdk } = service;
    const target = await start({ version: into, rdb: oldData(RDB[into]) });
    const before = target.digestLike();
    const instance = await register(sdk, target);
    const plan = await sdk.restores.plan({ backupId: backupOf(from).id, instanceId: instance.id, method: 'REPLICATION_LINK' });
    expect(plan).toMatchObject({ method: null, compatibility: { loads: false, reason: expect.any(String) }, blockers: [{ name: 'CANNOT_LOAD', code: 'VERSION_TOO_OLD' }] });
    await expect(sdk.restores.run({ planId: plan.id, confirmation: instance.name, acceptedWarnings: [] })).rejects.toMatchObject({ code: 'TARGET_BLOCKED' });
    expect(target.slaveofs()).toEqual([]);
    expect(target.commands.filter(([name]) => name === 'PSYNC')).toEqual([]);
    expect([target.digestLike(), target.role(), target.setting('masterauth')]).toEqual([before, 'master', '']);
  });

  it('proves a 2.8 by a masterauth of one use, and gives a peer without it nothing', async () => {
    const { sdk } = service;
    const asked: Promise<Buffer>[] = [];
    const target = await start({
      version: '2.8.24', password: 'geheim', rdb: oldData(6), cronMs: 300,
      onCommand: ([name, host = '', port = '']) => {
        if (name === 'SLAVEOF' && /^\d+$/.test(port)) {
          asked.push(stranger(host, Number(port), ['PING', 'PSYNC ? -1']), stranger(host, Number(port), ['PING', 'AUTH geheim', 'REPLCONF listening-port 1', 'PSYNC ? -1']));
        }
      },
    });
    const { restore, events } = await restoreInto(sdk, backupOf('2.8.24'), await register(sdk, target, 'geheim'));
    expect(restore).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });

    expect((await Promise.all(asked)).map((got) => got.toString('latin1'))).toEqual(['+PONG\r\n', '+PONG\r\n+OK\r\n+OK\r\n']);
    expect(events.filter(({ notice }) => notice?.code === 'LINK_PEER_REFUSED')).toHaveLength(2);
    expect(restore.report?.notices.join(' ')).toContain('2 connections');

    const set = target.commands.filter(([name, what, setting]) => name === 'CONFIG' && what?.toUpperCase() === 'SET' && setting === 'masterauth');
    const secret = set[0]?.[3] ?? '';
    expect(set.map((command) => command[3])).toEqual([expect.stringMatching(/^.{20,}$/), '']);
    expect(target.setting('masterauth')).toBe('');
    // Taken away before the data is sent, long before the promotion.
    const order = target.commands.map((command) => command.join(' '));
    expect(order.indexOf('CONFIG SET masterauth ')).toBeLessThan(order.indexOf('SLAVEOF NO ONE'));
    expect(service.logs()).not.toContain(secret);
    expect(JSON.stringify([events, restore, await sdk.jobs.get(restore.job.id)])).not.toContain(secret);
  });

  it('demands the masterauth that a 2.8 already has, and never touches it', async () => {
    const { sdk } = service;
    const asked: Promise<Buffer>[] = [];
    const target = await start({
      version: '2.8.24', rdb: oldData(6), cronMs: 300, config: { masterauth: 'of-the-customer' },
      onCommand: ([name, host = '', port = '']) => {
        if (name === 'SLAVEOF' && /^\d+$/.test(port)) asked.push(stranger(host, Number(port), ['PING', 'AUTH guessed', 'PSYNC ? -1']));
      },
    });
    const { restore, events } = await restoreInto(sdk, backupOf('2.8.24'), await register(sdk, target));
    expect(restore).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
    expect((await Promise.all(asked)).map((got) => got.toString('latin1'))).toEqual(['+PONG\r\n+OK\r\n']);
    expect(target.commands.filter(([name, what]) => name === 'CONFIG' && what?.toUpperCase() !== 'GET')).toEqual([]);
    expect(target.setting('masterauth')).toBe('of-the-customer');
    expect(service.logs() + JSON.stringify([events, restore])).not.toContain('of-the-customer');
  });

  it.each(['2.8.24', '4.0.14'] as const)('reports what was written to a %s after its safety copy, since nothing holds its writers back', async (version) => {
    const { sdk } = service;
    let offsetBefore = -1;
    const target = await start({
      version, busy: false, rdb: oldData(RDB[version]),
      onCommand: ([name, , port], server) => {
        if (name === 'PSYNC') offsetBefore = server.offset();
        if (name === 'SLAVEOF' && /^\d+$/.test(port ?? '')) server.setKey('late', 'in neither copy');
      },
    });
    const { plan, restore } = await restoreInto(sdk, backupOf(version), await register(sdk, target));
    expect(plan.warnings.map(({ name }) => name)).toContain('WRITES_NOT_IN_SAFETY_BACKUP');
    const written = '*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$4\r\nlate\r\n$15\r\nin neither copy\r\n'.length;
    expect(offsetBefore).toBe(0);
    expect(restore).toMatchObject({ dataNow: 'NEW', unsavedWriteBytes: String(written) });
    expect(perDatabase(restore.report?.keysBefore ?? null)).toEqual({ ...OLD_COUNTS, 0: 6 });
    expect(target.value('late')).toBeNull();
  });

  it.each(['2.8.24', '4.0.14'] as const)('brings a %s back to what it held, with as many keys as it has now', async (version) => {
    const { sdk } = service;
    const server = await start({ version, busy: false, rdb: legacyDataset(RDB[version]) });
    const original = server.digestLike();
    const instance = await register(sdk, server);
    const backup = await backUp(sdk, instance);
    server.setKey('plain', 'overwritten by mistake');
    const { restore, events } = await restoreInto(sdk, backup, instance);
    expect(events.at(-1)?.job).toMatchObject({ conclusion: 'SUCCEEDED', failure: null });
    expect(restore).toMatchObject({ dataNow: 'NEW', report: { promoted: true, loadMs: expect.any(Number) } });
    expect([server.digestLike(), server.role()]).toEqual([original, 'master']);
  });

  it.each(['2.8.24', '4.0.14'] as const)('says what is left when a %s has emptied itself and then cannot load the file', async (version) => {
    const { sdk } = service;
    const target = await start({ version, busy: false, rdb: oldData(RDB[version]), loadsUpTo: RDB[version] - 1 });
    const { restore, events } = await restoreInto(sdk, backupOf(version), await register(sdk, target));
    expect(events.at(-1)?.job).toMatchObject({ conclusion: 'FAILED', failure: { code: 'CONNECT_FAILED', hint: expect.any(String) } });
    expect(restore).toMatchObject({ dataNow: 'UNKNOWN', safetyBackup: { state: 'AVAILABLE' }, report: { promoted: true, keysAfter: [] } });
    expect([target.keys(), target.role(), target.setting('masterauth')]).toEqual([{}, 'master', '']);
    expect(target.received()[0]?.equals(sources[version]!.server!.sent[0]!)).toBe(true);
  });
});
