import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { AgendaClock, type AgendaClockOptions } from '../../../server/jobs/agenda-clock.js';
import { type ClockHandlers } from '../../../server/jobs/clock.js';
import { guardProcess, releaseProcess } from '../../kit/processes.js';
import { transpile } from '../../kit/transpile.js';
import { waitFor } from '../../kit/wait.js';

/** A database that holds Agenda's rows, fresh for each test. */
export interface ClockBackend {
  name: string;
  /** Whether taking a row is atomic in the server, so that nothing is delivered twice without a fault. */
  takesAtomically: boolean;
  /** Makes an empty store; what it returns is spread into the clock's options. */
  create(): Promise<Pick<AgendaClockOptions, 'databaseUrl' | 'mongoUrl'>>;
  /** Cuts all connections of clocks to the store, on the server's side. Absent where the server cannot. */
  cutConnections?(store: { databaseUrl: string }): Promise<number>;
  /** Deletes every row of Agenda's. */
  deleteRows(store: { databaseUrl: string; mongoUrl?: string | undefined }): Promise<void>;
}

/** Where rows are to be taken by something else than the look at an interval, that is out of reach. */
const NEVER_MS = 3_600_000;

type Store = Awaited<ReturnType<ClockBackend['create']>>;

const recorder = () => {
  const told: { what: string; fields: Record<string, unknown> | undefined }[] = [];
  const write = (what: string, fields?: Record<string, unknown>): void => { told.push({ what, fields }); };
  return { told, log: { debug: () => undefined, info: write, warn: write, error: write } };
};

export const clockConformance = (backend: ClockBackend): void => {
  const open = new Set<AgendaClock>();
  const stopAll = async (): Promise<void> => {
    await Promise.all([...open].map((clock) => clock.stop({ signal: AbortSignal.timeout(1_000) })));
    open.clear();
  };

  /** A clock and what it has delivered, in order. */
  const openClock = async (store: Store, over: Partial<AgendaClockOptions> = {}) => {
    const { told, log } = recorder();
    const connect = (): Promise<AgendaClock> => AgendaClock.open({ ...store, name: `test-${randomUUID()}`, concurrency: 4, log, processEveryMs: 500, ...over });
    // It gives up after five seconds, which a machine that does much else may need for as many connections as all these tests make.
    const clock = await connect().catch(connect).catch(connect).catch(connect);
    open.add(clock);
    const jobs: string[] = [];
    const due: { policyId: string; at: number }[] = [];
    const seen = { ticks: 0 };
    const handlers: ClockHandlers = {
      runJob: (jobId) => { jobs.push(jobId); return Promise.resolve(); },
      policyDue: (policyId) => { due.push({ policyId, at: Date.now() }); return Promise.resolve(); },
      tick: () => { seen.ticks += 1; return Promise.resolve(); },
    };
    const start = (own: Partial<ClockHandlers> = {}): Promise<void> => clock.start({ ...handlers, ...own });
    return { clock, jobs, due, seen, told, start };
  };
  const inMs = (ms: number): Date => new Date(Date.now() + ms);

  // Each test has a store of its own and spends its time waiting: so all of them wait at once.
  describe.concurrent(`the clock on ${backend.name}`, () => {
    afterAll(stopAll);

    it('delivers an enqueued job once, soon, and leaves no row', async () => {
      const one = await openClock(await backend.create(), { processEveryMs: NEVER_MS });
      await one.start();
      await one.clock.enqueueJob('job_1');
      await waitFor(() => one.jobs.length === 1);
      await one.clock.enqueueJob('job_2');
      await waitFor(() => one.jobs.length === 2);
      expect(one.jobs).toEqual(['job_1', 'job_2']);
      expect(one.told).toEqual([]);
    });

    it('delivers what was enqueued before any process delivered, each job to one of two processes', async () => {
      const store = await backend.create();
      const [a, b, c] = [await openClock(store), await openClock(store), await openClock(store)];
      const ids = Array.from({ length: 12 }, (_, i) => `job_${i}`);
      await Promise.all(ids.map((id) => c.clock.enqueueJob(id)));
      await Promise.all(ids.map((id) => c.clock.enqueueJob(id)));
      await Promise.all([a.start(), b.start()]);
      const delivered = (): string[] => [...a.jobs, ...b.jobs];
      await waitFor(() => new Set(delivered()).size === ids.length);
      expect(new Set(delivered())).toEqual(new Set(ids));
      if (backend.takesAtomically) expect(delivered()).toHaveLength(ids.length);
      expect(c.jobs).toEqual([]);
    });

    it('tells which jobs it has rows for, those being delivered included, and no others', async () => {
      const one = await openClock(await backend.create());
      await one.clock.schedulePolicy('pol_1', inMs(60_000));
      await one.clock.enqueueJob('job_waits');
      expect(await one.clock.enqueued()).toEqual(['job_waits']);
      let end: () => void = () => undefined;
      const running = new Promise<void>((resolve) => { end = resolve; });
      let begun = false;
      await one.start({ runJob: () => { begun = true; return running; } });
      await waitFor(() => begun);
      expect(await one.clock.enqueued()).toEqual(['job_waits']);
      end();
      await waitFor(async () => (await one.clock.enqueued()).length === 0);
    });

    it('takes the next row as soon as a run has ended', async () => {
      const one = await openClock(await backend.create(), { concurrency: 2, processEveryMs: NEVER_MS });
      const ids = Array.from({ length: 30 }, (_, i) => `job_${i}`);
      await Promise.all(ids.map((id) => one.clock.enqueueJob(id)));
      await one.start();
      await waitFor(() => new Set(one.jobs).size === ids.length);
      expect(one.told).toEqual([]);
    });

    it('delivers a policy at its instant, never before and at no look at an interval', async () => {
      const one = await openClock(await backend.create(), { processEveryMs: NEVER_MS });
      await one.start();
      const at = inMs(5_000);
      await one.clock.schedulePolicy('pol_1', at);
      expect(await one.clock.pending()).toEqual([{ policyId: 'pol_1', at }]);
      await waitFor(() => one.due.length === 1);
      expect(one.due[0]!.at).toBeGreaterThanOrEqual(at.getTime());
      await waitFor(async () => (await one.clock.pending()).length === 0);
    });

    it('replaces and removes a pending instant', async () => {
      const one = await openClock(await backend.create());
      await one.start();
      const [far, farther] = [inMs(3_600_000), inMs(7_200_000)];
      await one.clock.schedulePolicy('pol_a', far);
      await one.clock.schedulePolicy('pol_b', far);
      await one.clock.schedulePolicy('pol_a', farther);
      expect(await one.clock.pending()).toEqual([{ policyId: 'pol_b', at: far }, { policyId: 'pol_a', at: farther }]);
      await one.clock.schedulePolicy('pol_b', null);
      expect(await one.clock.pending()).toEqual([{ policyId: 'pol_a', at: farther }]);
      await one.clock.schedulePolicy('pol_a', inMs(-5_000));
      await waitFor(() => one.due.length === 1);
      expect(one.due[0]!.policyId).toBe('pol_a');
    });

    it('does not deliver an instant that was moved after it had been taken', async () => {
      /** Whether it was moved in time to prove anything. */
      const isMoved = async (leadMs: number): Promise<boolean> => {
        const one = await openClock(await backend.create(), { processEveryMs: leadMs + 500 });
        const taken = inMs(leadMs);
        await one.clock.schedulePolicy('pol_1', taken);
        await one.clock.enqueueJob('job_taken_with_it');
        await one.start();
        await waitFor(() => one.jobs.length === 1);
        const later = new Date(taken.getTime() + 1_500);
        await one.clock.schedulePolicy('pol_1', later);
        if (Date.now() >= taken.getTime()) return false;
        await waitFor(() => one.due.length === 1);
        expect(one.due[0]!.at).toBeGreaterThanOrEqual(later.getTime());
        await waitFor(async () => (await one.clock.pending()).length === 0);
        expect(one.due).toHaveLength(1);
        expect(one.told).toEqual([]);
        return true;
      };
      expect((await isMoved(2_500)) || (await isMoved(10_000)) || (await isMoved(30_000))).toBe(true);
    });

    it('keeps what a handler plans for its own policy', async () => {
      const one = await openClock(await backend.create());
      const next = inMs(3_600_000);
      let handled = 0;
      await one.start({
        policyDue: async (policyId) => {
          await one.clock.schedulePolicy(policyId, next);
          handled += 1;
        },
      });
      await one.clock.schedulePolicy('pol_1', new Date());
      await waitFor(() => handled === 1);
      // A second delivery proves that everything the first one had to write is written.
      await one.clock.schedulePolicy('pol_2', new Date());
      await waitFor(() => handled === 2);
      // What the second one had to write may still be on its way.
      await waitFor(async () => (await one.clock.pending()).length === 2);
      expect((await one.clock.pending()).map(({ policyId, at }) => [policyId, at.getTime()]).sort())
        .toEqual([['pol_1', next.getTime()], ['pol_2', next.getTime()]]);
    });

    it('leaves one row after 20 parallel calls from two processes', async () => {
      const store = await backend.create();
      const [a, b] = [await openClock(store), await openClock(store)];
      const instants = Array.from({ length: 20 }, (_, i) => inMs(3_600_000 + i * 1_000));
      await Promise.all(instants.map((at, i) => (i % 2 ? a : b).clock.schedulePolicy('pol_1', at)));
      const rows = await a.clock.pending();
      expect(rows).toHaveLength(1);
      expect(instants.map((at) => at.getTime())).toContain(rows[0]!.at.getTime());
    });

    it('survives a restart, and overdue instants with it', async () => {
      const store = await backend.create();
      const first = await openClock(store);
      await first.start();
      await first.clock.schedulePolicy('pol_far', inMs(3_600_000));
      await first.clock.stop();
      const writer = await openClock(store);
      await writer.clock.schedulePolicy('pol_overdue', inMs(-60_000));
      await writer.clock.enqueueJob('job_waiting');
      await writer.clock.stop();

      const second = await openClock(store);
      await second.start();
      await waitFor(() => second.due.length === 1 && second.jobs.length === 1);
      expect([second.due[0]!.policyId, second.jobs[0]]).toEqual(['pol_overdue', 'job_waiting']);
      // A row goes when its handler has ended.
      await waitFor(async () => (await second.clock.pending()).length === 1);
      expect((await second.clock.pending()).map(({ policyId }) => policyId)).toEqual(['pol_far']);
    });

    it('tells a handler again that has failed, and goes on meanwhile', async () => {
      const one = await openClock(await backend.create());
      const attempts: string[] = [];
      await one.start({
        runJob: (jobId) => {
          attempts.push(jobId);
          if (jobId === 'job_bad' && attempts.filter((id) => id === jobId).length === 1) throw new Error('thrown at once');
          return jobId === 'job_bad' && attempts.filter((id) => id === jobId).length === 2 ? Promise.reject(new Error('rejected')) : Promise.resolve();
        },
        tick: () => Promise.reject(new Error('a bad pass')),
      });
      await one.clock.enqueueJob('job_bad');
      await one.clock.enqueueJob('job_good');
      await waitFor(() => attempts.includes('job_good'));
      await waitFor(() => attempts.filter((id) => id === 'job_bad').length === 3);
      expect(one.told.filter(({ what }) => what.includes('run-job')).map(({ fields }) => fields?.attempt)).toEqual([1, 2]);
    });

    it('renews the lock of a job that runs for longer than it', async () => {
      const store = await backend.create();
      const [a, b] = [await openClock(store, { lockLifetimeMs: 8_000 }), await openClock(store, { lockLifetimeMs: 8_000 })];
      const ended: string[] = [];
      const begun: string[] = [];
      const runJob = async (jobId: string): Promise<void> => {
        begun.push(jobId);
        await new Promise((resolve) => setTimeout(resolve, jobId === 'job_long' ? 10_000 : 0));
        ended.push(jobId);
      };
      await Promise.all([a.start({ runJob }), b.start({ runJob })]);
      await a.clock.enqueueJob('job_long');
      await waitFor(() => ended.length > 0 && ended.length === begun.length);
      if (backend.takesAtomically) expect(begun).toEqual(['job_long']);
    });

    it('takes over what a killed process held', async () => {
      const store = await backend.create();
      const code = transpile('server/jobs', 'server/domain', 'server/engine/ports.ts');
      const doomed = spawn(process.execPath, ['--input-type=module', '-e', `
        const { AgendaClock } = await import(${JSON.stringify(join(code, 'server/jobs/agenda-clock.js'))});
        const log = { debug() {}, info() {}, warn: console.error, error: console.error };
        const clock = await AgendaClock.open({ ...${JSON.stringify(store)}, name: 'doomed', concurrency: 1, log, lockLifetimeMs: 800, processEveryMs: 500 });
        await clock.start({
          runJob: () => { process.stdout.write('begun'); return new Promise(() => {}); },
          policyDue: async () => {}, tick: async () => {},
        });
        await clock.enqueueJob('job_1');
      `], { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = once(doomed, 'exit');
      let output = '';
      doomed.stdout.on('data', (chunk: Buffer) => { output += chunk.toString(); });
      try {
        if (doomed.pid !== undefined) guardProcess(doomed.pid);
        await waitFor(() => output === 'begun');
      } finally {
        doomed.kill('SIGKILL');
        await ended;
        if (doomed.pid !== undefined) releaseProcess(doomed.pid);
      }
      const alive = await openClock(store, { lockLifetimeMs: 800 });
      await alive.start();
      await waitFor(() => alive.jobs.length === 1);
      expect(alive.jobs).toEqual(['job_1']);
    });

    it('ticks at the start, then at its interval, also when all rows are gone', async () => {
      const store = await backend.create();
      const one = await openClock(store, { tickEveryMs: 300 });
      await one.start();
      await waitFor(() => one.seen.ticks >= 2);
      await one.clock.schedulePolicy('pol_1', inMs(3_600_000));
      await backend.deleteRows(store);
      expect(await one.clock.pending()).toEqual([]);
      const before = one.seen.ticks;
      await waitFor(() => one.seen.ticks >= before + 2);
    });

    it('stops by waiting for its handlers and giving back what it had not begun', async () => {
      const store = await backend.create();
      const one = await openClock(store, { concurrency: 1, processEveryMs: 2_000, lockLifetimeMs: 60_000 });
      let release = (): void => undefined;
      const begun: string[] = [];
      const held = new Promise<void>((resolve) => { release = resolve; });
      await one.start({ runJob: (jobId) => { begun.push(jobId); return held; } });
      await one.clock.enqueueJob('job_running');
      await waitFor(() => begun.length === 1);
      const soon = inMs(5_000);
      await one.clock.schedulePolicy('pol_soon', soon);
      await one.clock.enqueueJob('job_next');
      let stopped = false;
      const stopping = one.clock.stop().then(() => { stopped = true; });

      const other = await openClock(store);
      await other.start();
      await waitFor(() => other.jobs.length === 1 && other.due.length === 1);
      expect(other.jobs).toEqual(['job_next']);
      expect(stopped).toBe(false);
      release();
      await stopping;
      expect(one.due).toEqual([]);
      expect(begun).toEqual(['job_running']);
      await other.clock.stop();
      expect(other.jobs).toEqual(['job_next']);
    });

    it('hands over what still runs when the wait for it is ended', async () => {
      const store = await backend.create();
      const one = await openClock(store, { lockLifetimeMs: 60_000 });
      let begun = 0;
      await one.start({ runJob: () => { begun += 1; return new Promise(() => undefined); } });
      await one.clock.enqueueJob('job_1');
      await waitFor(() => begun === 1);
      await one.clock.stop({ signal: AbortSignal.abort() });
      const other = await openClock(store);
      await other.start();
      await waitFor(() => other.jobs.length === 1);
    });

    if (backend.cutConnections) {
      it('outlives the loss of all its connections', async () => {
        const store = await backend.create();
        const one = await openClock(store, { lockLifetimeMs: 2_000 });
        await one.start();
        for (let round = 0; round < 3; round += 1) {
          await one.clock.enqueueJob(`job_${round}`);
          await waitFor(() => one.jobs.includes(`job_${round}`));
          expect(await backend.cutConnections!(store)).toBeGreaterThan(0);
        }
        await one.clock.enqueueJob('job_last');
        await waitFor(() => one.jobs.includes('job_last'));
        expect(one.told.length).toBeGreaterThan(0);
      });
    }
  });

  // Alone, since it changes the time of the whole process.
  describe(`the clock on ${backend.name} in a process whose clock is wrong`, () => {
    afterAll(stopAll);

    it('goes by the database\'s clock when its own is wrong', async () => {
      const store = await backend.create();
      const RealDate = Date;
      const offsetMs = 15 * 60_000;
      class FastDate extends RealDate {
        constructor(...args: unknown[]) {
          super(...((args.length === 0 ? [RealDate.now() + offsetMs] : args) as [number]));
        }

        static override now(): number {
          return RealDate.now() + offsetMs;
        }
      }
      const one = await openClock(store);
      globalThis.Date = FastDate as DateConstructor;
      try {
        await one.start();
        const at = new RealDate(RealDate.now() + 2_500);
        await one.clock.schedulePolicy('pol_1', at);
        await one.clock.enqueueJob('job_1');
        await waitFor(() => one.jobs.length === 1 && one.due.length === 1);
        const delivered = one.due[0]!.at - offsetMs;
        expect(delivered).toBeGreaterThanOrEqual(at.getTime());
        // `waitFor` has an end long before the process's own clock would have been right.
        expect(delivered).toBeLessThan(at.getTime() + offsetMs / 2);
      } finally {
        globalThis.Date = RealDate;
      }
    });
  });
};
