import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, TypedDocumentString, type Backup, type Client as Sdk, type CreateRestorePlanInput, type Instance, type Restore, type RestorePlan } from '@snapback/sdk';
import { digest, ownDigest } from '../kit/digest.js';
import { startRedis, type RedisServer, type RedisServerOptions } from '../kit/redis.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { backUp, caught, expectFailedJob, populate, refusal, register, toAccept } from './scene.js';

/** Names of keys are data: none of them may be found where only the service looks. */
const CANARY = 'wilhelmina:secret-token';

describe('a restore key by key', () => {
  let service: TestService;
  let source: RedisServer;
  let backup: Backup;
  const servers: RedisServer[] = [];
  let names = 0;
  const start = async (options: RedisServerOptions = {}): Promise<{ server: RedisServer; instance: Instance }> => {
    const server = await startRedis(options);
    servers.push(server);
    return { server, instance: await register(service, `server ${String((names += 1))}`, server, { acceptPartial: true }) };
  };
  const plan = (to: Instance, input: Partial<CreateRestorePlanInput> = {}, from = backup): Promise<RestorePlan> =>
    service.sdk.restores.plan({ backupId: from.id, instanceId: to.id, safetyBackup: false, ...input });
  const carryOut = async (made: RestorePlan): Promise<Restore> =>
    service.sdk.restores.wait(await service.sdk.restores.run({ planId: made.id, confirmation: made.confirmationText, acceptedWarnings: toAccept(made) }), { timeoutMs: 60_000 });

  beforeAll(async () => {
    // A target that cannot connect back is waited for so long.
    service = await startService({ env: { REPLICATION_LINK_SECONDS: '1', UPKEEP_SECONDS: '86400' } });
    const first = await start();
    source = first.server;
    await seedAllTypes(source, { keysPerType: 3, databases: [0, 3] });
    const client = source.client();
    await client.mset('user:1', 'one', 'user:2', 'two', CANARY, 'x');
    await client.set('user:3', 'three', 'PX', 3_600_000);
    backup = await backUp(service, first.instance.id);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), ...servers.map((server) => server.stop())]);
  });

  it('of some keys says beforehand what it would write and what it would meet, writes that and nothing else, and can be undone', async () => {
    const { sdk } = service;
    const { server, instance } = await start();
    const target = server.client();
    await target.mset('copy:user:1', 'one', 'copy:user:2', 'other', 'stranger', '1');
    await target.call('FUNCTION', 'LOAD', "#!lua name=stranger\nredis.register_function('stranger', function() return 1 end)");
    const old = await digest(server);
    const input = { keys: { patterns: ['user:*'], databases: [0] }, databaseMap: [{ from: 0, to: 0 }], keyPrefix: { by: 'copy:' }, ttl: 'PERSIST', onConflict: 'SKIP', safetyBackup: true } satisfies Partial<CreateRestorePlanInput>;
    const made = await plan(instance, input);
    expect(made).toMatchObject({
      state: 'READY', method: 'RESTORE_PIPELINE', replacesEverything: false, mayFallBack: false, blockers: [], losses: [], pauseWrites: false, safetyBackup: true, job: { kind: 'PLAN', conclusion: 'SUCCEEDED' },
      options: { keys: { patterns: ['user:*'], types: null, databases: [0] }, databaseMap: [{ from: 0, to: 0 }], keyPrefix: { replace: null, by: 'copy:' }, ttl: 'PERSIST', onConflict: 'SKIP', flushFirst: false, acceptedLosses: [] },
      selected: {
        keys: '3', expired: '0', byCommands: '0', functions: 0, databases: [{ database: 0, into: 0, keys: '3' }], types: [{ type: 'STRING', keys: '3' }],
        comparison: { new: '1', sameType: '2', otherType: '0', equal: '1', compared: '3' }, problems: [],
      },
      keysNow: [{ database: 0, keys: '3' }], keysAfter: [{ database: 0, keys: '6' }],
    });
    expect(made.selected?.sample.map(({ key, expiresAt }) => [key, expiresAt === null]).sort()).toEqual([['copy:user:1', true], ['copy:user:2', true], ['copy:user:3', false]]);
    expect(await digest(server)).toBe(old);

    const restore = await carryOut(made);
    expect(restore).toMatchObject({
      method: 'RESTORE_PIPELINE', dataNow: 'NEW', keyFailures: [], safetyBackup: { state: 'AVAILABLE' },
      report: { promoted: true, bgsaveSuggested: true, keysAfter: [{ database: 0, keys: '4' }], keys: { restored: '1', replaced: '0', skipped: '2', expired: '0', failed: '0', lost: [], functions: 0, flushed: [], reconnects: 0 } },
    });
    expect(await target.mget('copy:user:1', 'copy:user:2', 'copy:user:3', 'stranger')).toEqual(['one', 'other', 'three', '1']);
    expect(await target.pttl('copy:user:3')).toBe(-1);

    await target.set('written since', '1');
    expect(restore.undo).toMatchObject({ backupId: restore.safetyBackup?.id, instanceId: instance.id, safetyBackup: true, message: expect.stringContaining('since the safety backup') as string });
    const { backupId, instanceId, safetyBackup } = restore.undo!;
    const undoing = await sdk.restores.plan({ backupId, instanceId, safetyBackup });
    expect(undoing).toMatchObject({ method: 'REPLICATION_LINK', replacesEverything: true, options: null, selected: null, job: null });
    expect(await carryOut(undoing)).toMatchObject({ method: 'REPLICATION_LINK', dataNow: 'NEW', report: { keys: null } });
    expect(await digest(server)).toBe(old);
    expect((await sdk.restores.list({ instanceId: instance.id }).toArray({ limit: 5 })).map(({ method }) => method)).toEqual(['REPLICATION_LINK', 'RESTORE_PIPELINE']);
  });

  it('takes the place of a link that the target never dials, and leaves the backup and nothing else there', async () => {
    const { sdk } = service;
    // It comes from an address that nobody expects.
    const { server, instance } = await start({ config: { 'bind-source-addr': '127.0.0.5' } });
    await server.cli('-n', '7', 'SET', 'old', '1');
    const old = await ownDigest(server);
    const asked = await plan(instance, { method: 'REPLICATION_LINK' });
    expect(asked).toMatchObject({ method: 'REPLICATION_LINK', mayFallBack: false });
    const only = await sdk.restores.run({ planId: asked.id, confirmation: instance.name, acceptedWarnings: toAccept(asked) });
    await expectFailedJob(service, only.job, 'TARGET_UNREACHABLE_BACK');
    expect(await sdk.restores.get(only)).toMatchObject({ dataNow: 'OLD', undo: null });
    expect(await ownDigest(server)).toBe(old);

    const made = await plan(instance, { safetyBackup: true });
    expect(made).toMatchObject({ method: 'REPLICATION_LINK', mayFallBack: true, replacesEverything: true });
    expect(made.warnings.map(({ name }) => name)).toContain('MAY_GO_KEY_BY_KEY');
    const restore = await carryOut(made);
    expect(restore).toMatchObject({ method: 'RESTORE_PIPELINE', dataNow: 'NEW', report: { keys: { failed: '0', flushed: [7], functions: 2 } }, safetyBackup: { state: 'AVAILABLE' } });
    expect((await sdk.jobs.get(restore.job))?.notices.map(({ code }) => code)).toEqual(expect.arrayContaining(['TARGET_UNREACHABLE_BACK', 'GOING_KEY_BY_KEY']));
    expect(await ownDigest(server)).toBe(await ownDigest(source));
    // One safety backup for both ways.
    expect(await sdk.backups.list({ instanceId: instance.id }).toArray({ limit: 5 })).toHaveLength(1);
  });

  it('is chosen for a cluster, whose nodes no safety backup could bring back', async () => {
    const { server, instance } = await start({ cluster: true });
    await server.cli('SET', 'stays', '1');
    expect(await plan(instance, { safetyBackup: true })).toMatchObject({ state: 'READY', method: null, blockers: [{ name: 'CLUSTER_SAFETY_BACKUP' }] });
    const many = await plan(instance);
    expect(many).toMatchObject({ method: null, methodReason: expect.stringContaining('CLUSTER_MODE') as string, blockers: [{ name: 'MULTI_DATABASE_INTO_CLUSTER' }] });
    expect(await refusal(service.sdk.restores.run({ planId: many.id, confirmation: instance.name }))).toEqual({ code: 'TARGET_BLOCKED', field: ['planId'] });
    const made = await plan(instance, { keys: { databases: [3] }, databaseMap: [{ from: 3, to: 0 }] });
    expect(made).toMatchObject({ method: 'RESTORE_PIPELINE', blockers: [] });
    const restore = await carryOut(made);
    expect(restore.report?.keys).toMatchObject({ restored: made.selected?.keys, failed: '0', flushed: [] });
    expect(await server.cli('DBSIZE')).toBe(String(Number(made.selected?.keys) + 1));
  });

  it('goes by ordinary commands where it is asked to, and leaves behind what is accepted by name', async () => {
    const { server, instance } = await start();
    // Of what was restarted since it was last looked at, a plan knows what is there now.
    await server.restart();
    const strict = await plan(instance, { method: 'LOGICAL_COMMANDS' });
    expect(strict).toMatchObject({ method: null, losses: [{ name: 'STREAM_METADATA', accepted: false }], blockers: [{ name: 'STREAM_METADATA', code: 'TARGET_BLOCKED' }] });
    const made = await plan(instance, { method: 'LOGICAL_COMMANDS', acceptedLosses: ['STREAM_METADATA'] });
    expect(made).toMatchObject({ method: 'LOGICAL_COMMANDS', replacesEverything: true, losses: [{ accepted: true }], blockers: [] });
    expect(made.selected?.byCommands).toBe(made.selected?.keys);
    expect((await carryOut(made)).report?.keys?.lost.map(({ name }) => name)).toEqual(['STREAM_METADATA']);
    expect(await ownDigest(server)).toBe(await ownDigest(source));
  });

  it('refuses options that contradict each other, and keys that are there under FAIL; names them to those who may read data, and to nobody else', async () => {
    const { sdk } = service;
    const { server, instance } = await start();
    const asked = (input: Partial<CreateRestorePlanInput>) => refusal(plan(instance, input));
    expect(await asked({ method: 'REPLICATION_LINK', ttl: 'SHIFT' })).toEqual({ code: 'BAD_INPUT', field: ['method'] });
    expect(await asked({ keys: { patterns: ['a'] }, flushFirst: true })).toEqual({ code: 'BAD_INPUT', field: ['flushFirst'] });
    expect(await asked({ acceptedLosses: ['EVERYTHING'] })).toEqual({ code: 'BAD_INPUT', field: ['acceptedLosses', '0'] });
    expect(await asked({ keys: { patterns: [] } })).toEqual({ code: 'BAD_INPUT', field: ['keys', 'patterns'] });

    await server.cli('SET', CANARY, 'mine');
    const made = await plan(instance, { keys: { patterns: ['wilhelmina*'] }, onConflict: 'FAIL' });
    const { restore, job } = await sdk.restores.run({ planId: made.id, confirmation: instance.name });
    const failed = await expectFailedJob(service, job, 'CONFLICT');
    const ended = (await sdk.restores.get(restore))!;
    expect(ended).toMatchObject({ dataNow: 'OLD', keyFailures: [{ key: CANARY, reason: expect.stringMatching(/\w+/) as string }], undo: null });
    expect(made.selected?.sample.map(({ key }) => key)).toEqual([CANARY]);
    expect(await server.cli('GET', CANARY)).toBe('mine');

    const viewer = await viewerOf(service);
    expect(await viewer.restores.getPlan(made)).toMatchObject({ state: 'USED', options: null, selected: null });
    expect(await viewer.restores.get(restore)).toMatchObject({ dataNow: 'OLD', keyFailures: [] });
    const database = new Client({ connectionString: service.databaseUrl });
    await database.connect();
    try {
      const { rows } = await database.query<{ everything: string }>(
        `SELECT concat((SELECT string_agg(p::text, '') FROM restore_plans p), (SELECT string_agg(r::text, '') FROM restores r), (SELECT string_agg(j::text, '') FROM jobs j),
           (SELECT string_agg(e::text, '') FROM job_events e), (SELECT string_agg(encode(sealed, 'escape'), '') FROM restore_details), (SELECT string_agg(k::text, '') FROM idempotency_keys k)) AS everything`,
      );
      expect(rows[0]?.everything).toContain(made.id);
      for (const text of [rows[0]?.everything ?? '', service.logs(), JSON.stringify(failed)]) expect(text).not.toContain('wilhelmina');
    } finally {
      await database.end();
    }
  });

  it('can be cancelled while its plan is made, and while it writes: then it says that the target holds a mix', async () => {
    const { sdk } = service;
    const { server: big, instance: from } = await start();
    await populate(big, 60_000, 1_000);
    const large = await backUp(service, from.id, 'large');
    const { server, instance } = await start();
    const answer = await sdk.execute(CREATE_PLAN, { input: { backupId: large.id, instanceId: instance.id, safetyBackup: false, onConflict: 'REPLACE' } });
    const begun = answer.createRestorePlan.plan!;
    await sdk.jobs.cancel(begun.job.id);
    expect(await caught(sdk.jobs.wait(begun.job.id, { timeoutMs: 60_000 }))).toMatchObject({ kind: 'job_failed' });
    expect(await sdk.restores.getPlan(begun)).toMatchObject({ state: 'FAILED', method: null });
    expect(await refusal(sdk.restores.run({ planId: begun.id, confirmation: instance.name }))).toEqual({ code: 'CONFIRMATION_REQUIRED', field: ['planId'] });

    const made = await plan(instance, { onConflict: 'REPLACE' }, large);
    const { restore, job } = await sdk.restores.run({ planId: made.id, confirmation: instance.name });
    for await (const { job: now } of sdk.jobs.watch(job, { signal: AbortSignal.timeout(60_000) })) {
      if (now.phase === 'TRANSFERRING') break;
    }
    await sdk.jobs.cancel(job.id);
    expect(await caught(sdk.restores.wait(restore, { timeoutMs: 60_000 }))).toMatchObject({ kind: 'job_failed' });
    const ended = (await sdk.restores.get(restore))!;
    const there = Number(await server.cli('DBSIZE'));
    expect(['OLD', 'MIXED']).toContain(ended.dataNow);
    expect(ended.dataNow).toBe(there === 0 ? 'OLD' : 'MIXED');
    // As far as it was answered.
    expect(Number(ended.report?.keys?.restored)).toBeLessThanOrEqual(there);
    expect(there).toBeLessThan(60_000);
  });
});

const CREATE_PLAN = new TypedDocumentString<{ createRestorePlan: { plan: { id: string; job: { id: string } } | null } }, { input: CreateRestorePlanInput }>(
  'mutation ($input: CreateRestorePlanInput!) { createRestorePlan(input: $input) { plan { id job { id } } userErrors { message } } }',
);

const viewerOf = async ({ sdk, url }: TestService): Promise<Sdk> => createClient({ url, token: (await sdk.apiKeys.create({ name: 'a viewer', role: 'VIEWER' })).token });
