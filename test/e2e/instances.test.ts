import { readdir } from 'node:fs/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isSnapbackError } from '@snapback/sdk';
import { freePort } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { backUp, caught, infoOf, populate, refusal, register, saveSlowly, storedFiles } from './scene.js';

const PASSWORD = 'canary-old-4f1b';

describe('instances', () => {
  let service: TestService;
  const servers: RedisServer[] = [];
  const start = async (options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> => {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  };

  beforeAll(async () => {
    service = await startService({ env: { DEFAULT_TIME_ZONE: 'Asia/Shanghai' } });
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), ...servers.map((server) => server.stop())]);
  });

  const sql = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> => {
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    try {
      return (await client.query(text, values)).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };

  it('show what the server says about itself', async () => {
    const server = await start({
      password: PASSWORD, config: { maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru', save: '900 1 300 10', appendonly: 'yes', rdbchecksum: 'no' },
    });
    const client = server.client();
    await client.mset('a', '1', 'b', '2', 'c', '3');
    await client.expire('a', 3_600);
    await client.select(3);
    await client.set('d', '4');

    const instance = await register(service, 'facts', server, { password: PASSWORD });
    const info = await infoOf(server);
    expect(instance).toMatchObject({
      name: 'facts', host: server.host, port: server.port, username: null, hasPassword: true, tls: null, acceptPartial: false, skipSyncDelay: false, removedAt: null, runningJob: null, latestBackup: null,
      server: {
        engine: server.engine, version: server.version, runId: info['run_id'], role: 'MASTER', mode: 'STANDALONE', maxMemoryBytes: '104857600', maxMemoryPolicy: 'allkeys-lru',
        keys: '4', databases: [{ database: 0, keys: '3', expiring: '1' }, { database: 3, keys: '1', expiring: '0' }],
        persistence: { appendOnly: true, saveRules: '900 1 300 10', rdbChecksum: false }, connectedReplicas: 0, slots: [],
      },
      capabilities: { backup: { possible: true, method: 'REPLICATION', reason: null }, restore: { possible: true, methods: ['REPLICATION_LINK', 'RESTORE_PIPELINE', 'LOGICAL_COMMANDS'], reason: null } },
      policy: { enabled: true, startTime: '02:00', windowMinutes: 60, timeZone: 'Asia/Shanghai', retentionDays: 7 },
    });
    expect(instance.policy.weekdays).toHaveLength(7);
    expect(instance.server.rights.length).toBeGreaterThan(5);
    expect(instance.server.rights.filter(({ allowed }) => allowed !== true)).toEqual([]);
    expect(Number(instance.server.usedMemoryBytes)).toBeGreaterThan(500_000);
    expect(Number(instance.server.usedMemoryBytes)).toBeLessThan(Number(info['used_memory']) * 2);
    expect(instance.server.probedAt).toBe(instance.createdAt);
    // What the server writes stands in the header of the file that it wrote.
    const backup = await backUp(service, instance.id);
    const header = Buffer.from(await new Response(await service.sdk.backups.download(backup)).arrayBuffer()).subarray(0, 9).toString('latin1');
    expect(header).toMatch(new RegExp(`^(REDIS|VALKEY)0*${instance.server.rdbVersion}$`));
    expect(await service.sdk.instances.get(instance)).toMatchObject({ latestBackup: { id: backup.id }, server: { runId: info['run_id'] } });
  });

  it('change only in what is given, after the new address or credential has proved itself', async () => {
    const { sdk } = service;
    const server = await start({ password: PASSWORD, acl: ['backup on >canary-acl-9c2d ~* +@all'] });
    const { id: instanceId } = await register(service, 'changing', server, { password: PASSWORD });
    const sealed = async (): Promise<unknown> => (await sql('SELECT secrets FROM instances WHERE id = $1', [instanceId]))[0]?.['secrets'];
    const before = await sdk.instances.get(instanceId);
    const sealedBefore = await sealed();

    for (const [change, code] of [
      [{ password: 'canary-wrong-1a2b' }, 'AUTH_FAILED'], [{ username: 'nobody' }, 'AUTH_FAILED'], [{ password: null }, 'AUTH_FAILED'],
      [{ port: await freePort() }, 'CONNECT_FAILED'], [{ name: 'other', host: '127.0.0.2' }, 'CONNECT_FAILED'], [{ name: '', port: server.port }, 'BAD_INPUT'],
    ] as const) {
      expect(await refusal(sdk.instances.update({ instanceId, ...change })), JSON.stringify(change)).toMatchObject({ code });
    }
    expect(await sdk.instances.get(instanceId)).toEqual(before);
    expect(await sealed()).toEqual(sealedBefore);

    const asUser = await sdk.instances.update({ instanceId, username: 'backup', password: 'canary-acl-9c2d' });
    expect(asUser).toMatchObject({ name: 'changing', host: server.host, port: server.port, username: 'backup', hasPassword: true });
    expect(await sealed()).not.toEqual(sealedBefore);
    expect(await backUp(service, instanceId)).toMatchObject({ state: 'AVAILABLE' });

    // A user name without a password is none; both go together.
    expect(await refusal(sdk.instances.update({ instanceId, password: null }))).toEqual({ code: 'BAD_INPUT', field: ['password'] });
    await server.cli('CONFIG', 'SET', 'requirepass', '');
    const open = await sdk.instances.update({ instanceId, username: null, password: null });
    expect(open).toMatchObject({ username: null, hasPassword: false });
    expect(await sealed()).toBeNull();
    expect(await backUp(service, instanceId)).toMatchObject({ state: 'AVAILABLE' });

    // A new name needs no server.
    const known = await sdk.instances.get(instanceId);
    await server.kill();
    const renamed = await sdk.instances.update({ instanceId, name: 'renamed' });
    expect(renamed).toMatchObject({ name: 'renamed', port: server.port, server: known?.server });
    expect(new Date(renamed.updatedAt).getTime()).toBeGreaterThan(new Date(open.updatedAt).getTime());
    expect(await refusal(sdk.instances.probe(instanceId))).toMatchObject({ code: 'CONNECT_FAILED' });
    // But for what goes on by itself.
    expect(await sdk.instances.get(instanceId)).toEqual({ ...renamed, recovery: { ...renamed.recovery, ageSeconds: expect.any(Number) as number } });
  });

  it('move to another server', async () => {
    const { sdk } = service;
    const [from, to] = await Promise.all([start(), start()]);
    await to.cli('SET', 'there', '1');
    const { id } = await register(service, 'moving', from);
    const moved = await sdk.instances.update({ instanceId: id, host: 'localhost', port: to.port });
    expect(moved).toMatchObject({ id, name: 'moving', host: 'localhost', port: to.port, server: { runId: (await infoOf(to))['run_id'], keys: '1' } });
    expect(await backUp(service, id)).toMatchObject({ keys: '1' });
    // Its old server is free for another.
    await register(service, 'moved in', from);
  });

  it('keep changes that meet a change of somebody else, field by field', async () => {
    const { sdk } = service;
    const server = await start();
    const { id } = await register(service, 'busy office', server);
    await Promise.all([
      sdk.instances.update({ instanceId: id, host: 'localhost' }),
      sdk.instances.update({ instanceId: id, name: 'busier office' }),
      ...Array.from({ length: 4 }, () => sdk.instances.probe(id).catch((error: unknown) => {
        // A probe of what is no longer so is not written down.
        if (!isSnapbackError(error) || error.code !== 'CONFLICT') throw error;
      })),
    ]);
    expect(await sdk.instances.get(id)).toMatchObject({ host: 'localhost', name: 'busier office' });
  });

  it('are found again after their server has been restarted', async () => {
    const { sdk } = service;
    const server = await start();
    const instance = await register(service, 'restarting', server);
    await server.restart();
    const runId = (await infoOf(server))['run_id'];
    expect(runId).not.toBe(instance.server.runId);
    // By its address, although it is another process now; and nothing had to be probed for a backup.
    expect(await caught(register(service, 'again', server))).toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(instance.id) as string });
    expect(await backUp(service, instance.id)).toMatchObject({ state: 'AVAILABLE' });
    expect(await sdk.instances.get(instance)).toMatchObject({ server: { runId } });
    await server.restart();
    await server.cli('SET', 'new', '1');
    const probed = await sdk.instances.probe(instance);
    expect(probed).toMatchObject({ id: instance.id, updatedAt: instance.updatedAt, server: { runId: (await infoOf(server))['run_id'], keys: '1' } });
  });

  it('are one per server and name, however the address is written', async () => {
    const { sdk } = service;
    const [server, other] = await Promise.all([start(), start()]);
    const instance = await register(service, 'only one', server);
    for (const host of ['localhost', 'LOCALHOST', '127.1', '::ffff:127.0.0.1']) {
      expect(await caught(register(service, 'twice', { host, port: server.port })), host).toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(instance.id) as string });
    }
    const results = await Promise.allSettled(['a', 'b', 'c'].map((name) => register(service, name, other)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'CONFLICT' });
    // Another name of one's own is no conflict with oneself.
    expect(await sdk.instances.update({ instanceId: instance.id, name: 'only one', host: 'localhost' })).toMatchObject({ host: 'localhost' });
  });

  it('have names of any script, shown as given', async () => {
    const { sdk } = service;
    const { id: instanceId } = await register(service, '注文データベース', await start());
    for (const name of ['база заказов', 'قاعدة', '👩‍🚀 Köln ½', ' kept ', '../..', '%00', 'ｆｕｌｌ', 'x'.repeat(128), '🗄'.repeat(128)]) {
      expect(await sdk.instances.update({ instanceId, name })).toMatchObject({ name });
      expect((await sdk.instances.list({ nameContains: name }).toArray({ limit: 10 })).map(({ id }) => id)).toEqual([instanceId]);
    }
  });

  it('refuse hosts that hold more than a host, and certificates that are none', async () => {
    const { port } = await start();
    for (const host of [
      'redis://127.0.0.1', 'user:canary-5e6f@127.0.0.1', '127.0.0.1:6379', '[::1]', '127.0.0.1/0', 'a..b', '.a', '-a', 'a\\b', '127.0.0.1?x', 'ö:1', 'ö/x', '%31', 'a,b', '*', 'x'.repeat(64),
    ]) {
      const refused = await caught(register(service, 'no host', { host, port }));
      expect(refused, host).toMatchObject({ code: 'BAD_INPUT', userErrors: [{ field: ['host'] }] });
      expect(refused.message).not.toContain('canary');
    }
    const pem = (what: string): string => `-----BEGIN ${what}-----\nY2FuYXJ5\n-----END ${what}-----\n`;
    for (const [tls, field] of [
      [{ ca: 'canary' }, 'ca'], [{ ca: pem('CERTIFICATE') }, 'ca'], [{ cert: pem('CERTIFICATE') }, 'key'], [{ key: pem('PRIVATE KEY') }, 'cert'],
      [{ cert: pem('CERTIFICATE'), key: pem('PRIVATE KEY') }, 'cert'], [{ serverName: 'a b' }, 'serverName'], [{ serverName: 'a:1' }, 'serverName'],
    ] as const) {
      expect(await refusal(register(service, 'no tls', { host: '127.0.0.1', port }, { tls })), JSON.stringify(tls).slice(0, 40)).toEqual({ code: 'BAD_INPUT', field: ['tls', field] });
    }
  });

  it('leave their backups behind, and free their name, when they are removed', async () => {
    const { sdk } = service;
    const server = await start({ password: PASSWORD });
    await server.cli('SET', 'kept', 'value');
    const instance = await register(service, 'leaving', server, { password: PASSWORD });
    const backup = await backUp(service, instance.id);
    expect(backup.retainedBecause).toBe('NEWEST_GOOD');

    const removed = await sdk.instances.remove(instance);
    expect(removed).toMatchObject({ id: instance.id, name: 'leaving', hasPassword: false, removedAt: expect.any(String) as string, policy: { nextRunAt: null } });
    expect(await sdk.instances.get(instance)).toEqual(removed);
    expect((await sdk.instances.list().toArray({ limit: 100 })).map(({ id }) => id)).not.toContain(instance.id);
    expect(await sql('SELECT secrets FROM instances WHERE id = $1', [instance.id])).toEqual([{ secrets: null }]);

    expect(await sdk.backups.get(backup)).toMatchObject({ state: 'AVAILABLE', retainedBecause: null });
    expect((await sdk.backups.list({ instanceId: instance.id }).toArray({ limit: 10 })).map(({ id }) => id)).toEqual([backup.id]);
    expect((await new Response(await sdk.backups.download(backup)).arrayBuffer()).byteLength).toBe(Number(backup.sizeBytes));
    for (const work of [
      () => sdk.backups.create({ instanceId: instance.id, name: 'x' }), () => sdk.instances.probe(instance), () => sdk.instances.update({ instanceId: instance.id, name: 'y' }),
      () => sdk.instances.remove(instance), () => sdk.policies.set({ instanceId: instance.id, enabled: true }), () => sdk.restores.plan({ backupId: backup.id, instanceId: instance.id }),
    ]) expect(await refusal(work()), work.toString()).toEqual({ code: 'NOT_FOUND', field: ['instanceId'] });

    const successor = await register(service, 'leaving', server, { password: PASSWORD });
    expect(successor.id).not.toBe(instance.id);
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: successor.id });
    expect(plan.blockers).toEqual([]);
    await sdk.instances.remove(successor);
    // A plan for what is no longer protected is void.
    expect(await refusal(sdk.restores.run({ planId: plan.id, confirmation: 'leaving' }))).toEqual({ code: 'CONFIRMATION_REQUIRED', field: ['planId'] });
  });

  it('take their backups with them when that is wanted', async () => {
    const { sdk } = service;
    const instance = await register(service, 'leaving for good', await start());
    const backups = [await backUp(service, instance.id, 'one'), await backUp(service, instance.id, 'two')];
    await sdk.instances.remove({ instanceId: instance.id, deleteBackups: true });
    await waitFor(async () => (await sdk.jobs.list({ instanceIds: [instance.id], kinds: ['DELETE'], states: ['COMPLETED'] }).toArray({ limit: 10 })).length === 2, { message: 'both deletions' });
    for (const { id } of backups) expect(await sdk.backups.get(id)).toMatchObject({ state: 'DELETED' });
    expect(await sdk.backups.list({ instanceId: instance.id }).toArray({ limit: 10 })).toEqual([]);
    const stored = await storedFiles(service);
    for (const { id } of backups) expect(stored.filter((path) => path.includes(id))).toEqual([]);
    expect(await readdir(service.storeRoot)).not.toEqual([]);
  });

  it('are neither removed nor moved while work runs on them, but renamed and given a new credential', async () => {
    const { sdk } = service;
    const [server, other] = await Promise.all([start({ password: PASSWORD, acl: ['backup on >canary-acl-9c2d ~* +@all'] }), start()]);
    await populate(server, 2_000, 100);
    const { id: instanceId } = await register(service, 'at work', server, { password: PASSWORD });
    await saveSlowly(server, 10_000);
    const { job } = await sdk.backups.create({ instanceId, name: 'slow' });
    await waitFor(async () => (await sdk.jobs.get(job))?.phase === 'SNAPSHOTTING' || (await sdk.jobs.get(job))?.phase === 'TRANSFERRING', { message: 'the backup to run' });
    for (const work of [() => sdk.instances.remove(instanceId), () => sdk.instances.update({ instanceId, port: other.port, password: null })]) {
      expect(await caught(work())).toMatchObject({ code: 'INSTANCE_BUSY', message: expect.stringContaining(job.id) as string });
    }
    expect(await sdk.instances.update({ instanceId, name: 'still at work', username: 'backup', password: 'canary-acl-9c2d', host: 'localhost' })).toMatchObject({
      name: 'still at work', username: 'backup', host: 'localhost', port: server.port, runningJob: { id: job.id },
    });
    await sdk.jobs.cancel(job);
    await waitFor(async () => (await sdk.jobs.get(job))?.state === 'COMPLETED', { message: 'the cancelled backup to end' });
    expect(await sdk.instances.update({ instanceId, port: other.port, username: null, password: null })).toMatchObject({ port: other.port });
    await sdk.instances.remove(instanceId);
  });

  it('are planned for once per idempotency key, also when the target is down by the time of the repeat', async () => {
    const { sdk } = service;
    const server = await start();
    const { id: instanceId } = await register(service, 'planned for', server);
    const input = { backupId: (await backUp(service, instanceId)).id, instanceId, safetyBackup: false };
    const plan = await sdk.restores.plan(input, { idempotencyKey: 'plan once' });
    await server.kill();
    expect(await sdk.restores.plan(input, { idempotencyKey: 'plan once' })).toEqual(plan);
    expect(await refusal(sdk.restores.plan({ ...input, safetyBackup: true }, { idempotencyKey: 'plan once' }))).toEqual({ code: 'IDEMPOTENCY_CONFLICT', field: ['idempotencyKey'] });
    expect(await refusal(sdk.restores.plan(input, { idempotencyKey: 'plan twice' }))).toMatchObject({ code: 'CONNECT_FAILED' });
  });

  it('never show a password, neither in answers nor in the log', async () => {
    const everything = JSON.stringify([await service.sdk.instances.list().toArray({ limit: 100 }), await service.sdk.jobs.list().toArray({ limit: 100 })]) + service.logs();
    expect(everything).not.toContain('canary');
  });
});
