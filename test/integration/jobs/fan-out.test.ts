import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase } from '../../../server/db/database.js';
import { EVENTS_CHANNEL } from '../../../server/db/repositories/job-event.repository.js';
import { feedCursor } from '../../../server/domain/cursor.js';
import { type DomainError } from '../../../server/domain/errors.js';
import { openControl } from '../../../server/engine/control.js';
import { createEventFeed } from '../../../server/events/feed.js';
import { createEventHub, type EventHub } from '../../../server/events/hub.js';
import { topicsOf } from '../../../server/events/topics.js';
import { forgetOld } from '../../../server/jobs/reconcile.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { type EventFeed, type JobEventRepository } from '../../../server/services/ports.js';
import { type JobEventRecord, type JobFilter, type JobRecord } from '../../../server/services/records.js';
import { startProxy } from '../../kit/proxy.js';
import { startRedis } from '../../kit/redis.js';
import { waitFor } from '../../kit/wait.js';
import { clock, newId, type Rig, startRig } from './rig.js';
import { scriptFeed } from './scripted-feed.js';

type Events = AsyncIterator<JobEventRecord>;

const next = async (events: Events): Promise<JobEventRecord> => (await events.next()).value as JobEventRecord;
const codes = (events: readonly JobEventRecord[]): unknown[] => events.map(({ kind, notice, sequence }) => notice?.code ?? `${kind} ${sequence}`);

describe('a node that reads for many', () => {
  let rig: Rig;
  let job: JobRecord;
  /** What was read of the log, by method. */
  let reads: string[];
  let feed: EventFeed;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());
  beforeEach(async () => {
    job = await rig.insertJob({ projectId: newId('project'), instanceId: newId('instance') });
    reads = [];
    feed = createEventFeed({ events: counted(rig.db.read.events), jobs: rig.db.read.jobs, hub: rig.hub, clock, mayPass: () => false });
  });

  const counted = (events: JobEventRepository): JobEventRepository =>
    Object.fromEntries(Object.entries(events).map(([name, method]) => [name, (...given: unknown[]) => {
      reads.push(name);
      return (method as (...of: unknown[]) => unknown)(...given);
    }])) as unknown as JobEventRepository;
  const scope = (instanceIds: string[] | null = null) => ({ ...rig.caller, projectId: job.projectId, instanceIds });
  const notice = (code: string, id = job.id) => rig.db.transaction((tx) => tx.jobs.change(id, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code, message: 'm' } }));

  it('reads once, and gives all of them the same objects', async () => {
    const followers: Events[] = Array.from({ length: 200 }, () => feed.job(scope(), job.id, 1));
    const all = await feed.project(scope(), {}, feedCursor('0'));
    await next(all);
    const firsts = followers.map((events) => next(events));
    const first = next(all);
    await waitFor(() => reads.includes('ofJob'));
    await notice('A');
    const [given] = await Promise.all(firsts);
    for (const event of await Promise.all(firsts)) expect(event).toBe(given);
    expect(await first).toBe(given);
    expect(given).toMatchObject({ sequence: 2, notice: { code: 'A' }, job: { id: job.id } });
    // The log was read for all who came together, and not again for any.
    expect(reads.filter((name) => name === 'ofJob').length).toBeLessThanOrEqual(2);
    // What came then, the node's one reader has read: when it was told, and perhaps by its own clock.
    expect(reads.filter((name) => name === 'since').length).toBeLessThanOrEqual(4);
    await Promise.all([...followers, all].map((events) => events.return?.()));
    const before = reads.length;
    await notice('B');
    await new Promise((resolve) => setImmediate(resolve));
    expect(reads).toHaveLength(before);
  });

  it('lets whoever comes with an older place catch up by itself, and go on with the others: nothing twice, nothing missing', async () => {
    const [before, after] = [15, 30];
    for (let at = 0; at < before; at += 1) await notice(`${at}`);
    const reading = Array.from({ length: 20 }, async (_, index) => {
      const from = index % 11;
      const got: number[] = [];
      // Comes while it is written.
      const events = feed.job(scope(), job.id, from);
      while (got.at(-1) !== after + 1) got.push((await next(events)).sequence);
      await events.return?.();
      return { from, got };
    });
    for (let at = before; at < after; at += 1) await notice(`${at}`);
    for (const { from, got } of await Promise.all(reading)) expect(got).toEqual(Array.from({ length: after + 1 - from }, (_, at) => from + 1 + at));
  });

  it('shows everybody what its rights and its filter let through, and no more', async () => {
    const other = await rig.insertJob({ projectId: job.projectId, instanceId: newId('instance'), kind: 'DELETE', serverRunId: null });
    const [from, mine, theirs] = [feedCursor('0'), [job.instanceId ?? ''], [other.instanceId ?? '']];
    const open = (instanceIds: string[] | null, filter: JobFilter = {}) => feed.project(scope(instanceIds), filter, from);
    const readers = await Promise.all([open(null), open(mine), open(theirs), open([]), open(null, { kinds: ['DELETE'] }), open(null, { instanceIds: mine }), open(mine, { instanceIds: theirs }), open(null, { states: ['COMPLETED'] })]);
    const got = readers.map(() => [] as string[]);
    const reading = readers.map(async (events, at) => {
      for (let event = await events.next(); event.done !== true; event = await events.next()) got[at]?.push(event.value.job.id === job.id ? 'mine' : 'theirs');
    });
    // Both come live.
    await waitFor(() => reads.filter((name) => name === 'ofProject').length >= readers.length && (got[0]?.length ?? 0) >= 2);
    await Promise.all([notice('A'), notice('B', other.id)]);
    await waitFor(() => (got[0]?.length ?? 0) >= 4 && (got[1]?.length ?? 0) >= 2 && (got[2]?.length ?? 0) >= 2 && (got[4]?.length ?? 0) >= 2);
    await Promise.all(readers.map((events) => events.return?.()));
    await Promise.all(reading);
    expect(got.map((one) => [...new Set(one)].sort().join())).toEqual(['mine,theirs', 'mine', 'theirs', '', 'theirs', 'mine', '', '']);
    expect(got.map((one) => one.length)).toEqual([4, 2, 2, 0, 2, 2, 0, 0]);
  });

  it.each([1, 900, 2_500])('misses none of %s that come while it reads the log, and gives none twice', async (many) => {
    const { feed: of, append, wake, hold, givenOut } = scriptFeed();
    append('STATE', job);
    const log = hold();
    const events = of.job(scope(), job.id, 0);
    const first = next(events);
    await log.reached();
    for (let at = 0; at < many; at += 1) append('STATE', job);
    wake();
    await givenOut();
    log.letGo();
    const got = [(await first).sequence];
    while (got.length < many + 1) got.push((await next(events)).sequence);
    append('STATE', job);
    wake();
    got.push((await next(events)).sequence);
    expect(got).toEqual(Array.from({ length: many + 2 }, (_, at) => 10 + at));
    await events.return?.();
  });

  it('gives the newest progress four times a second at most, whatever has a place of its own at once, and cursors that never go back', async () => {
    const { feed: of, append, wake } = scriptFeed();
    const other = { ...job, id: newId('job') };
    const events = await of.project(scope(), {}, feedCursor('9'));
    const began = performance.now();
    const got: { kind: string; cursor: string; ms: number; behind: number }[] = [];
    const newest = new Map<string, number>();
    const reading = (async () => {
      for (let event = await events.next(); event.done !== true; event = await events.next()) {
        const { kind, cursor, sequence, job: { id } } = event.value;
        got.push({ kind, cursor, ms: performance.now() - began, behind: (newest.get(id) ?? 0) - sequence });
      }
    })();
    const timer = setInterval(() => {
      for (const of of [job, other]) newest.set(of.id, append('PROGRESS', of));
      wake();
    }, 20);
    const progress = () => got.filter(({ kind }) => kind === 'PROGRESS');
    // Before it is the turn of more progress: a second after the first of the last four. A machine that stands still in between proves nothing, so there are more tries.
    let atOnce = false;
    for (let round = 1; round <= 10 && !atOnce; round += 1) {
      await waitFor(() => progress().length >= 4 * round);
      append('STATE', job);
      append('NOTICE', other);
      wake();
      const notice = await waitFor(() => got.filter(({ kind }) => kind === 'NOTICE')[round - 1]);
      atOnce = notice.ms - (progress()[4 * (round - 1)]?.ms ?? 0) < 900;
    }
    expect(atOnce).toBe(true);
    await waitFor(() => progress().length >= 8);
    clearInterval(timer);
    await events.return?.();
    await reading;
    const times = progress().map(({ ms }) => ms);
    for (let at = 4; at < times.length; at += 1) expect((times[at] ?? 0) - (times[at - 4] ?? 0)).toBeGreaterThan(990);
    // What has come while it was its job's turn to wait is the newest, or the one before it, which the node's reader has not read yet.
    for (const { behind } of progress()) expect(behind).toBeLessThanOrEqual(4);
    const places = got.map(({ cursor }) => Number(JSON.parse(Buffer.from(cursor, 'base64url').toString())[1]));
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  it('gives up a reader that takes nothing, and holds up nobody for it', async () => {
    const { feed: of, append, wake } = scriptFeed();
    const [stuck, quick] = [of.job(scope(), job.id, 0), of.job(scope(), job.id, 0)];
    append('STATE', job);
    expect([await next(stuck), await next(quick)].map(({ sequence }) => sequence)).toEqual([10, 10]);
    let got = 0;
    const reading = (async () => {
      for (let event = await quick.next(); event.done !== true; event = await quick.next()) got += 1;
    })();
    // Both have found the end of the log.
    const second = next(stuck);
    append('STATE', job);
    wake();
    expect((await second).sequence).toBe(11);
    for (let at = 0; at < 1_200; at += 1) append('STATE', job);
    wake();
    await waitFor(() => got >= 1_201);
    await expect(stuck.next()).rejects.toMatchObject({ code: 'TOO_SLOW', retryable: true } satisfies Partial<DomainError>);
    expect((await stuck.next()).done).toBe(true);
    await quick.return?.();
    await reading;
    // It comes again, and has everything from where it was.
    const again = of.job(scope(), job.id, 11);
    const rest: number[] = [];
    for (let at = 0; at < 1_200; at += 1) rest.push((await next(again)).sequence);
    expect(rest).toEqual(Array.from({ length: 1_200 }, (_, at) => 12 + at));
    await again.return?.();
  });

  it('keeps events for 30 days, refuses a cursor behind which some are gone, and tells of a job that ended before', async () => {
    const { feed: of } = scriptFeed();
    await expect(of.project(scope(), {}, feedCursor('4'))).rejects.toMatchObject({ code: 'BAD_INPUT', field: ['after'] });
    await (await of.project(scope(), {}, feedCursor('5'))).return?.();

    await rig.db.transaction((tx) => tx.jobs.change(job.id, {}, { state: 'COMPLETED', conclusion: 'SUCCEEDED', completedAt: new Date() }, { kind: 'STATE', at: new Date() }));
    const young = await rig.insertJob({ projectId: job.projectId });
    await rig.sql(`UPDATE job_events SET at = clock_timestamp() - CASE WHEN job_id = $1 THEN interval '30 days 1 minute' ELSE interval '29 days 23 hours' END`, [job.id]);
    await forgetOld({ db: rig.db });
    expect(await rig.events(job.id)).toEqual([]);
    expect(codes([(await feed.standing(scope(), job.id))?.snapshot as JobEventRecord])).toEqual(['SNAPSHOT 2']);
    expect(await feed.standing(scope(), job.id)).toMatchObject({ hasEvents: false, snapshot: { job: { state: 'COMPLETED' } } });
    expect(await feed.standing(scope(), young.id)).toMatchObject({ hasEvents: true });
    await expect(feed.project(scope(), {}, feedCursor('0'))).rejects.toMatchObject({ code: 'BAD_INPUT' });
    // A project without a single event has a place in the feed, too.
    const empty = { ...scope(), projectId: newId('project') };
    await (await feed.project(empty, {}, await feed.now(empty))).return?.();
    const since = await feed.project(scope(), {}, (await feed.standing(scope(), job.id))?.snapshot.cursor ?? '');
    expect((await next(since)).job.id).toBe(young.id);
    await since.return?.();
  });

  it('is told by PostgreSQL and by Redis, by whichever is there, and looks by itself when neither is; its readers notice nothing', async () => {
    const redis = await startRedis({ password: 'secret' });
    const [toPostgres, toRedis] = [await startProxy(Number(new URL(rig.url).port)), await startProxy(redis.port)];
    const hubAt = (postgres: string, port: number): EventHub => createEventHub({
      url: postgres, channel: EVENTS_CHANNEL, log: rig.log, reconnectMs: 50,
      broker: { open: (onMessage) => openControl({ host: redis.host, port, password: 'secret' }, { dial: createDial(ALLOW_EVERYTHING), log: rig.log }, { onMessage }) },
    });
    const url = new URL(rig.url);
    url.port = String(toPostgres.port);
    const [far, near] = [hubAt(url.href, toRedis.port), hubAt(rig.url, redis.port)];
    // Who writes tells the others; who reads is behind the proxies.
    const db = createDatabase(rig.source, topicsOf, { onCommitted: (topics) => near.announce(topics) });
    try {
      await Promise.all([far.start(), near.start()]);
      await waitFor(() => far.brokered && near.brokered);
      const feedOf = (pollMs: number) => createEventFeed({ events: rig.db.read.events, jobs: rig.db.read.jobs, hub: far, clock, mayPass: () => false, pollMs });
      const [told, looking] = [feedOf(600_000).job(scope(), job.id, 1), feedOf(50).job(scope(), job.id, 1)];
      const got: unknown[] = [];
      const write = (code: string) => db.transaction((tx) => tx.jobs.change(job.id, {}, {}, { kind: 'NOTICE', at: new Date(), notice: { code, message: 'm' } }));
      const hears = async (code: string): Promise<void> => {
        const event = next(told);
        await write(code);
        got.push((await event).notice?.code);
      };
      await hears('by both');
      const seen = [(await next(looking)).notice?.code];
      toPostgres.cut();
      await waitFor(() => rig.logged.some((line) => line.includes('Lost the connection that announces')));
      await hears('by Redis');
      seen.push((await next(looking)).notice?.code);
      toRedis.cut();
      await waitFor(() => !far.listening);
      const [late, found] = [next(told), next(looking)];
      await write('by itself');
      seen.push((await found).notice?.code);
      expect(seen).toEqual(['by both', 'by Redis', 'by itself']);
      toPostgres.mend();
      await waitFor(() => far.listening);
      expect(far.brokered).toBe(false);
      // What was missed is looked for when the connection is back.
      got.push((await late).notice?.code);
      await hears('by PostgreSQL');
      toRedis.mend();
      await waitFor(() => far.brokered);
      toPostgres.cut();
      await hears('by Redis again');
      expect(got).toEqual(['by both', 'by Redis', 'by itself', 'by PostgreSQL', 'by Redis again']);
      // Nobody who writes waits for a Redis that answers nothing, and passwords stay out of the log.
      process.kill(redis.pid, 'SIGSTOP');
      const began = performance.now();
      await write('unheard');
      // Whether it still answers is asked after ten seconds.
      expect(performance.now() - began).toBeLessThan(8_000);
      expect(rig.logged.join()).not.toContain('secret');
      await Promise.all([told.return?.(), looking.return?.()]);
    } finally {
      await Promise.all([far.stop(), near.stop(), toPostgres.stop(), toRedis.stop()]);
      await redis.kill('SIGKILL');
      await redis.stop();
    }
  });
});
