import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Client, type Instance } from '@snapback/sdk';
import { blocksOnSignal, clockOffBy, firstKeyOf, type NodeProcess } from '../kit/node-process.js';
import { type RedisServer, startRedis } from '../kit/redis.js';
import { waitFor } from '../kit/wait.js';
import { type NodesScene, slowServer, startNodesScene } from '../e2e/nodes-scene.js';
import { populate } from '../e2e/scene.js';

const MINUTES = 60_000;
const BLOCKED_MS = 6_000;

describe('workers that die, sleep, lag and stop', () => {
  let scene: NodesScene;
  let source: RedisServer;
  let sdk: Client;
  let instance: Instance;
  let api: NodeProcess;

  /** Two workers at any time: both can be blocked, and the wall clock of each second one is a quarter of an hour ahead, of the others behind. */
  let made = 0;
  const startWorker = (env: Record<string, string> = {}): Promise<NodeProcess> => {
    made += 1;
    return scene.start({ env: { ROLE: 'worker', ...env }, preload: [blocksOnSignal(BLOCKED_MS), clockOffBy((made % 2 === 0 ? 15 : -15) * MINUTES)] });
  };
  const backUp = (name: string) => sdk.backups.create({ instanceId: instance.id, name });

  beforeAll(async () => {
    [scene, source] = await Promise.all([startNodesScene(), slowServer(2)]);
    api = await scene.start({ env: { ROLE: 'api' } });
    await Promise.all([startWorker(), startWorker()]);
    sdk = api.client(await firstKeyOf(scene.nodes));
    instance = await sdk.instances.register({ name: 'source', host: source.host, port: source.port });
  });
  afterAll(async () => {
    await Promise.all([scene?.stop(), source?.stop()]);
  });

  const expectWhole = async (backup: { id: string }): Promise<void> => {
    expect(await sdk.backups.get(backup.id)).toMatchObject({ state: 'AVAILABLE', keys: '400' });
    const link = await sdk.backups.link(backup.id);
    const bytes = Buffer.from(await (await fetch(link.url)).arrayBuffer());
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(link.sha256);
  };

  it('a clock that is a quarter of an hour off makes nothing early, late, or dated wrong', async () => {
    expect(scene.nodes.slice(1).every((node) => node.output().includes('clock differs from the database'))).toBe(true);
    const before = Date.now();
    const started = await backUp('dated');
    await scene.completed(started.job);
    const backup = await sdk.backups.get(started.backup.id);
    const [startedAt, completedAt] = [Date.parse(backup?.startedAt ?? ''), Date.parse(backup?.completedAt ?? '')];
    expect(startedAt).toBeGreaterThanOrEqual(before - 500);
    expect(completedAt).toBeGreaterThan(startedAt);
    expect(completedAt).toBeLessThanOrEqual(Date.now() + 500);
    const { phases } = (await sdk.jobs.get(started.job.id)) ?? { phases: [] };
    for (const { startedAt: at } of phases) expect(Date.parse(at)).toBeGreaterThanOrEqual(before - 500);

    // A planned run: the worker ahead does not begin it early, the one behind not late.
    const [policy] = await scene.sql<{ id: string; at: Date }>(
      `UPDATE backup_policies SET next_run_at = date_trunc('milliseconds', clock_timestamp() + interval '2 seconds') WHERE instance_id = $1 RETURNING id, next_run_at AS at`, [instance.id]);
    if (!policy) throw new Error('Every instance has a policy');
    await scene.sql(`UPDATE agenda_jobs SET id = gen_random_uuid(), next_run_at = $2 WHERE data ->> 'subject' = $1`, [policy.id, policy.at]);
    const slots = await waitFor(async () => {
      const found = await scene.sql<{ state: string; job_id: string; created_at: Date }>('SELECT s.state, s.job_id, j.created_at FROM slots s JOIN jobs j ON j.id = s.job_id WHERE s.policy_id = $1', [policy.id]);
      return found.length > 0 ? found : null;
    }, { message: 'the planned run' });
    expect(slots).toHaveLength(1);
    const late = (slots[0]?.created_at.getTime() ?? 0) - policy.at.getTime();
    expect(late).toBeGreaterThanOrEqual(-5);
    expect(late).toBeLessThan(MINUTES);
    await scene.completed({ id: slots[0]?.job_id ?? '' });
    expect(await scene.sql('SELECT state FROM slots WHERE policy_id = $1', [policy.id])).toEqual([{ state: 'STARTED' }]);
  });

  it('one that sleeps longer than its lease finds that the other one has finished, and can write nothing', async () => {
    const { backup, job } = await backUp('slept through');
    const sleeper = await scene.workerOf(job);
    sleeper.signal('SIGSTOP');
    await scene.expire(job);
    expect(await scene.completed(job)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
    await expectWhole(backup);
    const events = await scene.sql('SELECT sequence, kind, at FROM job_events WHERE job_id = $1 ORDER BY sequence', [job.id]);
    const rows = await scene.sql('SELECT * FROM backups WHERE id = $1', [backup.id]);
    const objects = await scene.objects(backup);

    sleeper.signal('SIGCONT');
    await waitFor(() => sleeper.output().includes('A run lost its lease and has stopped.'), { message: 'the sleeper to notice' });
    expect(await scene.sql('SELECT sequence, kind, at FROM job_events WHERE job_id = $1 ORDER BY sequence', [job.id])).toEqual(events);
    expect(await scene.sql('SELECT * FROM backups WHERE id = $1', [backup.id])).toEqual(rows);
    expect(await scene.objects(backup)).toEqual(objects);
    expect(objects.some((name) => name === 'rdb.2')).toBe(true);
    await waitFor(async () => (await scene.temporaries()).every((name) => !name.includes(backup.id)), { message: 'the sleeper\'s files to be gone' });
    await expectWhole(backup);
    expect(await scene.ends(job)).toBe(1);
    // It works on as before.
    expect(await sleeper.ready()).toMatchObject({ status: 200 });
  });

  it('one whose event loop is blocked for longer than its lease completes nothing a second time', async () => {
    const { backup, job } = await backUp('blocked');
    const blocked = await scene.workerOf(job);
    blocked.signal('SIGUSR2');
    await waitFor(() => blocked.output().includes('blocked\n'), { message: 'the worker to be blocked' });
    await scene.expire(job);
    expect(await scene.completed(job)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
    await waitFor(() => blocked.output().split('A run lost its lease').length > 1, { message: 'the blocked one to notice' });
    expect(await scene.ends(job)).toBe(1);
    await expectWhole(backup);
    expect(await scene.objects(backup)).toEqual(expect.arrayContaining(['manifest', 'rdb.2']));
    expect(await scene.objects(backup)).not.toContain('rdb');
  });

  it('one that is killed loses its job soon after its lease; a job without further attempts says INTERRUPTED', async () => {
    const { backup, job } = await backUp('killed');
    const victim = await scene.workerOf(job);
    await scene.sql('UPDATE jobs SET max_attempts = 1 WHERE id = $1', [job.id]);
    await victim.kill();
    await scene.expire(job);
    const expiredAt = performance.now();
    expect(await scene.completed(job)).toMatchObject({ conclusion: 'FAILED', attempt: 2 });
    // A second, and the pause before the next attempt, on a machine that does nothing else; the pass that looks after everything comes each half minute.
    expect(performance.now() - expiredAt).toBeLessThan(25_000);
    expect(await sdk.jobs.get(job.id)).toMatchObject({ failure: { code: 'INTERRUPTED' } });
    expect(await sdk.backups.get(backup.id)).toMatchObject({ state: 'FAILED' });
    await startWorker();
  });

  it('one that is stopped takes nothing new, lets its job end, and exits with 0', async () => {
    const { backup, job } = await backUp('drained');
    const leaving = await scene.workerOf(job);
    leaving.signal('SIGTERM');
    await waitFor(() => leaving.output().includes('SIGTERM: stopping.'));
    const quick = await startRedis();
    try {
      await populate(quick, 10, 10);
      const other = await sdk.instances.register({ name: 'quick', host: quick.host, port: quick.port });
      const meanwhile = await sdk.backups.create({ instanceId: other.id, name: 'taken by the other one' });
      await waitFor(async () => (await scene.row(meanwhile.job)).state !== 'QUEUED');
      expect((await scene.row(meanwhile.job)).worker ?? '').not.toContain(`-${String(leaving.pid)}-`);
      await scene.completed(meanwhile.job);
    } finally {
      await quick.stop();
    }
    expect(await leaving.ended()).toBe(0);
    expect(await scene.row(job)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 1 });
    await expectWhole(backup);
    expect(leaving.output()).not.toMatch(/connection broke|ERROR/);
  });

  it('one that is stopped in the middle of a long job hands it over at once, and the job keeps its attempts', async () => {
    const others = scene.nodes.filter((node) => node !== api && node.running());
    const leaving = await startWorker({ DRAIN_SECONDS: '0' });
    for (const other of others) other.signal('SIGSTOP');
    const { backup, job } = await backUp('handed over');
    expect((await scene.workerOf(job)).pid).toBe(leaving.pid);
    for (const other of others) other.signal('SIGCONT');
    const stoppedAt = performance.now();
    expect(await leaving.stop()).toBe(0);
    await waitFor(async () => (await scene.row(job)).attempt === 2, { message: 'the other worker to take it' });
    // Not when the lease is over, which is a minute.
    expect(performance.now() - stoppedAt).toBeLessThan(30_000);
    await scene.completed(job);
    expect(await scene.sql('SELECT attempt, max_attempts, conclusion FROM jobs WHERE id = $1', [job.id])).toEqual([{ attempt: 2, max_attempts: 4, conclusion: 'SUCCEEDED' }]);
    await expectWhole(backup);
    expect(leaving.output()).not.toMatch(/connection broke|ERROR/);
  });
});
