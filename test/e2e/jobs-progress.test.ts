import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, type Instance, type JobEvent, TypedDocumentString } from '@snapback/sdk';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { archivesOf, backUp, caught, firstEvent, flows, populate, register, saveSlowly, startRestore, storedFiles } from './scene.js';

const STANDING = new TypedDocumentString<{ jobs: { nodes: { id: string }[]; feedCursor: string } }, object>('{ jobs(first: 100) { nodes { id } feedCursor } }');
const KEYS = 3_000;
const ORDER = ['PREPARING', 'SNAPSHOTTING', 'TRANSFERRING', 'VERIFYING', 'SEALING'];

const collect = async (events: AsyncIterable<JobEvent>): Promise<JobEvent[]> => {
  const all: JobEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
};
const sequences = (events: readonly JobEvent[]): number[] => events.map(({ sequence }) => sequence);
const rising = (numbers: readonly number[]): boolean => numbers.every((number, i) => i === 0 || number > (numbers[i - 1] ?? number));
/** What must reach every reader; progress that is superseded may be left out. */
const lasting = (events: readonly JobEvent[]): number[] => sequences(events.filter(({ kind }) => kind !== 'PROGRESS' && kind !== 'SNAPSHOT'));

describe('following jobs', () => {
  let service: TestService;
  let source: RedisServer;
  let instance: Instance;

  beforeAll(async () => {
    // No time to drain: what runs at a stop is interrupted and handed over.
    [service, source] = await Promise.all([startService({ env: { DRAIN_SECONDS: '0', LEASE_SECONDS: '120' } }), startRedis({ config: { rdbcompression: 'no' } })]);
    await populate(source, KEYS, 1_000);
    instance = await register(service, 'source', source);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop()]);
  });

  it('gives a snapshot first, then phases, bytes and keys with strictly rising sequences, and ends', async () => {
    const { sdk } = service;
    await saveSlowly(source, 300);
    const { backup, job } = await sdk.backups.create({ instanceId: instance.id, name: 'watched' });
    const events = await collect(sdk.jobs.watch(job.id));
    await saveSlowly(source, 0);

    expect(events[0]).toMatchObject({ kind: 'SNAPSHOT', job: { id: job.id } });
    expect(events.filter(({ kind }) => kind === 'SNAPSHOT')).toHaveLength(1);
    expect(rising(sequences(events))).toBe(true);
    const last = events.at(-1);
    expect(last).toMatchObject({ kind: 'STATE', job: { state: 'COMPLETED', conclusion: 'SUCCEEDED', phase: 'SEALING', backup: { id: backup.id, state: 'AVAILABLE' } } });
    expect(last?.job.phases.map(({ phase }) => phase)).toEqual(ORDER);
    expect(last?.job.phases.every(({ startedAt, endedAt }) => endedAt !== null && endedAt >= startedAt)).toBe(true);

    const moving = events.filter(flows).map(({ job: { progress } }) => progress);
    expect(moving.length).toBeGreaterThan(1);
    for (const field of ['bytesDone', 'keysDone'] as const) {
      // Time passes without a key having come when the machine is busy: then it says the same again.
      const amounts = moving.map((progress) => Number(progress?.[field]));
      expect(amounts).toEqual([...amounts].sort((a, b) => a - b));
      expect(new Set(amounts).size).toBeGreaterThan(1);
    }
    expect(moving.some((progress) => Number(progress?.bytesPerSecond) > 0 && (progress?.remainingSeconds ?? -1) >= 0)).toBe(true);
    expect(moving.every((progress) => progress?.keysTotal === String(KEYS) && (progress.fraction ?? 2) <= 1)).toBe(true);
  });

  it('goes on after a sequence without a gap or a repeat, for a second client too', async () => {
    const second = createClient({ url: service.url, token: service.key });
    try {
      await saveSlowly(source, 300);
      const { job } = await service.sdk.backups.create({ instanceId: instance.id, name: 'resumed' });
      const whole = collect(service.sdk.jobs.watch(job.id, { afterSequence: 0 }));
      const first: JobEvent[] = [];
      for await (const event of second.jobs.watch(job.id, { afterSequence: 0 })) {
        first.push(event);
        if (flows(event)) break;
      }
      const rest = await collect(second.jobs.watch(job.id, { afterSequence: first.at(-1)?.sequence ?? 0 }));
      // A snapshot is no change: it says how the job stands when there is nothing new at that moment.
      expect(rising(sequences([...first, ...rest.filter(({ kind }) => kind !== 'SNAPSHOT')]))).toBe(true);
      expect(rest.at(-1)?.job.conclusion).toBe('SUCCEEDED');
      expect(lasting([...first, ...rest])).toEqual(lasting(await whole));
      expect(lasting(first)[0]).toBe(1);
    } finally {
      await saveSlowly(source, 0);
      second.close();
    }
  });

  it('tells of a job that ended long ago: its end as the snapshot, or everything since a sequence', async () => {
    const { sdk } = service;
    const { job } = await backUp(service, instance.id, 'old');
    const id = job?.id ?? '';
    const [snapshot, ...more] = await collect(sdk.jobs.watch(id));
    expect(snapshot).toMatchObject({ kind: 'SNAPSHOT', job: { state: 'COMPLETED', conclusion: 'SUCCEEDED' } });
    expect(more).toEqual([]);
    const all = await collect(sdk.jobs.watch(id, { afterSequence: 0 }));
    expect(all.at(-1)?.sequence).toBe(snapshot?.sequence);
    expect(all.flatMap(({ kind, job: { phase } }) => (kind === 'PHASE' ? [phase] : []))).toEqual(ORDER);
    const late = await collect(sdk.jobs.watch(id, { afterSequence: all.at(-2)?.sequence ?? 0 }));
    expect(sequences(late)).toEqual([snapshot?.sequence]);
    // At or behind the end there is nothing left to say but how it stands.
    for (const afterSequence of [snapshot?.sequence ?? 0, 1_000_000]) {
      expect(await collect(sdk.jobs.watch(id, { afterSequence }))).toMatchObject([{ kind: 'SNAPSHOT', job: { state: 'COMPLETED' } }]);
    }
    expect(await caught(collect(sdk.jobs.watch(id, { afterSequence: -1 })))).toMatchObject({ code: 'BAD_INPUT' });
    expect(await caught(collect(sdk.jobs.watch('job_00000000000000000000000000')))).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('the feed goes on after a cursor across a restart of the service, with nothing missed and nothing twice', async () => {
    const over = new AbortController();
    const seen: JobEvent[] = [];
    const feed = service.sdk.jobs.events({ instanceIds: [instance.id] }, { signal: over.signal });
    const reading = (async () => {
      for await (const event of feed) seen.push(event);
    })().catch(() => undefined);
    // The feed starts when it is subscribed to; what happens before is not in it.
    await waitFor(async () => {
      await backUp(service, instance.id, 'to be seen');
      return seen.length > 0;
    });
    await waitFor(() => seen.at(-1)?.job.state === 'COMPLETED');
    over.abort();
    await reading;
    const from = seen.at(-1)?.cursor ?? '';

    const { jobs: page } = await service.sdk.execute(STANDING, {});
    const { job: unseen } = await backUp(service, instance.id, 'while nobody looked');
    await service.restart();
    const { job } = await service.sdk.backups.create({ instanceId: instance.id, name: 'after the restart' });
    const since = async (cursor: string): Promise<JobEvent[]> => {
      const events: JobEvent[] = [];
      for await (const event of service.sdk.jobs.events({ instanceIds: [instance.id] }, { after: cursor })) {
        events.push(event);
        if (event.job.id === job.id && event.job.state === 'COMPLETED') break;
      }
      return events;
    };
    // After the last event, or after a page of jobs: the same that neither shows.
    for (const after of await Promise.all([since(from), since(page.feedCursor)])) {
      expect(new Set(after.map(({ cursor }) => cursor)).size).toBe(after.length);
      expect([...new Set(after.map((event) => event.job.id))]).toEqual([unseen?.id, job.id]);
      for (const id of [unseen?.id ?? '', job.id]) {
        const all = await collect(service.sdk.jobs.watch(id, { afterSequence: 0 }));
        expect(lasting(after.filter((event) => event.job.id === id))).toEqual(lasting(all));
        expect(page.nodes.map((node) => node.id)).not.toContain(id);
      }
    }
    expect(await caught(collect(service.sdk.jobs.events({}, { after: 'made up' })))).toMatchObject({ code: 'BAD_INPUT' });
    const listed = await service.sdk.jobs.list().pages().next();
    const foreign = (listed.value as { endCursor: string }).endCursor;
    expect(await caught(collect(service.sdk.jobs.events({}, { after: foreign })))).toMatchObject({ code: 'BAD_INPUT' });
  });

  it('takes a backup up again that a stop of the service has interrupted', async () => {
    await saveSlowly(source, 10_000);
    const { backup, job } = await service.sdk.backups.create({ instanceId: instance.id, name: 'interrupted' });
    const event = await firstEvent(service, job, flows);
    // For the next attempt; what saves now has its own.
    await saveSlowly(source, 0);
    await service.restart();
    const { sdk } = service;
    const began = performance.now();
    const done = await sdk.backups.wait({ backup, job }, { timeoutMs: 60_000 });
    // Not when the lease of the first attempt is over.
    expect(performance.now() - began).toBeLessThan(60_000);
    expect(done).toMatchObject({ state: 'AVAILABLE', keys: String(KEYS), integrity: 'STRUCTURE_AND_CHECKSUM' });
    expect(await sdk.jobs.get(job)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
    const later = await collect(sdk.jobs.watch(job.id, { afterSequence: event.sequence }));
    expect(rising([event.sequence, ...sequences(later)])).toBe(true);
    const good = await sdk.backups.list({ states: ['AVAILABLE'] }).toArray({ limit: 100 });
    // The attempt that sealed it was the second; of the first nothing is left.
    expect((await storedFiles(service)).map((path) => (path.includes(backup.id) ? path.replace(/\.2$/, '') : path))).toEqual(archivesOf(...good.map(({ id }) => id)));
  });

  it('says honestly what became of a restore that a stop of the service has interrupted', async () => {
    // More than socket buffers swallow, so that the transfer lasts as long as the load.
    const big = await startRedis({ config: { rdbcompression: 'no' } });
    const target = await startRedis({ config: { 'repl-diskless-load': 'swapdb', 'key-load-delay': '4000', 'loading-process-events-interval-bytes': '1024' } });
    try {
      await populate(big, KEYS, 10_000);
      const backup = await backUp(service, (await register(service, 'big', big)).id, 'for a restore');
      await populate(target, 20, 10, 'old');
      const { restore, job } = await startRestore(service, backup.id, await register(service, 'target', target));
      await firstEvent(service, job, ({ job: { phase } }) => phase === 'TRANSFERRING');
      await service.restart();
      const { sdk } = service;
      expect(await caught(sdk.restores.wait(restore, { timeoutMs: 60_000 }))).toMatchObject({ kind: 'job_failed', code: 'INTERRUPTED' });
      expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD' });
      expect((await sdk.jobs.get(job))?.failure).toMatchObject({ code: 'INTERRUPTED', hint: expect.stringContaining('plan') as string });
      expect(await target.cli('DBSIZE')).toBe('20');
      expect(await target.cli('SET', 'written', 'again')).toBe('OK');
    } finally {
      await Promise.all([big.stop(), target.stop()]);
    }
  });

  it('a removed instance keeps its backups, unless they are to go with it', async () => {
    const { sdk } = service;
    const other = await startRedis();
    try {
      await other.cli('SET', 'a', '1');
      const first = await register(service, 'removed', other);
      const kept = await backUp(service, first.id, 'kept');
      expect(await sdk.instances.remove(first)).toMatchObject({ removedAt: expect.any(String) as string });
      expect(await sdk.instances.list().toArray({ limit: 10 })).not.toContainEqual(expect.objectContaining({ id: first.id }));
      expect(await sdk.backups.get(kept)).toMatchObject({ state: 'AVAILABLE', instance: { id: first.id, name: 'removed' } });
      expect(await sdk.backups.list({ instanceId: first.id }).toArray({ limit: 10 })).toMatchObject([{ id: kept.id }]);
      expect((await new Response(await sdk.backups.download(kept.id)).arrayBuffer()).byteLength).toBe(Number(kept.sizeBytes));
      expect(await caught(sdk.backups.create({ instanceId: first.id, name: 'too late' }))).toMatchObject({ code: 'NOT_FOUND' });

      // Name and server are free again.
      const second = await register(service, 'removed', other);
      const gone = await backUp(service, second.id, 'gone');
      await sdk.instances.remove({ instanceId: second.id, deleteBackups: true });
      await waitFor(async () => (await sdk.backups.get(gone))?.state === 'DELETED');
      expect((await storedFiles(service)).filter((path) => path.includes(gone.id))).toEqual([]);
      expect(await sdk.backups.get(kept)).toMatchObject({ state: 'AVAILABLE' });
    } finally {
      await other.stop();
    }
  });
});
