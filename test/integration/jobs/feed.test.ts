import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEventFeed } from '../../../server/events/feed.js';
import { type JobEventRecord } from '../../../server/services/records.js';
import { waitFor } from '../../kit/wait.js';
import { clock, gate, newId, type Rig, startRig } from './rig.js';

const WRITERS = 50;
const WRITES = 3;
/** Longest pause of a writer before its commit, with the feed's lock and without. */
const LATE_MS = 3;

describe('the feed', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  const feed = () => rig.feed;
  const late = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.random() * LATE_MS));
  const notice = (jobId: string, code: string) => rig.db.transaction((tx) => tx.jobs.change(jobId, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code, message: 'm' } }));

  it('gives every event of fifty writers that commit late once, in order, to a reader that always begins anew at its last cursor', async () => {
    const caller = { ...rig.caller, projectId: newId('project') };
    const jobs = await Promise.all(Array.from({ length: WRITERS }, () => rig.insertJob({ projectId: caller.projectId, kind: 'DELETE', serverRunId: null })));
    const seen: JobEventRecord[] = [];
    let after: string | null = null;
    const reading = (async () => {
      while (seen.length < WRITERS * (WRITES + 1)) {
        // A few at a time, so that it resumes in the middle of what is being written.
        const events: AsyncIterableIterator<JobEventRecord> = await feed().project(caller, {}, after ?? (await firstCursor()));
        for (let i = 0; i < 7 && seen.length < WRITERS * (WRITES + 1); i += 1) {
          const { value, done } = await events.next();
          if (done) break;
          seen.push(value as JobEventRecord);
          after = (value as JobEventRecord).cursor;
        }
        await events.return?.();
      }
    })();
    await Promise.all(jobs.map(async ({ id }) => {
      for (let i = 0; i < WRITES; i += 1) {
        await rig.db.transaction(async (tx) => {
          await tx.now();
          await late();
          await tx.jobs.change(id, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code: `N${i}`, message: 'm' } });
          await late();
        });
      }
    }));
    await reading;
    for (const { id } of jobs) {
      const own = seen.filter(({ job }) => job.id === id);
      expect(own.map(({ sequence }) => sequence)).toEqual(Array.from({ length: WRITES + 1 }, (_, index) => index + 1));
    }
    const [total] = await rig.sql<{ count: string }>('SELECT count(*) FROM job_events WHERE project_id = $1', [caller.projectId]);
    expect(seen).toHaveLength(Number(total?.count));
    // Nothing of other tenants.
    expect(seen.every(({ job }) => job.projectId === caller.projectId)).toBe(true);
  });

  it('shows nothing that was written later before what was written earlier, however late that is committed', async () => {
    const caller = { ...rig.caller, projectId: newId('project') };
    const [slow, fast] = [await rig.insertJob({ projectId: caller.projectId }), await rig.insertJob({ projectId: caller.projectId })];
    const events = await feed().project(caller, {}, null);
    const held = gate();
    const slowly = rig.db.transaction(async (tx) => {
      await tx.jobs.change(slow.id, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code: 'SLOW', message: 'm' } });
      await held.pass();
    });
    await held.reached();
    let fastDone = false;
    const quickly = notice(fast.id, 'FAST').then(() => {
      fastDone = true;
    });
    await waitFor(async () => fastDone || (await rig.sql(`SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)).length > 0);
    const first = events.next();
    await waitFor(async () => !fastDone || (await Promise.race([first.then(() => true), Promise.resolve(false)])));
    held.open();
    await Promise.all([slowly, quickly]);
    const codes = [(await first).value, (await events.next()).value].map((event: JobEventRecord) => event.notice?.code);
    expect(codes).toEqual(['SLOW', 'FAST']);
    await events.return?.();
  });

  it('asks a database again that was away, and tells of every other fault', async () => {
    const job = await rig.insertJob();
    const wrong = await rig.source.query('SELECT nothing FROM nowhere').then(() => undefined, (error: unknown) => error);
    const away = await rig.source.query('SELECT pg_terminate_backend(pg_backend_pid())').then(() => undefined, (error: unknown) => error);
    const faults = [away, away];
    const failing = (list: unknown[]) => ({ ...rig.db.read.events, ofJob: (...given: Parameters<typeof rig.db.read.events.ofJob>) => {
      const fault = list.shift();
      return fault === undefined ? rig.db.read.events.ofJob(...given) : Promise.reject(fault as Error);
    } });
    const read = (list: unknown[]) =>
      createEventFeed({ events: failing(list), jobs: rig.db.read.jobs, hub: rig.hub, clock, mayPass: (error) => rig.db.isTransient(error) }).job(rig.caller, job.id, 0);
    const events = read(faults);
    expect((await events.next()).value).toMatchObject({ sequence: 1 });
    expect(faults).toEqual([]);
    await events.return?.();
    await expect(read([wrong]).next()).rejects.toBe(wrong);
  });

  /** From before everything. */
  const firstCursor = async (): Promise<string> => {
    const { feedCursor } = await import('../../../server/domain/cursor.js');
    return feedCursor('0');
  };

  it('a reader that waits is let go at once', async () => {
    const job = await rig.insertJob();
    const events = feed().job(rig.caller, job.id, 1);
    const next = events.next();
    // It has looked once and waits now.
    await waitFor(async () => (await rig.sql(`SELECT 1 FROM pg_stat_activity WHERE query LIKE '%job_events%' AND state = 'active' AND pid <> pg_backend_pid()`)).length === 0);
    const before = performance.now();
    await events.return?.();
    expect(await next).toMatchObject({ done: true });
    expect(performance.now() - before).toBeLessThan(500);
    expect((await events.next()).done).toBe(true);
  });

  it('one that never began, and two that end twice, harm nothing', async () => {
    const job = await rig.insertJob();
    const never = feed().job(rig.caller, job.id, 0);
    await never.return?.();
    await never.return?.();
    expect((await never.next()).done).toBe(true);
  });

  it('a reader rides out cut connections, and gets what was written meanwhile', async () => {
    const job = await rig.insertJob();
    const events = feed().job(rig.caller, job.id, 1);
    const next = events.next();
    expect(await rig.cutConnections()).toBeGreaterThan(0);
    await waitFor(() => notice(job.id, 'AFTER').catch(() => null));
    expect((await next).value).toMatchObject({ kind: 'NOTICE', notice: { code: 'AFTER' } });
    await waitFor(() => rig.hub.listening);
    const second = events.next();
    const before = performance.now();
    await notice(job.id, 'ANNOUNCED');
    expect((await second).value).toMatchObject({ notice: { code: 'ANNOUNCED' } });
    // Announced, not polled for.
    expect(performance.now() - before).toBeLessThan(1_500);
    await events.return?.();
  });
});
