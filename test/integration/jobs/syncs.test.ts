import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DomainError, retryAtOf } from '../../../server/domain/errors.js';
import { type SyncLimits } from '../../../server/domain/source-sync.js';
import { type SyncAttempt } from '../../../server/engine/ports.js';
import { createWaker } from '../../../server/jobs/reconcile.js';
import { type TaskContext } from '../../../server/jobs/task.js';
import { createJobService } from '../../../server/services/job.service.js';
import { createSyncGate } from '../../../server/services/source-syncs.js';
import { waitFor } from '../../kit/wait.js';
import { clock, gate, type Rig, startRig, taskOf } from './rig.js';

let rig: Rig;
beforeAll(async () => { rig = await startRig(); });
afterAll(async () => { await rig?.stop(); });

const LIMITS: SyncLimits = { windowMs: 600_000, most: 4, mostFailed: 2 };
const server = () => ({ runId: randomBytes(20).toString('hex'), address: '10.0.0.5:6379' });
const codeOf = (begun: Promise<SyncAttempt>): Promise<string> => begun.then(() => 'begun', (error: unknown) => (error as DomainError).code);

/** Runs on some node, each with a job of its own, until `end`. */
const runs = async (count: number, limits = LIMITS, options: { always?: boolean } = {}) => {
  const contexts: TaskContext[] = [];
  const over = gate();
  const running = Array.from({ length: count }, async () => {
    const job = await rig.insertJob();
    await rig.runner(taskOf(async (context) => {
      contexts.push(context);
      await over.pass(context.signal);
    })).runJob(job.id);
  });
  await waitFor(() => contexts.length === count, { message: 'all to run' });
  return {
    contexts,
    gates: contexts.map((context) => createSyncGate({ db: rig.db, log: rig.log, limits }, context, options)),
    async end() {
      over.open();
      await Promise.all(running);
    },
  };
};

describe('the gate of a server', () => {
  it('lets one in at a time, of however many that come at once, on whatever node', async () => {
    const { gates, end } = await runs(5);
    const one = server();
    const begun = await Promise.allSettled(gates.map((at) => at.begin(one)));
    expect(begun.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of begun) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'INSTANCE_BUSY' });
    // Another server is another matter.
    expect(await codeOf(gates[0]!.begin(server()))).toBe('begun');
    for (const outcome of begun) if (outcome.status === 'fulfilled') await outcome.value.end(true);
    expect(await codeOf(gates[1]!.begin(one))).toBe('begun');
    await end();
  });

  it('counts attempts, and such as came to nothing, and says when to come again', async () => {
    const { gates: [at], end } = await runs(1);
    const often = server();
    for (let i = 0; i < LIMITS.most; i += 1) await (await at!.begin(often)).end(true);
    const before = (await rig.db.read.now()).getTime();
    const refusal = await at!.begin(often).then(() => null, (error: unknown) => error as DomainError);
    expect(refusal).toMatchObject({ code: 'RATE_LIMITED' });
    const waits = (retryAtOf(refusal!)?.getTime() ?? 0) - before;
    expect(waits).toBeGreaterThan(LIMITS.windowMs - 20_000);
    expect(waits).toBeLessThanOrEqual(LIMITS.windowMs + 1_000);
    // A refused attempt is none: that one leaves the window opens the gate.
    await rig.sql(`UPDATE source_syncs SET started_at = started_at - interval '1 hour' WHERE id = (SELECT min(id) FROM source_syncs WHERE server_run_id = $1)`, [often.runId]);
    expect(await codeOf(at!.begin(often))).toBe('begun');

    const failing = server();
    for (let i = 0; i < LIMITS.mostFailed; i += 1) await (await at!.begin(failing)).end(false);
    expect(await codeOf(at!.begin(failing))).toBe('RATE_LIMITED');
    await end();
  });

  it('holds an attempt for failed whose run has died or lost its job', async () => {
    const dead = await runs(2, { ...LIMITS, mostFailed: 3 });
    const one = server();
    await dead.gates[0]!.begin(one);
    expect(await codeOf(dead.gates[1]!.begin(one))).toBe('INSTANCE_BUSY');
    await rig.expire(dead.contexts[0]!.job.id);
    const attempt = await dead.gates[1]!.begin(one);
    await attempt.end(true);
    expect(await rig.db.read.syncs.ofServer(one.runId, { windowMs: LIMITS.windowMs, exceptId: '' })).toMatchObject(
      expect.arrayContaining([expect.objectContaining({ state: 'FAILED' }), expect.objectContaining({ state: 'GOOD' })]) as object,
    );
    // Who has lost his job has lost the right to ask, too.
    await expect(dead.gates[0]!.begin(server())).rejects.toMatchObject({ code: 'INTERRUPTED' });
    await dead.end();
  });

  it('refuses no safety copy, and counts it', async () => {
    const { contexts, gates: [always], end } = await runs(1, { ...LIMITS, most: 1 }, { always: true });
    const one = server();
    for (let i = 0; i < 3; i += 1) await (await always!.begin(one)).end(false);
    expect(await codeOf(createSyncGate({ db: rig.db, log: rig.log, limits: LIMITS }, contexts[0]!).begin(one))).toBe('RATE_LIMITED');
    await end();
  });

  it('forgets what no window reaches any more, but nothing that runs', async () => {
    const { gates: [at], end } = await runs(1);
    const [over, running] = [server(), server()];
    await (await at!.begin(over)).end(true);
    await at!.begin(running);
    await rig.sql(`UPDATE source_syncs SET started_at = started_at - interval '3 days' WHERE server_run_id = ANY($1)`, [[over.runId, running.runId]]);
    await rig.db.read.syncs.forgetOld(1_000);
    expect(await rig.sql('SELECT server_run_id AS id FROM source_syncs WHERE server_run_id = ANY($1)', [[over.runId, running.runId]])).toEqual([{ id: running.runId }]);
    await end();
  });
});

describe('a job that waits', () => {
  const busy = new DomainError('RATE_LIMITED', 'The server is spared.', { retryable: true });
  const inTheWay = (waitMs: number) => ({ ...taskOf(() => Promise.reject(busy)), postpone: (_job: unknown, error: DomainError) => Promise.resolve(error.code === 'RATE_LIMITED' ? waitMs : null) });

  it('goes back to the queue with its attempts, says what it waits for, and goes on when the time has come', async () => {
    const job = await rig.insertJob({ maxAttempts: 1 });
    const woken: string[] = [];
    const waker = createWaker({ queue: { enqueueJob: (id) => Promise.resolve(void woken.push(id)), schedulePolicy: () => Promise.resolve() }, log: rig.log });
    const requeue = (id: string, waitMs = 0): Promise<void> => Promise.resolve(waker.wakeLater(id, waitMs));
    for (let round = 1; round <= 3; round += 1) {
      // As long as a test may take and longer; only the last time is waited for.
      await rig.runner(inTheWay(round < 3 ? 3_600_000 : 300), { requeue }).runJob(job.id);
      expect(await rig.job(job.id)).toMatchObject({ state: 'QUEUED', conclusion: null, failure: null, attempt: round });
      if (round === 3) {
        await waitFor(() => woken.length === 1, { message: 'the job to be told of again' });
        continue;
      }
      // Nobody takes it before.
      await rig.runner(taskOf(() => Promise.reject(new Error('too early')))).runJob(job.id);
      expect(await rig.job(job.id)).toMatchObject({ state: 'QUEUED', attempt: round });
      expect(woken).toEqual([]);
      await rig.sql('UPDATE jobs SET not_before = clock_timestamp() WHERE id = $1', [job.id]);
    }
    await rig.runner(taskOf(() => Promise.resolve())).runJob(job.id);
    const ended = await rig.job(job.id);
    expect(ended).toMatchObject({ state: 'COMPLETED', conclusion: 'SUCCEEDED', attempt: 4 });
    expect(ended.notices.map(({ code }) => code)).toEqual(['POSTPONED', 'POSTPONED', 'POSTPONED']);
    expect(ended.notices[0]?.message).toMatch(/spared.*waits/);
    waker.stop();
  });

  it('is cancelled at once, for however long it waits', async () => {
    const job = await rig.insertJob();
    await rig.runner(inTheWay(3_600_000)).runJob(job.id);
    const told: string[] = [];
    const jobs = createJobService({
      db: rig.db, feed: rig.feed, clock, queue: { enqueueJob: (id) => Promise.resolve(void told.push(id)), schedulePolicy: () => Promise.resolve() },
    });
    expect(await jobs.cancel(rig.caller, { jobId: job.id })).toMatchObject({ state: 'QUEUED' });
    expect(told).toEqual([job.id]);
    expect((await rig.db.read.runs.waiting(100)).map(({ id }) => id)).toContain(job.id);
    await rig.runner(taskOf(({ signal }) => gate().pass(signal))).runJob(job.id);
    expect(await rig.job(job.id)).toMatchObject({ state: 'COMPLETED', conclusion: 'CANCELLED' });
  });

  it('that is not to wait fails, and says from when on it may be tried again', async () => {
    const job = await rig.insertJob();
    const at = '2026-03-01T12:00:00.000Z';
    await rig.runner(taskOf(() => Promise.reject(new DomainError('RATE_LIMITED', 'The server is spared.', { retryable: true, details: { retryAt: at } })))).runJob(job.id);
    expect(await rig.job(job.id)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'RATE_LIMITED', retryable: true, retryAt: new Date(at) } });
  });
});
