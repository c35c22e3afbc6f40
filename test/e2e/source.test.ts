import { rmSync } from 'node:fs';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance, type Job, type JobEvent } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { startFakeServer } from '../kit/fake-server.js';
import { freePort } from '../kit/processes.js';
import { type RedisServer, startRedis } from '../kit/redis.js';
import { inStep, startReplica, syncsOf } from '../kit/replicas.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { backUp, caught, firstEvent, infoOf, populate, register, refusal, saveSlowly, startRestore } from './scene.js';

const PASSWORD = 'canary-of-the-pair';
const LIMITS = { SOURCE_FAILED_SYNCS: '2', SOURCE_SYNCS: '4', SOURCE_SYNC_MINUTES: '10' };

let service: TestService;
const stopping: (() => Promise<unknown>)[] = [];
const until = async <T extends { stop(): Promise<unknown> }>(starting: Promise<T>): Promise<T> => {
  const started = await starting;
  stopping.push(() => started.stop());
  return started;
};
afterEach(async () => {
  await Promise.all(stopping.splice(0).map((stop) => stop()));
});
afterAll(async () => {
  await service?.stop();
});

/** The server has been asked for its data. */
const isRead = ({ job }: JobEvent): boolean => job.phase === 'SNAPSHOTTING';

const noticesOf = async (backup: Backup): Promise<string[]> => (await service.sdk.jobs.get(backup.job?.id ?? ''))?.notices.map(({ code }) => code) ?? [];

describe('which server a backup is read from', () => {
  let master: RedisServer;
  let replica: RedisServer;
  let instance: Instance;
  const login = { password: PASSWORD };

  beforeAll(async () => {
    service = await startService();
    master = await startRedis({ password: PASSWORD });
    await master.cli('SET', 'key', 'value');
    replica = await startReplica(master);
    instance = await register(service, 'orders', master, login);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), master?.stop(), replica?.stop()]);
  });

  it('a replica that the server announces, unless it is told otherwise', async () => {
    expect(instance).toMatchObject({ sourcePreference: 'PREFER_REPLICA', replica: null, server: { role: 'MASTER', connectedReplicas: 1 } });
    await master.cli('SET', 'key', 'written just before');
    const asked = await syncsOf(master);
    const backup = await backUp(service, instance.id);
    expect(backup).toMatchObject({
      state: 'AVAILABLE', keys: '1', engineVersion: master.version,
      source: { host: '127.0.0.1', port: replica.port, role: 'REPLICA', runId: (await infoOf(replica))['run_id'], version: replica.version, behindBytes: expect.stringMatching(/^\d+$/) as string },
    });
    expect([await syncsOf(master) - asked, await syncsOf(replica)]).toEqual([0, 1]);
    expect(await noticesOf(backup)).toEqual(['REPLICA_SOURCE']);
    expect(await service.sdk.backups.get(backup)).toMatchObject({ source: { port: replica.port } });

    // What came from the replica is the master's: it goes back there. The safety copy is the target's own.
    await master.cli('SET', 'key', 'written since');
    const { restore } = await startRestore(service, backup.id, instance, { safetyBackup: true });
    const restored = await service.sdk.restores.wait(restore.id, { timeoutMs: 60_000 });
    expect(restored).toMatchObject({ dataNow: 'NEW' });
    expect(await master.cli('GET', 'key')).toBe('written just before');
    expect(await service.sdk.backups.get(restored.safetyBackup?.id ?? '')).toMatchObject({ state: 'AVAILABLE', source: { role: 'MASTER', port: master.port, behindBytes: null } });
    await inStep(replica, master);
    expect(await digest(replica)).toBe(await digest(master));
  });

  it('the master, when it is told to; a named replica, when one is named', async () => {
    const { sdk } = service;
    expect(await sdk.instances.update({ instanceId: instance.id, sourcePreference: 'MASTER' })).toMatchObject({ sourcePreference: 'MASTER', replica: null });
    const asked = await syncsOf(replica);
    const direct = await backUp(service, instance.id);
    expect(direct).toMatchObject({ source: { host: master.host, port: master.port, role: 'MASTER', behindBytes: null } });
    expect([await syncsOf(replica), await noticesOf(direct)]).toEqual([asked, []]);

    const named = { host: 'localhost', port: replica.port };
    const changed = await sdk.instances.update({ instanceId: instance.id, sourcePreference: 'PREFER_REPLICA', replica: named });
    expect(changed).toMatchObject({ sourcePreference: 'PREFER_REPLICA', replica: named });
    expect(await backUp(service, instance.id)).toMatchObject({ source: { ...named, role: 'REPLICA' } });
    // Left out, both stay; null takes the replica away.
    expect(await sdk.instances.update({ instanceId: instance.id, name: 'orders' })).toMatchObject({ sourcePreference: 'PREFER_REPLICA', replica: named });
    expect(await sdk.instances.update({ instanceId: instance.id, replica: null })).toMatchObject({ sourcePreference: 'PREFER_REPLICA', replica: null });
  });

  it('the replica itself, where that was registered', async () => {
    const own = await register(service, 'the replica', replica, login);
    expect(await backUp(service, own.id)).toMatchObject({ source: { host: replica.host, port: replica.port, role: 'REPLICA', behindBytes: null } });
    expect(await refusal(service.sdk.instances.update({ instanceId: own.id, replica: { host: master.host, port: master.port } }))).toEqual({ code: 'BAD_INPUT', field: ['replica'] });
    await service.sdk.instances.remove({ instanceId: own.id });
  });

  it('a replica is proven to be one when it is named; nothing is stored otherwise', async () => {
    const { sdk } = service;
    const stranger = await until(startRedis({ password: PASSWORD }));
    const closed = await until(startRedis({ password: 'another', replicaOf: { host: master.host, port: master.port, password: PASSWORD } }));
    const name = ({ host, port }: { host: string; port: number }) => refusal(sdk.instances.update({ instanceId: instance.id, replica: { host, port } }));
    expect(await name({ host: '127.0.0.1', port: await freePort() })).toEqual({ code: 'CONNECT_FAILED', field: ['replica'] });
    expect(await name(stranger)).toEqual({ code: 'CONFLICT', field: ['replica'] });
    expect(await name(closed)).toEqual({ code: 'AUTH_FAILED', field: ['replica'] });
    expect(await name({ host: 'redis://x', port: 1 })).toEqual({ code: 'BAD_INPUT', field: ['replica', 'host'] });
    expect(await name({ host: 'x', port: 0 })).toEqual({ code: 'BAD_INPUT', field: ['replica', 'port'] });
    expect(await sdk.instances.get(instance)).toMatchObject({ replica: null });
    expect(await refusal(register(service, 'new', stranger, { ...login, replica: { host: replica.host, port: replica.port } }))).toEqual({ code: 'CONFLICT', field: ['replica'] });
    expect(await sdk.instances.list({ nameContains: 'new' }).toArray({ limit: 1 })).toEqual([]);
    expect(service.logs()).not.toContain('canary');
  });

  it('the master when the replica is gone: the backup does not fail, and its job says why', async () => {
    const { sdk } = service;
    await sdk.instances.update({ instanceId: instance.id, replica: { host: replica.host, port: replica.port } });
    await replica.kill();
    const begun = performance.now();
    const backup = await backUp(service, instance.id);
    expect(performance.now() - begun).toBeLessThan(40_000);
    expect(backup).toMatchObject({ state: 'AVAILABLE', source: { role: 'MASTER', port: master.port } });
    const job = await sdk.jobs.get(backup.job?.id ?? '');
    expect(job?.notices).toEqual([{ code: 'REPLICA_NOT_USED', message: expect.stringMatching(new RegExp(`127\\.0\\.0\\.1:${replica.port}.*ECONNREFUSED`)) as string }]);
    await replica.restart();
    await inStep(replica, master);
  });

  it('and it is the one whose delay is skipped, where the instance says so', async () => {
    const { sdk } = service;
    const delayed = await until(startReplica(master, { config: { 'repl-diskless-sync-delay': '60' } }));
    await sdk.instances.update({ instanceId: instance.id, skipSyncDelay: true, replica: { host: delayed.host, port: delayed.port } });
    const begun = performance.now();
    const backup = await backUp(service, instance.id);
    expect(performance.now() - begun).toBeLessThan(40_000);
    expect(backup).toMatchObject({ source: { role: 'REPLICA', port: delayed.port } });
    const notices = (await sdk.jobs.get(backup.job?.id ?? ''))?.notices ?? [];
    expect(notices.map(({ code }) => code)).toEqual(['REPLICA_SOURCE', 'SYNC_DELAY_SKIPPED']);
    expect(notices[1]?.message).toContain(`127.0.0.1:${delayed.port} was 0 instead of 60`);
    expect(await delayed.cli('CONFIG', 'GET', 'repl-diskless-sync-delay')).toMatch(/60$/);
    await sdk.instances.update({ instanceId: instance.id, skipSyncDelay: false, replica: null });
  });

  it('never by two of us at once: one that was registered by itself, too', async () => {
    const { sdk } = service;
    await populate(master, 1_000, 100);
    await master.cli('DEBUG', 'RELOAD');
    const slow = await until(startReplica(master));
    const own = await register(service, 'slow', slow, login);
    await sdk.instances.update({ instanceId: instance.id, replica: { host: slow.host, port: slow.port } });
    await saveSlowly(slow, 5_000);
    // The replica is being read as an instance of its own: the backup of its master goes to the master.
    const first = await sdk.backups.create({ instanceId: own.id, name: 'first' });
    await firstEvent(service, first.job, isRead);
    const second = await backUp(service, instance.id, 'second');
    expect(second).toMatchObject({ source: { role: 'MASTER' } });
    expect((await sdk.jobs.get(second.job?.id ?? ''))?.notices.at(-1)).toMatchObject({ code: 'REPLICA_NOT_USED', message: expect.stringContaining('being read by another backup') as string });
    expect(await sdk.backups.wait(first)).toMatchObject({ state: 'AVAILABLE', source: { role: 'REPLICA', port: slow.port } });
    // And the other way round: whoever asks for a backup of the replica is told at once.
    const third = await sdk.backups.create({ instanceId: instance.id, name: 'third' });
    await firstEvent(service, third.job, isRead);
    const fourth = await sdk.backups.create({ instanceId: own.id, name: 'fourth' });
    expect(await caught(sdk.jobs.wait(fourth.job.id))).toMatchObject({ code: 'INSTANCE_BUSY', retryable: true });
    expect(await sdk.backups.wait(third)).toMatchObject({ state: 'AVAILABLE', source: { role: 'REPLICA', port: slow.port } });
    expect(await syncsOf(slow)).toBe(2);
    await saveSlowly(slow, 0);
  });
});

describe('how often one server is asked for its data', () => {
  let client: Client;
  beforeAll(async () => {
    service = await startService({ env: { NET_SECONDS: '1', ...LIMITS } });
    client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
  });
  afterAll(async () => {
    await client?.end();
  });

  const attempt = async (instanceId: string): Promise<Job> => {
    const { job } = await service.sdk.backups.create({ instanceId, name: 'again' });
    await service.sdk.jobs.wait(job.id, { timeoutMs: 60_000 }).catch((error: unknown) => error);
    const ended = await service.sdk.jobs.get(job.id);
    if (!ended) throw new Error('The job is gone');
    return ended;
  };

  it('a failing backup makes it fork no more than a few times; the failure says when it may be tried again', async () => {
    const server = await until(startRedis());
    await server.cli('SET', 'key', 'value');
    const { id } = await register(service, 'failing', server);
    // Its saves fail, so that each attempt costs a fork and brings nothing.
    await server.cli('CONFIG', 'SET', 'repl-diskless-sync', 'no');
    rmSync(server.dir, { recursive: true });
    const failures: (Job['failure'])[] = [];
    for (let i = 0; i < 5; i += 1) failures.push((await attempt(id)).failure);
    expect(failures.map((failure) => failure?.code)).toEqual(['SOURCE_DISCONNECTED', 'SOURCE_DISCONNECTED', 'RATE_LIMITED', 'RATE_LIMITED', 'RATE_LIMITED']);
    expect(await syncsOf(server)).toBe(2);
    const [, , limited] = failures;
    expect(limited).toMatchObject({ retryable: true, message: expect.stringContaining('2 times in vain') as string, hint: expect.stringContaining(limited?.retryAt ?? 'an instant') as string });
    const inMs = new Date(limited?.retryAt ?? 0).getTime() - Date.now();
    expect(inMs).toBeGreaterThan(9 * 60_000);
    expect(inMs).toBeLessThan(10 * 60_000 + 2_000);
  });

  it('what never came to PSYNC does not count; another server is another matter', async () => {
    const refusing = await until(startFakeServer({ commands: { 'REPLCONF listening-port': '-LOADING Redis is loading the dataset in memory\r\n' } }));
    const { id } = await register(service, 'refusing', refusing);
    for (let i = 0; i < 3; i += 1) expect((await attempt(id)).failure).toMatchObject({ code: 'CONNECT_FAILED' });
  });

  it('a planned run waits until it may ask, and a person in need of a safety copy does not', async () => {
    const { sdk, app } = service;
    const server = await until(startRedis());
    await server.cli('SET', 'key', 'value');
    const instance = await register(service, 'often', server);
    const good: Backup[] = [];
    for (let i = 0; i < 4; i += 1) good.push(await backUp(service, instance.id));
    expect(await attempt(instance.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'RATE_LIMITED', message: expect.stringContaining('4 times in 10 minutes') as string } });
    expect(await syncsOf(server)).toBe(4);

    const { restore } = await startRestore(service, good[0]?.id ?? '', instance, { safetyBackup: true });
    expect(await sdk.restores.wait(restore.id, { timeoutMs: 60_000 })).toMatchObject({ dataNow: 'NEW', safetyBackup: { state: 'AVAILABLE' } });

    await client.query(`UPDATE backup_policies SET next_run_at = now() - interval '1 second' WHERE instance_id = $1`, [instance.id]);
    await app.dispatcher.dispatchDue();
    const planned = await waitFor(() => sdk.backups.list({ instanceId: instance.id, triggers: ['SCHEDULED'] }).first(), { message: 'the planned backup' });
    const waiting = await waitFor(async () => {
      const job = await sdk.jobs.get(planned.job?.id ?? '');
      return job?.state === 'QUEUED' && job.attempt > 0 ? job : undefined;
    }, { message: 'the job to wait' });
    expect(waiting).toMatchObject({ conclusion: null, failure: null, notices: [{ code: 'POSTPONED', message: expect.stringContaining('spared until') as string }] });
    // Meanwhile its server is taken, as by any backup.
    expect(await caught(sdk.backups.create({ instanceId: instance.id, name: 'now' }))).toMatchObject({ code: 'INSTANCE_BUSY' });

    await client.query(`UPDATE source_syncs SET started_at = started_at - interval '1 hour'`);
    await client.query('UPDATE jobs SET not_before = clock_timestamp() WHERE id = $1', [waiting.id]);
    expect(await sdk.backups.wait(planned, { timeoutMs: 60_000 })).toMatchObject({ state: 'AVAILABLE', trigger: 'SCHEDULED' });
  });
});
