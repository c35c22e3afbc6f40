import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../../../server/db/database.js';
import { createDataSource } from '../../../server/db/data-source.js';
import { feedCursor } from '../../../server/domain/cursor.js';
import { createEventFeed } from '../../../server/events/feed.js';
import { topicsOf } from '../../../server/events/topics.js';
import { type JobEventRecord } from '../../../server/services/records.js';
import { waitFor } from '../../kit/wait.js';
import { clock, gate, newId, type Rig, startRig } from './rig.js';

const WRITERS = 50;
const WRITES = 3;
/** Longest pauses of a writer: between its event and its commit, and before its next. */
const COMMIT_MS = 15;
const BETWEEN_MS = 600;

describe('the feed', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());

  const feed = () => rig.feed;
  /** One that learns of events by their announcements only, or never. */
  const unpolled = () => createEventFeed({ events: rig.db.read.events, jobs: rig.db.read.jobs, hub: rig.hub, clock, mayPass: (error) => rig.db.isTransient(error), pollMs: 3_600_000 });
  const late = (mostMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.random() * mostMs));
  const notice = (jobId: string, code: string) => rig.db.transaction((tx) => tx.jobs.change(jobId, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code, message: 'm' } }));

  it('gives every event of fifty writers that commit late once, in order, to readers that stay and to one that always begins anew at its last cursor', async () => {
    const caller = { ...rig.caller, projectId: newId('project') };
    const jobs = await Promise.all(Array.from({ length: WRITERS }, () => rig.insertJob({ projectId: caller.projectId, kind: 'DELETE', serverRunId: null })));
    const all = WRITERS * (WRITES + 1);
    // Every writer has a connection of its own: none waits for another but at the feed.
    const source = createDataSource({ url: rig.url, poolSize: WRITERS });
    await source.initialize();
    const db = createDatabase(source, topicsOf);
    let written = false;
    let inTime = 0;
    const readers: { seen: JobEventRecord[]; events?: AsyncIterator<JobEventRecord> }[] = [{ seen: [] }, { seen: [] }];
    const take = async (reader: (typeof readers)[number], most: number): Promise<void> => {
      reader.events = await feed().project(caller, {}, reader.seen.at(-1)?.cursor ?? feedCursor('0'));
      for (let at = 0; at < most && reader.seen.length < all; at += 1) {
        const { value, done } = await reader.events.next();
        if (done === true) return;
        reader.seen.push(value);
        if (!written) inTime += 1;
      }
      await reader.events.return?.();
    };
    const [staying, resuming] = readers as [(typeof readers)[number], (typeof readers)[number]];
    let over = false;
    const reading = [take(staying, all), (async () => {
      // As soon as it has all there is, it is in the middle of what is being written.
      while (!over && resuming.seen.length < all) await take(resuming, 3);
    })()];
    try {
      await Promise.all(jobs.map(async ({ id }) => {
        for (let at = 0; at < WRITES; at += 1) {
          // The last of each is written when readers have more than they could have by coming afterwards.
          if (at === WRITES - 1) await waitFor(() => inTime > all, { message: 'the readers to keep up' });
          await late(BETWEEN_MS);
          await db.transaction(async (tx) => {
            await tx.now();
            await tx.jobs.change(id, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code: `N${at}`, message: 'm' } });
            await late(COMMIT_MS);
          });
        }
      }));
      written = true;
      await waitFor(() => readers.every(({ seen }) => seen.length === all), { message: () => `all ${all} events to be seen, and not ${readers.map(({ seen }) => seen.length).join(' and ')}` });
      for (const { seen } of readers) {
        for (const { id } of jobs) {
          expect(seen.filter(({ job }) => job.id === id).map(({ sequence }) => sequence)).toEqual(Array.from({ length: WRITES + 1 }, (_, at) => at + 1));
        }
        // Nothing of other tenants.
        expect(seen.every(({ job }) => job.projectId === caller.projectId)).toBe(true);
      }
    } finally {
      over = true;
      await Promise.all(readers.map(({ events }) => events?.return?.()));
      await Promise.all(reading);
      await source.destroy();
    }
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

  it('a reader that waits is let go at once', async () => {
    const job = await rig.insertJob();
    const events = unpolled().job(rig.caller, job.id, 1);
    const next = events.next();
    // It has looked once and waits now.
    await waitFor(async () => (await rig.sql(`SELECT 1 FROM pg_stat_activity WHERE query LIKE '%job_events%' AND state = 'active' AND pid <> pg_backend_pid()`)).length === 0);
    await events.return?.();
    // Nothing has happened to its job, nor will anything.
    expect(await next).toMatchObject({ done: true });
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
    const events = unpolled().job(rig.caller, job.id, 1);
    const next = events.next();
    expect(await rig.cutConnections()).toBeGreaterThan(0);
    await waitFor(() => notice(job.id, 'AFTER').catch(() => null));
    expect((await next).value).toMatchObject({ kind: 'NOTICE', notice: { code: 'AFTER' } });
    await waitFor(() => rig.hub.listening);
    const second = events.next();
    await notice(job.id, 'ANNOUNCED');
    expect((await second).value).toMatchObject({ notice: { code: 'ANNOUNCED' } });
    await events.return?.();
  });
});
