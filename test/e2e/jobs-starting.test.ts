import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Backup, type BackupAndJob, createClient, type CreateApiKeyInput, type Instance } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { backUp, caught, populate, refusal, register, saveSlowly, toAccept } from './scene.js';

const MINUTE = 60_000;
const idsOf = ({ backup, job }: BackupAndJob): [string, string] => [backup.id, job.id];

/** All rows of a query, as one text. */
const rowsOf = async ({ databaseUrl }: TestService, sql: string): Promise<string> => {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return JSON.stringify((await client.query(sql)).rows);
  } finally {
    await client.end();
  }
};

describe('starting work', () => {
  let ahead = 0;
  let service: TestService;
  let source: RedisServer;
  let target: RedisServer;
  let instance: Instance;
  let into: Instance;
  let backup: Backup;

  beforeAll(async () => {
    const clock = { now: () => new Date(Date.now() + ahead) };
    [service, source, target] = await Promise.all([startService({ clock }), startRedis({ config: { rdbcompression: 'no' } }), startRedis()]);
    await Promise.all([populate(source, 3_000, 1_000), populate(target, 10, 10, 'old')]);
    [instance, into] = await Promise.all([register(service, 'source', source), register(service, 'target', target)]);
    backup = await backUp(service, instance.id, 'first');
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop(), target?.stop()]);
  });
  beforeEach(() => {
    ahead = 0;
  });
  const count = async (): Promise<number> => {
    const page = await service.sdk.backups.list({ instanceId: instance.id }).pages().next();
    return (page.value as { totalCount: number }).totalCount;
  };

  it('the same key and input give the same job, also after it has ended; another input is a conflict', async () => {
    const { sdk } = service;
    const before = await count();
    const input = { instanceId: instance.id, name: 'once', idempotencyKey: 'once' };
    const first = await sdk.backups.create(input);
    expect(idsOf(await sdk.backups.create(input))).toEqual(idsOf(first));
    await sdk.backups.wait(first);
    const again = await sdk.backups.create(input);
    expect(idsOf(again)).toEqual(idsOf(first));
    expect(again).toMatchObject({ backup: { state: 'AVAILABLE' }, job: { state: 'COMPLETED', conclusion: 'SUCCEEDED' } });
    for (const other of [{ ...input, name: 'other' }, { ...input, instanceId: into.id }]) {
      expect(await refusal(sdk.backups.create(other))).toEqual({ code: 'IDEMPOTENCY_CONFLICT', field: ['idempotencyKey'] });
    }
    expect(await count()).toBe(before + 1);
    // A key belongs to its mutation.
    const deleted = await sdk.backups.delete({ backupId: first.backup.id, force: true, idempotencyKey: 'once' });
    expect((await sdk.backups.delete({ backupId: first.backup.id, force: true, idempotencyKey: 'once' })).job.id).toBe(deleted.job.id);
    await sdk.jobs.wait(deleted.job);
    for (const idempotencyKey of ['', 'x'.repeat(129), 'a\nb', 'é']) {
      expect(await refusal(sdk.backups.create({ ...input, idempotencyKey })), idempotencyKey).toEqual({ code: 'BAD_INPUT', field: ['idempotencyKey'] });
    }
  });

  it('changes are made once per key, too, and a repeat gives what is there by then', async () => {
    const { sdk } = service;
    const server = await startRedis();
    const conflict = { code: 'IDEMPOTENCY_CONFLICT', field: ['idempotencyKey'] };
    const once = { idempotencyKey: 'change' };
    try {
      const asked = { name: 'keyed', host: server.host, port: server.port };
      const [made, ...repeats] = await Promise.all(Array.from({ length: 3 }, () => sdk.instances.register(asked, once)));
      const { id: instanceId } = made!;
      expect(repeats.map(({ id }) => id)).toEqual([instanceId, instanceId]);
      expect(await refusal(sdk.instances.register({ ...asked, name: 'other' }, once))).toEqual(conflict);

      await sdk.policies.set({ instanceId, startTime: '03:00' }, once);
      await sdk.policies.set({ instanceId, startTime: '04:00' });
      expect((await sdk.policies.set({ instanceId, startTime: '03:00' }, once)).startTime).toBe('04:00');
      expect(await refusal(sdk.policies.set({ instanceId, startTime: '05:00' }, once))).toEqual(conflict);

      await sdk.instances.update({ instanceId, name: 'renamed' }, once);
      await sdk.instances.update({ instanceId, name: 'renamed again' });
      expect((await sdk.instances.update({ instanceId, name: 'renamed' }, once)).name).toBe('renamed again');

      const removed = await sdk.instances.remove(instanceId, once);
      expect(await sdk.instances.remove(instanceId, once)).toEqual(removed);
      // Also when there is nothing left to be changed, or to be asked.
      await server.stop();
      expect((await sdk.instances.register(asked, once)).removedAt).toBe(removed.removedAt);
      expect(await refusal(sdk.instances.remove(instanceId))).toMatchObject({ field: ['instanceId'] });

      const project = await sdk.projects.create({ name: 'keyed' }, once);
      expect(await sdk.projects.create({ name: 'keyed' }, once)).toEqual(project);
      const job = await sdk.jobs.list({ instanceIds: [instance.id] }).first();
      expect([await sdk.jobs.cancel(job!, once), await sdk.jobs.cancel(job!, once)].map(({ id }) => id)).toEqual([job!.id, job!.id]);
      expect((await sdk.audit.list({ actions: ['INSTANCE_REGISTERED', 'POLICY_SET', 'INSTANCE_UPDATED', 'INSTANCE_REMOVED'], instanceId }).toArray({ limit: 20 })).map(({ action }) => action).sort())
        .toEqual(['INSTANCE_REGISTERED', 'INSTANCE_REMOVED', 'INSTANCE_UPDATED', 'INSTANCE_UPDATED', 'POLICY_SET', 'POLICY_SET']);
    } finally {
      await server.stop();
    }
  });

  it('a key and a link whose answers were lost are made once, and given again to whoever made them, to nobody else', async () => {
    const { sdk, url, key } = service;
    const once = { idempotencyKey: 'secret' };
    const conflict = { code: 'IDEMPOTENCY_CONFLICT', field: ['idempotencyKey'] };
    const over = { code: 'CONFLICT', field: ['idempotencyKey'] };
    const asked: CreateApiKeyInput = { name: 'robot', role: 'ADMIN' };
    const lost: string[] = [];
    /** The service has done its work; nobody hears of it. */
    const losing = createClient({
      url, token: key, retry: { baseMs: 1, maxMs: 5 },
      fetch: async (...args) => {
        const response = await fetch(...args);
        if (lost.length >= 3) return response;
        lost.push(await response.text());
        throw new TypeError('the line went dead');
      },
    });
    const { apiKey, token } = await losing.apiKeys.create(asked, once);
    expect(lost).toHaveLength(3);
    for (const text of lost) expect(text).toContain(token);
    expect((await sdk.apiKeys.list().toArray({ limit: 100 })).filter(({ name }) => name === 'robot')).toHaveLength(1);
    expect(await Promise.all(Array.from({ length: 5 }, async () => (await sdk.apiKeys.create(asked, once)).token))).toEqual(Array.from({ length: 5 }, () => token));
    for (const other of [{ ...asked, name: 'other' }, { ...asked, expiresAt: new Date(Date.now() + 10 * MINUTE).toISOString() }]) {
      expect(await refusal(sdk.apiKeys.create(other, once))).toEqual(conflict);
    }

    const robot = createClient({ url, token });
    expect((await robot.viewer()).role).toBe('ADMIN');
    // In the same project, with the same rights, and with the same words.
    expect(await refusal(robot.apiKeys.create(asked, once))).toEqual(conflict);
    const [link, ...links] = await Promise.all(Array.from({ length: 3 }, () => sdk.backups.link(backup, { ...once, singleUse: true })));
    expect(links).toEqual([link, link]);
    expect(await refusal(robot.backups.link(backup, { ...once, singleUse: true }))).toEqual(conflict);
    expect(await refusal(sdk.backups.link(backup, { ...once, singleUse: false }))).toEqual(conflict);
    const { id } = await sdk.projects.create({ name: 'another project' });
    const stranger = createClient({ url, token: (await sdk.apiKeys.create({ ...asked, projectId: id })).token });
    const theirs = await stranger.apiKeys.create(asked, once);
    expect(theirs.apiKey.id).not.toBe(apiKey.id);
    expect(theirs.token).not.toBe(token);

    // What is stored tells neither: the seed is nothing without the master key, a link is its claims.
    const stored = await rowsOf(service, 'SELECT mutation, key, input_hash, result FROM idempotency_keys');
    expect(stored).toMatch(/createApiKey/);
    expect(stored).toMatch(/createDownloadLink/);
    for (const secret of [token.slice(30, 73), link?.url.split('/').at(-1)?.split('.').at(-1) ?? 'no link']) expect(stored).not.toContain(secret);
    expect(service.logs()).not.toContain(token.slice(30, 73));

    expect((await fetch(link?.url ?? '')).status).toBe(200);
    expect(await refusal(sdk.backups.link(backup, { ...once, singleUse: true }))).toEqual(over);
    const long = await sdk.backups.link(backup, { idempotencyKey: 'long', expiresInSeconds: 60 });
    expect(await sdk.backups.link(backup, { idempotencyKey: 'long', expiresInSeconds: 60 })).toEqual(long);
    ahead += MINUTE;
    expect(await refusal(sdk.backups.link(backup, { idempotencyKey: 'long', expiresInSeconds: 60 }))).toEqual(over);
    const open = { idempotencyKey: 'open' };
    await Promise.all([sdk.backups.link(backup, open), sdk.backups.link(backup)]);
    expect([await sdk.backups.revokeLinks(backup, once), await sdk.backups.revokeLinks(backup, once), await sdk.backups.revokeLinks(backup)]).toEqual([2, 2, 0]);
    expect(await refusal(sdk.backups.revokeLinks(backup, { ...once, linkId: long.id }))).toEqual(conflict);
    expect(await refusal(sdk.backups.link(backup, open))).toEqual(over);

    const soon = { name: 'soon over', role: 'VIEWER', expiresAt: new Date(Date.now() + ahead + MINUTE).toISOString() } as const;
    await sdk.apiKeys.create(soon, { idempotencyKey: 'soon' });
    ahead += MINUTE;
    expect(await refusal(sdk.apiKeys.create(soon, { idempotencyKey: 'soon' }))).toEqual(over);
    const revoked = await sdk.apiKeys.revoke(apiKey, once);
    expect(await sdk.apiKeys.revoke(apiKey, once)).toEqual(revoked);
    expect(await refusal(sdk.apiKeys.revoke(theirs.apiKey, once))).toEqual(conflict);
    expect(await refusal(sdk.apiKeys.create(asked, once))).toEqual(over);

    // A refused call leaves its key free: nothing is stored of an instance that is not there.
    expect(await refusal(sdk.apiKeys.create({ ...asked, role: 'VIEWER', instanceIds: ['ins_none'] }, { idempotencyKey: 'free' }))).toEqual({ code: 'NOT_FOUND', field: ['instanceIds'] });
    await sdk.apiKeys.revoke((await sdk.apiKeys.create(asked, { idempotencyKey: 'free' })).apiKey);
    // Once each, however often they were asked for.
    expect((await sdk.audit.list({ actions: ['API_KEY_CREATED', 'API_KEY_REVOKED'] }).toArray({ limit: 100 })).filter(({ objectId }) => objectId === apiKey.id).map(({ action }) => action).sort())
      .toEqual(['API_KEY_CREATED', 'API_KEY_REVOKED']);
  });

  it('a probe that is repeated with its key does not ask the server again', async () => {
    const { sdk } = service;
    const server = await startRedis();
    try {
      const { id } = await register(service, 'probed', server);
      const first = await sdk.instances.probe(id, { idempotencyKey: 'probe' });
      await server.stop();
      expect((await sdk.instances.probe(id, { idempotencyKey: 'probe' })).server.probedAt).toBe(first.server.probedAt);
      expect(await refusal(sdk.instances.probe(into, { idempotencyKey: 'probe' }))).toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
      expect(await caught(sdk.instances.probe(id))).toMatchObject({ code: 'CONNECT_FAILED' });
      await sdk.instances.remove(id);
    } finally {
      await server.stop();
    }
  });

  it('twenty calls at once with one key make one backup', async () => {
    const { sdk } = service;
    const before = await count();
    const calls = await Promise.all(Array.from({ length: 20 }, () => sdk.backups.create({ instanceId: instance.id, name: 'storm' }, { idempotencyKey: 'storm' })));
    expect(new Set(calls.map((call) => idsOf(call).join())).size).toBe(1);
    expect(await count()).toBe(before + 1);
    await sdk.backups.wait(calls[0] as BackupAndJob);
  });

  it('a refused call leaves its key free', async () => {
    const { sdk } = service;
    const input = { instanceId: instance.id, idempotencyKey: 'refused' };
    expect(await caught(sdk.backups.create({ ...input, name: '' }))).toMatchObject({ code: 'BAD_INPUT' });
    await saveSlowly(source, 20_000);
    const running = await sdk.backups.create({ instanceId: instance.id, name: 'in the way' });
    expect(await caught(sdk.backups.create({ ...input, name: 'refused at first' }))).toMatchObject({ code: 'INSTANCE_BUSY' });
    await sdk.jobs.cancel(running.job);
    await caught(sdk.jobs.wait(running.job));
    await saveSlowly(source, 0);
    expect(await sdk.backups.wait(await sdk.backups.create({ ...input, name: 'refused at first' }))).toMatchObject({ state: 'AVAILABLE' });
  });

  it('a server that is worked on is busy with the job that is told; another one is not', async () => {
    const { sdk } = service;
    await saveSlowly(source, 20_000);
    const running = await sdk.backups.create({ instanceId: instance.id, name: 'long' });
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: instance.id });
    for (const work of [
      () => sdk.backups.create({ instanceId: instance.id, name: 'second' }),
      () => sdk.restores.run({ planId: plan.id, confirmation: 'source', acceptedWarnings: toAccept(plan) }),
    ]) expect(await caught(work())).toMatchObject({ kind: 'user_input', code: 'INSTANCE_BUSY', jobId: running.job.id, retryable: true });
    expect(await caught(sdk.instances.remove(instance))).toMatchObject({ code: 'INSTANCE_BUSY', message: expect.stringContaining(running.job.id) as string });
    expect((await sdk.instances.get(instance))?.runningJob).toMatchObject({ id: running.job.id, kind: 'BACKUP' });
    const racing = await Promise.all(Array.from({ length: 5 }, async (_, i) => sdk.backups.create({ instanceId: into.id, name: `race ${String(i)}` }).catch(() => undefined)));
    expect(racing.filter((call) => call !== undefined)).toHaveLength(1);
    await sdk.jobs.cancel(running.job);
    await caught(sdk.jobs.wait(running.job));
    await saveSlowly(source, 0);
    await sdk.jobs.wait(racing.find((call) => call !== undefined)?.job.id ?? '');
    expect((await sdk.instances.get(instance))?.runningJob).toBeNull();
    // The refused restore has not used its plan up.
    expect(await sdk.restores.getPlan(plan)).toMatchObject({ state: 'READY' });
  });

  it('a restore starts only by a plan that is fresh, unused, confirmed by name, and whose warnings are accepted', async () => {
    const { sdk } = service;
    const [old, master] = [await digest(target), await target.cli('ROLE')];
    const limited = await startRedis({ acl: ['restorer on >canary-password-55e1 ~* &* +@all -client|list'] });
    try {
      const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: into.id });
      expect(plan).toMatchObject({ state: 'READY', keysNow: [{ database: 0, keys: '10' }], keysAfter: [{ database: 0, keys: '3000' }], blockers: [], confirmationText: 'target' });
      for (const confirmation of ['', 'Target', 'target ', 'source', into.id]) {
        expect(await refusal(sdk.restores.run({ planId: plan.id, confirmation }))).toEqual({ code: 'CONFIRMATION_REQUIRED', field: ['confirmation'] });
      }
      expect(await refusal(sdk.restores.run({ planId: plan.id, confirmation: 'target', acceptedWarnings: ['no name'] }))).toEqual({ code: 'BAD_INPUT', field: ['acceptedWarnings'] });

      // A check whose right is missing has to be accepted by its name, and by no other.
      const blind = await register(service, 'blind', limited, { username: 'restorer', password: 'canary-password-55e1' });
      const warned = await sdk.restores.plan({ backupId: backup.id, instanceId: blind.id });
      expect(toAccept(warned)).toEqual(['UNCHECKED_SENTINEL']);
      for (const acceptedWarnings of [[], ['UNCHECKED_CONFIG'], ['unchecked_sentinel'.toUpperCase().slice(1)]]) {
        expect(await refusal(sdk.restores.run({ planId: warned.id, confirmation: 'blind', acceptedWarnings }))).toEqual({ code: 'CONFIRMATION_REQUIRED', field: ['acceptedWarnings'] });
      }
      expect(await limited.cli('DBSIZE')).toBe('0');
      await sdk.restores.wait(await sdk.restores.run({ planId: warned.id, confirmation: 'blind', acceptedWarnings: toAccept(warned) }));
      expect(await digest(limited)).toBe(await digest(source));
      expect(await refusal(sdk.restores.run({ planId: warned.id, confirmation: 'blind', acceptedWarnings: toAccept(warned) }))).toEqual({ code: 'CONFIRMATION_REQUIRED', field: ['planId'] });
      expect(await sdk.restores.getPlan(warned)).toMatchObject({ state: 'USED' });

      ahead = 10 * MINUTE + 1_000;
      expect(await sdk.restores.getPlan(plan)).toMatchObject({ state: 'EXPIRED' });
      expect(await refusal(sdk.restores.run({ planId: plan.id, confirmation: 'target' }))).toEqual({ code: 'CONFIRMATION_REQUIRED', field: ['planId'] });
      ahead = 0;

      // Nothing has happened to the target by any of these.
      expect([await digest(target), await target.cli('ROLE')]).toEqual([old, master]);
      expect(await sdk.restores.list({ instanceId: into.id }).toArray({ limit: 5 })).toEqual([]);
    } finally {
      await limited.stop();
    }
  });

  it('a plan is bound to the target as it was: a restart in between needs a new one', async () => {
    const { sdk } = service;
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: into.id });
    await target.restart();
    await target.cli('SET', 'only', 'this');
    const { restore, job } = await sdk.restores.run({ planId: plan.id, confirmation: 'target', acceptedWarnings: toAccept(plan) });
    expect(await caught(sdk.restores.wait(restore))).toMatchObject({ kind: 'job_failed', code: 'CONFIRMATION_REQUIRED' });
    expect(await sdk.jobs.get(job)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'CONFIRMATION_REQUIRED', hint: expect.stringContaining('plan') as string } });
    expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD' });
    expect(await target.cli('DBSIZE')).toBe('1');
    expect(service.logs()).not.toContain('canary-password-55e1');
  });
});
