import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, type Instance, type Job } from '@snapback/sdk';
import { firstKeyOf } from '../kit/node-process.js';
import { startRedis, type RedisServer, type RedisServerOptions } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { type NodesScene, startNodesScene } from '../e2e/nodes-scene.js';
import { backUp, caught, infoOf, populate, refusal, register, startRestore } from '../e2e/scene.js';

const DELAY = 'repl-diskless-sync-delay';
const servers: RedisServer[] = [];
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
});

/** With the delay that a server has by itself: the kit's own servers have none. */
const start = async (seconds = 5, options: RedisServerOptions = {}): Promise<RedisServer> => {
  const server = await startRedis({ ...options, config: { [DELAY]: String(seconds), ...options.config } });
  servers.push(server);
  await populate(server, 100, 10);
  return server;
};
const delayOf = async (server: RedisServer): Promise<string> => (await server.cli('CONFIG', 'GET', DELAY)).split('\n')[1] ?? '';
const changes = async (server: RedisServer): Promise<number> => Number(/cmdstat_config\|set:calls=(\d+)/.exec(await server.cli('INFO', 'commandstats'))?.[1] ?? 0);
/** From the request for the data until it came. */
const waitedMs = (job: Job | null): number => {
  const phase = job?.phases.find(({ phase: name }) => name === 'SNAPSHOTTING');
  return Date.parse(phase?.endedAt ?? '') - Date.parse(phase?.startedAt ?? '');
};
const codes = (job: Job | null | undefined): string[] => job?.notices.map(({ code }) => code) ?? [];

describe('an instance whose backups skip the server\'s delay', () => {
  let service: TestService;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service?.stop());
  const sql = async (text: string, parameters: unknown[] = []): Promise<Record<string, unknown>[]> => {
    const { Client: Postgres } = await import('pg');
    const client = new Postgres({ connectionString: service.databaseUrl });
    await client.connect();
    try {
      return (await client.query(text, parameters)).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };

  it('waits for nothing, and leaves its server as it was; without the setting nothing of it is touched', async () => {
    const { sdk } = service;
    // The server counts in whole seconds.
    const server = await start(2);
    const { id: instanceId, skipSyncDelay } = await register(service, 'plain', server);
    expect(skipSyncDelay).toBe(false);
    const waited = await sdk.jobs.get((await backUp(service, instanceId)).job?.id ?? '');
    expect([codes(waited), await changes(server)]).toEqual([[], 0]);
    expect(waitedMs(waited)).toBeGreaterThan(500);

    await server.cli('CONFIG', 'SET', DELAY, '60');
    expect(await sdk.instances.update({ instanceId, skipSyncDelay: true })).toMatchObject({ skipSyncDelay: true, name: 'plain' });
    const quick = await backUp(service, instanceId);
    expect(quick).toMatchObject({ state: 'AVAILABLE', keys: '100' });
    const job = await sdk.jobs.get(quick.job?.id ?? '');
    expect(job?.notices).toEqual([{ code: 'SYNC_DELAY_SKIPPED', message: expect.stringMatching(/was 0 instead of 60 for \d+ ms, and is 60 again\.$/) as string }]);
    expect(waitedMs(job)).toBeLessThan(40_000);
    expect([await delayOf(server), await changes(server)]).toEqual(['60', 3]);
    expect(await sql('SELECT * FROM sync_delay_holds')).toEqual([]);
    expect(await sdk.instances.update({ instanceId, name: 'renamed' })).toMatchObject({ skipSyncDelay: true });
    expect(await sdk.instances.update({ instanceId, skipSyncDelay: false })).toMatchObject({ skipSyncDelay: false });
  });

  it('has it skipped for the safety backup of a restore into it, too', async () => {
    const { sdk } = service;
    const [source, target] = await Promise.all([start(0), start(5)]);
    const backup = await backUp(service, (await register(service, 'source', source)).id);
    const into = await register(service, 'target', target, { skipSyncDelay: true });
    const { restore, job } = await startRestore(service, backup.id, into, { safetyBackup: true });
    expect(await sdk.restores.wait(restore, { timeoutMs: 60_000 })).toMatchObject({ dataNow: 'NEW', safetyBackup: { state: 'AVAILABLE' } });
    expect(codes(await sdk.jobs.get(job))).toContain('SYNC_DELAY_SKIPPED');
    expect([await delayOf(target), (await infoOf(target))['role']]).toEqual(['5', 'master']);
  });

  it('says in its job, and so with its backup, why it had to wait: a replica is attached', async () => {
    const server = await start(1);
    servers.push(await startRedis({ replicaOf: server }));
    await waitFor(async () => (await server.cli('INFO', 'replication')).includes('state=online'), { message: 'the replica to follow' });
    const instance = await register(service, 'with a replica', server, { skipSyncDelay: true, sourcePreference: 'MASTER' });
    const { job } = await backUp(service, instance.id);
    expect((await service.sdk.jobs.get(job?.id ?? ''))?.notices).toEqual([{ code: 'SYNC_DELAY_KEPT', message: expect.stringContaining('1 replica is attached') as string }]);
    expect([await delayOf(server), await changes(server)]).toEqual(['1', 0]);
  });

  it('keeps its credentials, and stays where it is, while its server may still have our value', async () => {
    const { sdk } = service;
    const [server, elsewhere] = await Promise.all([start(1), start(0)]);
    const instance = await register(service, 'cut off', server, { skipSyncDelay: true });
    const { job } = await backUp(service, instance.id);
    // As a run leaves it whose process was killed, and whose server has not answered since.
    const leave = () => sql(
      `INSERT INTO sync_delay_holds (run_id, project_id, instance_id, job_id, fence, host, port, before, ours, created_at, due_at)
       SELECT $1, project_id, id, $2, 1, host, port, '1', '0', clock_timestamp(), 'infinity' FROM instances WHERE id = $3`, [instance.server.runId, job?.id, instance.id]);
    await leave();
    await server.cli('CONFIG', 'SET', DELAY, '0');
    expect(await refusal(sdk.instances.remove(instance))).toEqual({ code: 'CONFIRMATION_REQUIRED', field: ['abandonTarget'] });
    expect((await caught(sdk.instances.remove(instance))).message).toContain(`CONFIG SET ${DELAY} 1`);
    expect(await caught(sdk.instances.update({ instanceId: instance.id, port: elsewhere.port }))).toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(DELAY) as string });
    expect(await sdk.instances.update({ instanceId: instance.id, host: 'localhost', skipSyncDelay: false })).toMatchObject({ host: 'localhost' });

    // The next backup puts it back before it begins, though it skips nothing itself.
    await backUp(service, instance.id, 'the next one');
    expect([await delayOf(server), await sql('SELECT * FROM sync_delay_holds')]).toEqual(['1', []]);
    expect(codes(await sdk.jobs.get(job?.id ?? ''))).toEqual(['SYNC_DELAY_SKIPPED', 'SYNC_DELAY_SETTLED']);

    await leave();
    expect(await sdk.instances.remove({ instanceId: instance.id, abandonTarget: true })).toMatchObject({ removedAt: expect.any(String) as string });
    expect(await sql('SELECT * FROM sync_delay_holds')).toEqual([]);
  });
});

describe('a worker that is killed while delays are its own', () => {
  const LONG = 60;
  let scene: NodesScene;
  let sdk: Client;
  beforeAll(async () => {
    scene = await startNodesScene();
    const api = await scene.start({ env: { ROLE: 'api' } });
    sdk = api.client(await firstKeyOf(scene.nodes));
  });
  afterAll(() => scene?.stop());

  /** Another child keeps the server from saving for us, so that its delay stays away until `free`. */
  const occupied = async (name: string): Promise<{ server: RedisServer; instance: Instance; free: () => Promise<unknown> }> => {
    const server = await start(LONG);
    await server.cli('CONFIG', 'SET', 'rdb-key-save-delay', '600000');
    await server.cli('BGSAVE');
    await server.cli('CONFIG', 'SET', 'rdb-key-save-delay', '0');
    return { server, instance: await sdk.instances.register({ name, host: server.host, port: server.port, skipSyncDelay: true }), free: () => server.cli('FLUSHALL') };
  };
  const holds = () => scene.sql<{ run_id: string }>('SELECT run_id FROM sync_delay_holds');

  it('leaves nothing behind: the next attempt, or any pass, puts them back, and what a foreign CONFIG REWRITE has kept is told', async () => {
    const [again, over, rewritten] = await Promise.all([occupied('again'), occupied('over'), occupied('rewritten')]);
    const all = [again, over, rewritten];
    const worker = await scene.start({ env: { ROLE: 'worker', NET_SECONDS: '1' } });
    const jobs = await Promise.all(all.map(async ({ instance }) => (await sdk.backups.create({ instanceId: instance.id, name: 'cut off' })).job.id));
    const jobOf = (at: number): Promise<Job | null> => sdk.jobs.get(jobs[at] ?? '');
    await waitFor(async () => {
      const values = await Promise.all(all.map(({ server }) => delayOf(server)));
      return values.every((value) => value === '0') && (await Promise.all(jobs.map((id) => sdk.jobs.get(id)))).every((job) => job?.phase === 'SNAPSHOTTING');
    }, { message: 'all delays to be taken away' });
    expect(await holds()).toHaveLength(3);
    await worker.kill();
    for (const id of jobs) await scene.expire({ id });
    expect(await Promise.all(all.map(({ server }) => delayOf(server)))).toEqual(['0', '0', '0']);
    await scene.sql('UPDATE jobs SET max_attempts = 1 WHERE id = $1', [jobs[1]]);
    await rewritten.server.cli('CONFIG', 'REWRITE');
    await rewritten.server.restart({ signal: 'SIGKILL' });
    const before = await changes(rewritten.server);

    await scene.start({ env: { ROLE: 'worker', NET_SECONDS: '1' } });
    // The first is at it again, and has taken the delay away anew.
    await waitFor(async () => codes(await jobOf(0)).includes('SYNC_DELAY_SETTLED'), { message: 'the next attempt to settle' });
    await waitFor(async () => (await jobOf(0))?.phase === 'SNAPSHOTTING', { message: 'the next attempt to ask again' });
    await again.free();
    expect(await scene.completed({ id: jobs[0] ?? '' })).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
    expect(codes(await jobOf(0))).toEqual(['SYNC_DELAY_SETTLED', 'SYNC_DELAY_SKIPPED']);
    expect(await scene.completed({ id: jobs[1] ?? '' })).toMatchObject({ conclusion: 'FAILED' });
    await waitFor(async () => codes(await jobOf(1)).includes('SYNC_DELAY_SETTLED'), { message: 'a pass to settle what its job left' });
    expect(await scene.completed({ id: jobs[2] ?? '' })).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
    const [told, none] = (await jobOf(2))?.notices ?? [];
    expect(told).toMatchObject({ code: 'SYNC_DELAY_LEFT_ALONE', message: expect.stringContaining('CONFIG REWRITE has kept ours') as string });
    expect(none).toMatchObject({ code: 'SYNC_DELAY_NONE' });
    expect(await Promise.all(all.map(({ server }) => delayOf(server)))).toEqual([String(LONG), String(LONG), '0']);
    expect(await changes(rewritten.server)).toBe(before);
    expect(await holds()).toEqual([]);
  });
});
