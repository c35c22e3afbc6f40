import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { createWaker, startCollecting } from '../../../server/jobs/reconcile.js';
import { type TaskContext } from '../../../server/jobs/task.js';
import { createJobService } from '../../../server/services/job.service.js';
import { waitFor } from '../../kit/wait.js';
import { clock, expectWholeHistory, gate, type Rig, startRig, taskOf } from './rig.js';

/** Never renewed, never noticed: a worker that is stopped. */
const ASLEEP = { lease: { lifeMs: 60_000, renewMs: 60_000 }, onJobEvent: () => () => undefined };

describe('running jobs', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  const cancel = (jobId: string) =>
    createJobService({ db: rig.db, feed: rig.feed, clock, queue: { enqueueJob: () => Promise.resolve(), schedulePolicy: () => Promise.resolve() } }).cancel(rig.caller, { jobId });

  it('ten workers that are told of one job: one runs it', async () => {
    const job = await rig.insertJob();
    let runs = 0;
    const task = taskOf(() => Promise.resolve((runs += 1)));
    await Promise.all(Array.from({ length: 10 }, () => rig.runner(task).runJob(job.id)));
    expect(runs).toBe(1);
    expect(await rig.job(job.id)).toMatchObject({ state: 'COMPLETED', conclusion: 'SUCCEEDED', attempt: 1 });
    const events = await rig.events(job.id);
    expect(events.map(({ job_state }) => job_state)).toEqual(['QUEUED', 'RUNNING', 'COMPLETED']);
    expectWholeHistory(events);
  });

  it.each<[string, (asleep: TaskContext) => unknown]>([
    ['reports', (asleep) => asleep.onProgress({ kind: 'phase', phase: 'VERIFYING' })],
    ['writes', (asleep) => expect(asleep.write(() => Promise.resolve('written'))).rejects.toMatchObject({ code: 'INTERRUPTED' })],
  ])('a worker that slept through its lease and then %s changes nothing, neither state nor events; the other one concludes', async (_what, wakeUp) => {
    const job = await rig.insertJob();
    const asleep = gate();
    const ended: string[] = [];
    let context: TaskContext | undefined;
    const first = rig.runner(taskOf(async (given) => {
      context = given;
      given.onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
      await asleep.pass();
    }, ended), ASLEEP);
    const sleeping = first.runJob(job.id);
    await asleep.reached();
    await waitFor(async () => (await rig.job(job.id)).phase === 'TRANSFERRING');
    await rig.expire(job.id);
    const queued: string[] = [];
    const queue = { enqueueJob: (id: string) => Promise.resolve(void queued.push(id)), schedulePolicy: () => Promise.resolve() };
    const waker = createWaker({ queue, log: rig.log });
    const collecting = startCollecting({ db: rig.db, clock, log: rig.log, queue, waker }, 20);
    try {
      await waitFor(() => queued.includes(job.id), { message: 'the job to be queued again after its wait' });
    } finally {
      await collecting.stop();
      waker.stop();
    }
    expect(await rig.job(job.id)).toMatchObject({ state: 'QUEUED', attempt: 1 });
    const other = gate();
    const running = rig.runner(taskOf(() => other.pass())).runJob(job.id);
    await other.reached();

    // It wakes up, and knows of nothing.
    expect(context?.signal.aborted).toBe(false);
    const known = [await rig.job(job.id), await rig.events(job.id)];
    await wakeUp(context as TaskContext);
    await waitFor(() => context?.signal.aborted === true, { message: 'it to learn that its lease is lost' });
    expect([await rig.job(job.id), await rig.events(job.id)]).toEqual(known);
    await expect(context?.assertOwned()).rejects.toMatchObject({ code: 'INTERRUPTED' });
    other.open();
    await running;
    expect(await rig.job(job.id)).toMatchObject({ state: 'COMPLETED', conclusion: 'SUCCEEDED', attempt: 2 });
    const done = await rig.events(job.id);
    context?.onProgress({ kind: 'phase', phase: 'SEALING' });
    asleep.open();
    await sleeping;
    expect(ended).toEqual([]);
    expect(await rig.events(job.id)).toEqual(done);
    expectWholeHistory(done);
  });

  it('a run whose lease nobody could renew stops by its own clock', async () => {
    const job = await rig.insertJob();
    // A database that answers nothing about leases.
    const deaf = { ...rig.db, read: { ...rig.db.read, runs: { ...rig.db.read.runs, renew: () => new Promise<never>(() => undefined) } } };
    let reason: unknown;
    const runner = rig.runner(taskOf(({ signal }) => new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reason = signal.reason;
        reject(signal.reason as Error);
      });
    })), { db: deaf, lease: { lifeMs: 200, renewMs: 50 } });
    await runner.runJob(job.id);
    expect(reason).toMatchObject({ code: 'INTERRUPTED', retryable: true });
    expect((await rig.job(job.id)).state).toBe('RUNNING');
  });

  it('one that waits and one that runs are cancelled', async () => {
    const waiting = await rig.insertJob();
    expect(await cancel(waiting.id)).toMatchObject({ state: 'COMPLETED', conclusion: 'CANCELLED', attempt: 0 });
    let started = false;
    await rig.runner(taskOf(() => Promise.resolve((started = true)))).runJob(waiting.id);
    expect(started).toBe(false);

    const running = await rig.insertJob();
    const busy = gate();
    const ended: string[] = [];
    // Renewed late: the event alone tells the worker.
    const run = rig.runner(taskOf(({ signal }) => busy.pass(signal), ended), { lease: { lifeMs: 60_000, renewMs: 60_000 } }).runJob(running.id);
    await busy.reached();
    await cancel(running.id);
    await run;
    expect(ended).toEqual(['fail INTERRUPTED cancelled']);
    expect(await rig.job(running.id)).toMatchObject({ state: 'COMPLETED', conclusion: 'CANCELLED', failure: null, cancellable: false });
  });

  it('a request to cancel that the task meets before the worker does still ends it as CANCELLED', async () => {
    const job = await rig.insertJob();
    const ended: string[] = [];
    await rig.runner(taskOf(async ({ write, fence }) => {
      await rig.db.transaction((tx) => tx.jobs.change(job.id, { states: ['RUNNING'], cancellable: true }, { cancelRequestedAt: new Date() }, { kind: 'NOTICE', at: new Date() }));
      await write(async (tx) => {
        if (!(await tx.jobs.change(job.id, { fence, uncancelled: true }, { cancellable: false }, { kind: 'STATE', at: new Date() }))) throw new DomainError('INTERRUPTED', 'The restore was cancelled.');
      });
    }, ended), { onJobEvent: () => () => undefined, lease: ASLEEP.lease }).runJob(job.id);
    expect(ended).toEqual(['fail INTERRUPTED cancelled']);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'CANCELLED', failure: null });
  });

  it('cancelling and the point of no return: one of them holds, never both', async () => {
    const outcomes = await Promise.all(Array.from({ length: 12 }, async () => {
      const job = await rig.insertJob();
      const at = gate();
      let passed = false;
      const run = rig.runner(taskOf(async ({ write, fence }) => {
        await at.pass();
        await write(async (tx) => {
          if (!(await tx.jobs.change(job.id, { fence, uncancelled: true }, { cancellable: false }, { kind: 'STATE', at: new Date() }))) throw new DomainError('INTERRUPTED', 'cancelled');
        });
        passed = true;
      })).runJob(job.id);
      await at.reached();
      at.open();
      const refused = await cancel(job.id).then(({ cancelRequestedAt }) => cancelRequestedAt === null, (error: unknown) => error instanceof DomainError && error.code === 'CONFLICT');
      await run;
      const { conclusion } = await rig.job(job.id);
      return { passed, refused, conclusion };
    }));
    for (const { passed, refused, conclusion } of outcomes) {
      expect({ refused, conclusion }).toEqual(passed ? { refused: true, conclusion: 'SUCCEEDED' } : { refused: false, conclusion: 'CANCELLED' });
    }
  });

  it('a job of a service that stops goes to another one, which ends it', async () => {
    const job = await rig.insertJob();
    const busy = gate();
    const requeued: string[] = [];
    const stopping = rig.runner(taskOf(({ signal }) => busy.pass(signal)), { requeue: (id) => Promise.resolve(void requeued.push(id)) });
    const run = stopping.runJob(job.id);
    await busy.reached();
    stopping.interrupt();
    await run;
    expect(requeued).toEqual([job.id]);
    expect(await rig.job(job.id)).toMatchObject({ state: 'QUEUED', conclusion: null, failure: null });
    await expect(stopping.runJob(job.id)).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await rig.runner(taskOf(() => Promise.resolve())).runJob(job.id);
    expect(await rig.job(job.id)).toMatchObject({ state: 'COMPLETED', conclusion: 'SUCCEEDED', attempt: 2 });
    expectWholeHistory(await rig.events(job.id));
  });

  it('a job that was interrupted too often is given up, and says so', async () => {
    const job = await rig.insertJob({ maxAttempts: 1 });
    const ended: string[] = [];
    await rig.sql('UPDATE jobs SET attempt = 1 WHERE id = $1', [job.id]);
    await rig.runner(taskOf(() => Promise.reject(new Error('must not run')), ended)).runJob(job.id);
    expect(ended).toEqual(['fail INTERRUPTED']);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'INTERRUPTED', hint: expect.stringContaining('log') as string } });
  });

  it('what is to be known about it is kept in its row, in order and to a limit, and is in each later event', async () => {
    const job = await rig.insertJob();
    await rig.runner(taskOf(({ onProgress }) => {
      for (let i = 0; i < 105; i += 1) onProgress({ kind: 'notice', code: `N${i}`, message: 'to know' });
      return Promise.resolve();
    })).runJob(job.id);
    const { notices } = await rig.job(job.id);
    expect(notices.map(({ code }) => code)).toEqual(Array.from({ length: 100 }, (_, i) => `N${i}`));
    expect(notices[0]).toEqual({ code: 'N0', message: 'to know' });
    const counts = await rig.sql<{ count: number }>(`SELECT jsonb_array_length(job -> 'notices') AS count FROM job_events WHERE job_id = $1 ORDER BY sequence`, [job.id]);
    expect(counts.map(({ count }) => count)).toEqual([0, 0, ...Array.from({ length: 105 }, (_, i) => Math.min(i + 1, 100)), 100]);
  });

  it('texts of foreign servers that jsonb does not take are kept nearly as they are', async () => {
    const job = await rig.insertJob();
    await rig.runner(taskOf(({ onProgress }) => {
      onProgress({ kind: 'notice', code: 'ODD', message: 'a\u0000b' });
      return Promise.reject(new DomainError('PROTOCOL_ERROR', 'It said "\u0000".', { hint: 'Look there.' }));
    })).runJob(job.id);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'PROTOCOL_ERROR', message: 'It said "\uFFFD".' }, notices: [{ code: 'ODD', message: 'a\uFFFDb' }] });
    expect(await rig.sql('SELECT notice FROM job_events WHERE job_id = $1 AND notice IS NOT NULL', [job.id])).toEqual([{ notice: { code: 'ODD', message: 'a\uFFFDb' } }]);
  });
});

describe('running jobs while connections to the database break', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  it('goes on in the same attempt; no phase is lost and the end is written', async () => {
    const job = await rig.insertJob();
    const ended: string[] = [];
    await rig.runner(taskOf(async ({ onProgress, assertOwned, write }) => {
      onProgress({ kind: 'phase', phase: 'PREPARING' });
      await waitFor(async () => (await rig.job(job.id)).phase === 'PREPARING');
      expect(await rig.cutConnections()).toBeGreaterThan(1);
      onProgress({ kind: 'phase', phase: 'TRANSFERRING' });
      await assertOwned();
      await rig.cutConnections();
      onProgress({ kind: 'notice', code: 'N', message: 'kept' });
      expect(await write((tx) => tx.now())).toBeInstanceOf(Date);
      await rig.cutConnections();
      onProgress({ kind: 'phase', phase: 'SEALING' });
    }, ended)).runJob(job.id);
    expect(ended).toEqual(['finish']);
    const done = await rig.job(job.id);
    expect(done).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 1 });
    expect(done.phases.map(({ phase }) => phase)).toEqual(['PREPARING', 'TRANSFERRING', 'SEALING']);
    expect((await rig.events(job.id)).map(({ kind }) => kind)).toEqual(['STATE', 'STATE', 'PHASE', 'PHASE', 'NOTICE', 'PHASE', 'STATE']);
    await waitFor(() => rig.hub.listening, { message: 'announcements to arrive again' });
  });

  it('the end is written though its transaction is cut', async () => {
    const job = await rig.insertJob();
    let tries = 0;
    await rig.runner({
      run: () => Promise.resolve(async (tx) => {
        tries += 1;
        if (tries === 1) await rig.cutConnections();
        await tx.now();
      }),
      fail: () => () => Promise.reject(new Error('must not fail')),
    }).runJob(job.id);
    expect(tries).toBe(2);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 1 });
  });

  it('a task that could not read its rows gives its job back instead of failing it', async () => {
    const job = await rig.insertJob();
    const requeued: string[] = [];
    const requeue = (id: string): Promise<void> => Promise.resolve(void requeued.push(id));
    await rig.runner(taskOf(async () => {
      await rig.db.transaction(async (tx) => {
        await rig.cutConnections();
        await tx.now();
      });
    }), { requeue }).runJob(job.id);
    expect(requeued).toEqual([job.id]);
    expect(await rig.job(job.id)).toMatchObject({ state: 'QUEUED', attempt: 1, failure: null });
  });
});
