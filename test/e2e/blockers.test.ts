import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance, type RegisterInstanceInput, type RestoreMethod } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { startRedis, startSentinel, type RedisServer, type RedisServerOptions } from '../kit/redis.js';
import { redisVersions } from '../kit/redis-binary.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { backUp, caught, expectFailedJob, infoOf, populate, register, startRestore, toAccept } from './scene.js';

const PASSWORD = 'canary-password-e811';
const restorer = (rules: string): RedisServerOptions => ({ acl: [`restorer on >${PASSWORD} ~* &* +@all ${rules}`] });
const asRestorer = { username: 'restorer', password: PASSWORD };
const available = redisVersions();
/** It came with 8.1. */
const valkey = available.filter((name) => name.startsWith('valkey-') && name !== 'valkey-8.0').at(-1);
const newer = available.find((name) => name.startsWith('redis-8'));

describe('what stands in the way of a restore', () => {
  let service: TestService;
  let source: RedisServer;
  let backup: Backup;
  const servers: RedisServer[] = [];
  const start = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  };
  /** A target with old data, which must be the same afterwards. */
  const startTarget = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
    const server = await start(options);
    for (const key of ['a', 'b', 'c']) await server.cli('SET', key, 'old');
    return server;
  };

  beforeAll(async () => {
    [service, source] = await Promise.all([startService(), start()]);
    await populate(source, 20, 1_000_000);
    backup = await backUp(service, (await register(service, 'source', source)).id);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), ...servers.map((server) => server.stop())]);
  });

  let names = 0;
  const registered = (target: RedisServer, rest: Partial<RegisterInstanceInput> = {}): Promise<Instance> =>
    register(service, `target ${String((names += 1))}`, target, { acceptPartial: true, ...rest });

  /** The plan names the blocker, a restore is refused, and nothing on the target has changed. */
  const expectBlocked = async (target: RedisServer, blocker: string, code: string, options: { instance?: Partial<RegisterInstanceInput>; backup?: Backup; method?: RestoreMethod } = {}): Promise<void> => {
    const { sdk } = service;
    const instance = await registered(target, options.instance);
    const before = [await digest(target), await target.cli('ROLE').then((role) => role.split('\n')[0])];
    const plan = await sdk.restores.plan({ backupId: (options.backup ?? backup).id, instanceId: instance.id, method: options.method });
    expect(plan.blockers).toContainEqual({ name: blocker, code, message: expect.stringMatching(/\w+ \w+/) as string, hint: expect.stringMatching(/\w+ \w+/) as string });
    expect(plan.method).toBeNull();
    const refused = await caught(sdk.restores.run({ planId: plan.id, confirmation: instance.name, acceptedWarnings: toAccept(plan) }));
    expect(refused).toMatchObject({ kind: 'user_input', code: 'TARGET_BLOCKED', message: expect.stringContaining(blocker) as string });
    expect(await sdk.restores.list({ instanceId: instance.id }).toArray({ limit: 5 })).toEqual([]);
    expect((await sdk.instances.get(instance))?.runningJob).toBeNull();
    expect([await digest(target), await target.cli('ROLE').then((role) => role.split('\n')[0])]).toEqual(before);
  };

  it('the target is a replica, and its master is told that it will resync', async () => {
    const master = await startTarget();
    const target = await start({ replicaOf: { host: master.host, port: master.port } });
    await waitFor(async () => (await infoOf(target))['master_link_status'] === 'up');
    await expectBlocked(target, 'TARGET_IS_REPLICA', 'TARGET_BLOCKED');
    const plan = await service.sdk.restores.plan({ backupId: backup.id, instanceId: (await registered(master)).id });
    expect(plan.blockers).toEqual([]);
    expect(plan.warnings.map(({ name }) => name)).toEqual(expect.arrayContaining(['REPLICAS_WILL_RESYNC', 'UNREADABLE_WHILE_LOADING', 'DUMP_RDB_LEFT', 'WRITES_NOT_IN_SAFETY_BACKUP']));
  });

  it('the target runs in cluster mode', async () => {
    await expectBlocked(await startTarget({ cluster: true }), 'CLUSTER_MODE', 'TARGET_BLOCKED', { method: 'REPLICATION_LINK' });
  });

  it('a Sentinel is in charge', async () => {
    const target = await startTarget();
    servers.push(await startSentinel({ master: { host: target.host, port: target.port } }));
    await waitFor(async () => (await target.cli('CLIENT', 'LIST')).includes('name=sentinel-'));
    await expectBlocked(target, 'SENTINEL_IN_CHARGE', 'TARGET_BLOCKED');
  });

  it('maxmemory is too small for the load', async () => {
    await expectBlocked(await startTarget({ config: { maxmemory: '10mb', 'maxmemory-policy': 'allkeys-lru' } }), 'INSUFFICIENT_MEMORY', 'INSUFFICIENT_MEMORY');
  });

  it('replica-read-only is off', async () => {
    await expectBlocked(await startTarget({ config: { 'replica-read-only': 'no' } }), 'REPLICA_READ_ONLY_OFF', 'TARGET_BLOCKED');
  });

  it('there is no right to REPLICAOF', async () => {
    await expectBlocked(await startTarget(restorer('-replicaof -slaveof')), 'NO_RIGHT_TO_REPLICAOF', 'PERMISSION_MISSING', { instance: asRestorer, method: 'REPLICATION_LINK' });
  });

  it('the target has too few databases', async () => {
    const deep = await start();
    await deep.cli('-n', '9', 'SET', 'a', '1');
    const nine = await backUp(service, (await registered(deep)).id);
    await expectBlocked(await startTarget({ config: { databases: '4' } }), 'TOO_FEW_DATABASES', 'TARGET_BLOCKED', { backup: nine });
  });

  it('repl-diskless-load is flush-before-load, which Valkey knows', async ({ annotate }) => {
    if (valkey === undefined) {
      await annotate('NOT RUN: there is no Valkey of 8.1 or later in the version matrix; run npm run redis-versions.', 'warning');
      return;
    }
    await expectBlocked(await startTarget({ version: valkey, config: { 'repl-diskless-load': 'flush-before-load' } }), 'FLUSH_BEFORE_LOAD', 'TARGET_BLOCKED');
  });

  it('the backup is of a version that the target cannot load', async ({ annotate }) => {
    if (newer === undefined) {
      await annotate('NOT RUN: there is no Redis 8 in the version matrix; run npm run redis-versions.', 'warning');
      return;
    }
    const eight = await start({ version: newer });
    await eight.cli('SET', 'a', '1');
    const target = await startTarget();
    const fromEight = await backUp(service, (await registered(eight)).id);
    expect(fromEight.rdbVersion).toBe(12);
    await expectBlocked(target, 'CANNOT_LOAD', 'VERSION_TOO_OLD', { backup: fromEight, method: 'REPLICATION_LINK' });
  });

  it('something comes in the way after the plan: the job fails and says what, before anything is touched', async () => {
    const { sdk } = service;
    const target = await startTarget();
    const instance = await registered(target);
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: instance.id });
    expect(plan.blockers).toEqual([]);
    const before = await digest(target);
    await target.cli('CONFIG', 'SET', 'replica-read-only', 'no');
    const { restore, job } = await sdk.restores.run({ planId: plan.id, confirmation: instance.name, acceptedWarnings: toAccept(plan) });
    const ended = await expectFailedJob(service, job, 'TARGET_BLOCKED');
    expect(ended.failure).toMatchObject({ phase: 'PREPARING', message: expect.stringContaining('REPLICA_READ_ONLY_OFF') as string });
    expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD', safetyBackup: null, report: { promoted: true, bytesSent: '0' } });
    expect(await digest(target)).toBe(before);
    expect(target.log()).not.toContain('Connecting to MASTER');
    await target.cli('CONFIG', 'SET', 'replica-read-only', 'yes');
    const second = await startRestore(service, backup.id, instance, { safetyBackup: true });
    expect(await sdk.restores.wait(second)).toMatchObject({ dataNow: 'NEW' });
    expect(await digest(target)).toBe(await digest(source));
  });

  it('may be left to load while it receives: the plan says so, and what it cannot is a warning', async () => {
    const { sdk } = service;
    const target = await startTarget();
    const instance = await registered(target);
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: instance.id, disklessLoad: true });
    expect(plan).toMatchObject({ method: 'REPLICATION_LINK', disklessLoad: true, blockers: [] });
    expect(plan.warnings).toContainEqual(expect.objectContaining({ name: 'DISKLESS_LOAD_SET', mustAccept: false }));
    expect(plan.warnings.map(({ name }) => name)).not.toContain('DUMP_RDB_LEFT');
    const { restore, job } = await sdk.restores.run({ planId: plan.id, confirmation: instance.name, acceptedWarnings: toAccept(plan) });
    expect(await sdk.restores.wait(restore)).toMatchObject({ dataNow: 'NEW', report: { bgsaveSuggested: true, notices: [expect.stringContaining('its repl-diskless-load is disabled again') as string] } });
    expect(await digest(target)).toBe(await digest(source));
    expect(await target.cli('CONFIG', 'GET', 'repl-diskless-load')).toContain('disabled');
    expect((await sdk.jobs.get(job))?.phases.map(({ phase }) => phase)).toContain('VERIFYING');

    const poor = await registered(await startTarget(restorer('-config|set')), asRestorer);
    const without = await sdk.restores.plan({ backupId: backup.id, instanceId: poor.id, disklessLoad: true });
    expect(without).toMatchObject({ method: 'REPLICATION_LINK', disklessLoad: false, blockers: [] });
    expect(without.warnings).toContainEqual({ name: 'DISKLESS_LOAD_NOT_SET', mustAccept: false, message: expect.stringContaining('+config|set') as string, hint: expect.any(String) as string });
    const keys = await sdk.restores.plan({ backupId: backup.id, instanceId: instance.id, disklessLoad: true, keys: { patterns: ['key:1'] } });
    expect(keys.disklessLoad).toBe(false);
  });

  it('checks whose rights are missing are warnings that have to be accepted by name', async () => {
    const { sdk } = service;
    const target = await startTarget(restorer('-config -client|list -client|pause'));
    const instance = await registered(target, asRestorer);
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: instance.id });
    expect(plan.blockers).toEqual([]);
    expect(toAccept(plan).sort()).toEqual(['UNCHECKED_CONFIG', 'UNCHECKED_SENTINEL']);
    const before = await digest(target);
    for (const acceptedWarnings of [[], ['UNCHECKED_CONFIG'], ['UNCHECKED_SENTINEL']]) {
      const refused = await caught(sdk.restores.run({ planId: plan.id, confirmation: instance.name, acceptedWarnings }));
      expect(refused).toMatchObject({ code: 'CONFIRMATION_REQUIRED', userErrors: [{ field: ['acceptedWarnings'] }] });
    }
    expect(await digest(target)).toBe(before);
    const { restore } = await sdk.restores.run({ planId: plan.id, confirmation: instance.name, acceptedWarnings: toAccept(plan) });
    expect(await sdk.restores.wait(restore)).toMatchObject({ dataNow: 'NEW' });
    expect(service.logs()).not.toContain(PASSWORD);
  });
});
