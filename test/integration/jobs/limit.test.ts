import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Runner } from '../../../server/jobs/runner.js';
import { type TaskContext } from '../../../server/jobs/task.js';
import { waitFor } from '../../kit/wait.js';
import { gate, type Rig, startRig, taskOf } from './rig.js';

describe('a limit for all nodes together', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  const running = async (): Promise<number> => Number((await rig.sql<{ count: string }>(`SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND lease_until > clock_timestamp()`))[0]?.count);

  it('holds under races, and each end wakes who was refused', async () => {
    const jobs = await Promise.all(Array.from({ length: 20 }, () => rig.insertJob()));
    let [now, most] = [0, 0];
    const task = taskOf(async () => {
      now += 1;
      most = Math.max(most, now, await running());
      await new Promise((resolve) => setTimeout(resolve, 20));
      now -= 1;
    });
    const runners: Runner[] = [];
    const tell = async (id: string): Promise<void> => {
      void runners[Math.floor(Math.random() * runners.length)]?.runJob(id);
      return Promise.resolve();
    };
    for (let node = 0; node < 6; node += 1) runners.push(rig.runner(task, { totalLimit: 3, requeue: tell }));
    // All nodes are told of all jobs at once, and of none of them ever again but by those that end.
    await Promise.all(runners.flatMap((runner) => jobs.map(({ id }) => runner.runJob(id))));
    await waitFor(async () => (await Promise.all(jobs.map(({ id }) => rig.job(id)))).every(({ conclusion }) => conclusion === 'SUCCEEDED'), { message: 'all jobs to end' });
    expect(most).toBe(3);
  });

  it('does not count runs whose lease is over', async () => {
    const [dead, next] = [await rig.insertJob(), await rig.insertJob()];
    const claim = (id: string) => rig.db.transaction((tx) => tx.runs.claim(id, { worker: 'w', leaseMs: 60_000, limit: 1, at: new Date() }));
    expect(await claim(dead.id)).not.toBeNull();
    expect(await claim(next.id)).toBeNull();
    await rig.expire(dead.id);
    expect(await claim(next.id)).not.toBeNull();
  });
});

describe('a runner that drains', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  it('waits for what ends in time, and interrupts what does not; neither costs an attempt', async () => {
    const [short, long] = [await rig.insertJob(), await rig.insertJob()];
    const [first, second] = [gate(), gate()];
    const requeued: string[] = [];
    const start = () => rig.runner(taskOf(({ job, signal }) => (job.id === short.id ? first : second).pass(signal)), { requeue: (id) => Promise.resolve(void requeued.push(id)) });
    const [patient, hasty] = [start(), start()];
    const runs = [patient.runJob(short.id), hasty.runJob(long.id)];
    await first.reached();
    await second.reached();
    const drained = patient.drain({ drainMs: 600_000, graceMs: 60_000 });
    setTimeout(first.open, 50);
    await drained;
    await hasty.drain({ drainMs: 50, graceMs: 60_000 });
    await Promise.all(runs);
    expect(await rig.job(short.id)).toMatchObject({ conclusion: 'SUCCEEDED' });
    expect(await rig.job(long.id)).toMatchObject({ state: 'QUEUED', attempt: 1, failure: null });
    expect(await rig.sql('SELECT max_attempts FROM jobs WHERE id = $1', [long.id])).toEqual([{ max_attempts: 4 }]);
    expect(requeued).toEqual([long.id]);
  });

  it('hands over what cannot be interrupted, which then writes nothing any more', async () => {
    const job = await rig.insertJob();
    const deaf = gate();
    let context: TaskContext | undefined;
    const requeued: string[] = [];
    const ended: string[] = [];
    const runner = rig.runner(taskOf((given) => {
      context = given;
      return deaf.pass();
    }, ended), { requeue: (id) => Promise.resolve(void requeued.push(id)) });
    const run = runner.runJob(job.id);
    await deaf.reached();
    await runner.drain({ drainMs: 0, graceMs: 50 });
    expect(requeued).toEqual([job.id]);
    const handedOver = await rig.job(job.id);
    expect(handedOver).toMatchObject({ state: 'QUEUED', attempt: 1 });
    await rig.runner(taskOf(() => Promise.resolve())).runJob(job.id);
    const done = await rig.events(job.id);

    await expect(context?.assertOwned()).rejects.toMatchObject({ code: 'INTERRUPTED' });
    context?.onProgress({ kind: 'phase', phase: 'SEALING' });
    deaf.open();
    await run;
    expect(ended).toEqual([]);
    expect(await rig.events(job.id)).toEqual(done);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
  });
});
