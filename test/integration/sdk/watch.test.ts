import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import {
  createClient, isSnapbackError, SDK_VERSION, type Client, type ClientEvent, type ClientOptions, type JobEvent, type SnapbackError, type WebSocketConstructor,
} from '../../../sdk/src/index.js';
import { waitFor } from '../../kit/wait.js';
import { FakeJob, makeBackup, startFakeService, TOKEN, type FakeService, type Resolvers } from './fake-service.js';

const started: { service: FakeService; clients: Client[] }[] = [];
afterEach(async () => {
  for (const { service, clients } of started.splice(0)) {
    for (const client of clients) client.close();
    await service.stop();
  }
});

const begin = async (job: FakeJob, options: Partial<ClientOptions> = {}, resolvers: Resolvers = {}, newer = ''): Promise<{ service: FakeService; client: Client }> => {
  const service = await startFakeService({ ...job.resolvers, Query: { ...job.resolvers['Query'], ...resolvers['Query'] }, Mutation: resolvers['Mutation'] ?? {} }, newer);
  const client = createClient({ url: service.url, token: TOKEN, retry: { baseMs: 1, maxMs: 5 }, ...options });
  started.push({ service, clients: [client] });
  return { service, client };
};

const failure = async (promise: Promise<unknown>): Promise<SnapbackError> => {
  const error: unknown = await promise.then(() => undefined, (reason: unknown) => reason);
  if (!isSnapbackError(error)) throw new Error(`Expected an error of the SDK, got ${String(error)}`);
  return error;
};

/** Reads in the background; `events` grows meanwhile. */
const read = (iterable: AsyncIterable<JobEvent>): { events: JobEvent[]; done: Promise<void> } => {
  const events: JobEvent[] = [];
  const done = (async () => {
    for await (const event of iterable) events.push(event);
  })();
  done.catch(() => undefined);
  return { events, done };
};

describe('watching a job', () => {
  it('gives how it stands, each change, and ends by itself with the socket closed', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    job.emit('PHASE', { phase: 'VERIFYING' });
    await waitFor(() => events.length === 2);
    job.succeed();
    await done;
    expect(events.map(({ kind, sequence }) => [kind, sequence])).toEqual([['SNAPSHOT', 1], ['PHASE', 2], ['STATE', 3]]);
    expect(events.at(-1)?.job.conclusion).toBe('SUCCEEDED');
    expect(service.inits).toEqual([{ authorization: `Bearer ${TOKEN}`, sdk: SDK_VERSION }]);
    await waitFor(() => service.openSockets() === 0);
  });

  it('gives one event for a job that ended long ago', async () => {
    const job = new FakeJob('job_1');
    job.succeed();
    const { client } = await begin(job);
    const { events, done } = read(client.jobs.watch({ id: 'job_1' }));
    await done;
    expect(events).toMatchObject([{ kind: 'SNAPSHOT', job: { state: 'COMPLETED' } }]);
  });

  it('resumes over cut connections without a gap and without a duplicate', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    for (let round = 1; round <= 20; round += 1) {
      service.cutSockets();
      job.emit('PHASE', { phase: round % 2 === 0 ? 'VERIFYING' : 'TRANSFERRING' });
      if (round % 3 === 0) await waitFor(() => events.length === round + 1);
    }
    job.succeed();
    await done;
    expect(events.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 22 }, (_, i) => i + 1));
    expect(job.subscribed.length).toBeGreaterThan(5);
    expect(job.subscribed[0]).toBeUndefined();
  });

  it('does not repeat the snapshot when nothing happened during the cut', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    service.cutSockets();
    await waitFor(() => job.subscribed.length === 2);
    expect(job.subscribed[1]).toBe(1);
    job.succeed();
    await done;
    expect(events.map(({ sequence }) => sequence)).toEqual([1, 2]);
  });

  it('begins after a given sequence', async () => {
    const job = new FakeJob('job_1');
    job.emit('PHASE');
    job.emit('PHASE');
    job.succeed();
    const { client } = await begin(job);
    const { events, done } = read(client.jobs.watch('job_1', { afterSequence: 2 }));
    await done;
    expect(events.map(({ sequence }) => sequence)).toEqual([3, 4]);
  });

  it('notices a connection that has gone silent, and takes it up anew', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job, { keepAliveMs: 200 });
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    service.freezeSockets();
    job.succeed();
    await done;
    expect(events.map(({ sequence }) => sequence)).toEqual([1, 2]);
    // More, where the machine stands still for longer.
    expect(job.subscribed.length).toBeGreaterThanOrEqual(2);
  });

  it('drops progress that a slow reader has not seen yet, and nothing else', async () => {
    const job = new FakeJob('job_1');
    const { client } = await begin(job);
    const events: JobEvent[] = [];
    for await (const event of client.jobs.watch('job_1')) {
      events.push(event);
      if (events.length > 1) continue;
      for (let i = 0; i < 50; i += 1) job.emit('PROGRESS');
      job.emit('PHASE', { phase: 'SEALING' });
      for (let i = 0; i < 50; i += 1) job.emit('PROGRESS');
      job.succeed();
      // The second watch shares the socket: once its event is here, all that was sent before has arrived.
      await waitFor(() => job.finished === 1);
      await read(client.jobs.watch('job_1')).done;
    }
    expect(events.filter(({ kind }) => kind !== 'PROGRESS').map(({ kind }) => kind)).toEqual(['SNAPSHOT', 'PHASE', 'STATE']);
    expect(events.length).toBeLessThanOrEqual(5);
    const sequences = events.map(({ sequence }) => sequence);
    expect(sequences).toEqual([...sequences].sort((a, b) => a - b));
  });

  it('shares one socket between several watches', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    const watches = Array.from({ length: 10 }, () => read(client.jobs.watch('job_1')));
    await waitFor(() => watches.every(({ events }) => events.length === 1));
    expect(service.openSockets()).toBe(1);
    job.succeed();
    await Promise.all(watches.map(({ done }) => done));
    await waitFor(() => service.openSockets() === 0);
  });

  it('throws when the signal is aborted, and lets go of the socket', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    const controller = new AbortController();
    const { events, done } = read(client.jobs.watch('job_1', { signal: controller.signal }));
    await waitFor(() => events.length === 1);
    controller.abort();
    expect(await failure(done)).toMatchObject({ kind: 'aborted', code: 'ABORTED' });
    await waitFor(() => service.openSockets() === 0);
    expect(await failure(read(client.jobs.watch('job_1', { signal: AbortSignal.abort() })).done)).toMatchObject({ kind: 'aborted' });
  });

  it('lets go of the socket when the loop is left, and when return() interrupts a waiting next()', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    for await (const event of client.jobs.watch('job_1')) {
      expect(event.sequence).toBe(1);
      break;
    }
    await waitFor(() => service.openSockets() === 0);

    const iterator = client.jobs.watch('job_1');
    await iterator.next();
    const waiting = iterator.next();
    await iterator.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    await waitFor(() => service.openSockets() === 0);
  });

  it('leaves nothing behind after 1,000 aborted watches', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    const outer = new AbortController();
    let listening = 0;
    const signal = new Proxy(outer.signal, {
      get: (target, key) => {
        if (key === 'addEventListener') return (...args: Parameters<AbortSignal['addEventListener']>) => { listening += 1; target.addEventListener(...args); };
        if (key === 'removeEventListener') return (...args: Parameters<AbortSignal['removeEventListener']>) => { listening -= 1; target.removeEventListener(...args); };
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    for (let batch = 0; batch < 100; batch += 1) {
      await Promise.all(Array.from({ length: 10 }, async () => {
        const iterator = client.jobs.watch('job_1', { signal });
        await iterator.next();
        await iterator.return?.();
      }));
    }
    expect(listening).toBe(0);
    await waitFor(() => service.openSockets() === 0);
  });

  it('ends when the client is closed', async () => {
    const job = new FakeJob('job_1');
    const { client } = await begin(job);
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    client.close();
    expect(await failure(done)).toMatchObject({ kind: 'aborted' });
  });

  it('ends when the client is closed before the code behind it has been loaded, and begins anew after that', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job);
    const watched = client.jobs.watch('job_1').next();
    const given = client.jobs.watch('job_1');
    const givenUp = given.next();
    void given.return?.();
    const waited = client.jobs.wait('job_1');
    const waitedForBackup = client.backups.wait('backup_1');
    client.close();
    const later = read(client.jobs.watch('job_1'));
    for (const promise of [watched, waited, waitedForBackup]) expect(await failure(promise)).toMatchObject({ kind: 'aborted' });
    expect(await givenUp).toEqual({ done: true, value: undefined });
    await waitFor(() => later.events.length === 1);
    expect(service.inits).toHaveLength(1);
  });

  it('ends when the client is closed while there is no socket, and it waits for its next attempt', async () => {
    const job = new FakeJob('job_1');
    const ways: string[] = [];
    const { service, client } = await begin(job, { retry: { attempts: 100, baseMs: 60_000, maxMs: 60_000 }, onEvent: (event) => { if (event.type === 'fallback') ways.push(event.to); } });
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    service.refuseSockets(true);
    service.cutSockets();
    // The socket failed, and so did the event stream, that this service has not.
    await waitFor(() => ways.at(-1) === 'socket');
    client.close();
    expect(await failure(done)).toMatchObject({ kind: 'aborted' });
  });
});

describe('a socket that cannot be had', () => {
  it('because the key is refused is not tried again', async () => {
    const { service } = await begin(new FakeJob('job_1'));
    const stranger = createClient({ url: service.url, token: 'sb_wrong', retry: { baseMs: 1 } });
    expect(await failure(read(stranger.jobs.watch('job_1')).done)).toMatchObject({ kind: 'graphql', code: 'UNAUTHENTICATED', retryable: false });
    expect(service.inits).toHaveLength(1);
  });

  it('with the token that a function gave first is tried with the one it gives then', async () => {
    const job = new FakeJob('job_1');
    let calls = 0;
    const { service, client } = await begin(job, { token: () => { calls += 1; return calls === 1 ? 'sb_old' : TOKEN; } });
    const watches = [read(client.jobs.watch('job_1')), read(client.jobs.watch('job_1'))];
    await waitFor(() => watches.every(({ events }) => events.length === 1));
    job.succeed();
    await Promise.all(watches.map(({ done }) => done));
    expect([calls, service.inits.length]).toEqual([2, 2]);

    const always = createClient({ url: service.url, token: () => { calls += 1; return `sb_wrong_${String(calls)}`; }, retry: { baseMs: 1 } });
    expect(await failure(read(always.jobs.watch('job_1')).done)).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(service.inits).toHaveLength(4);
  });

  it('is tried as often as calls are, before the first event', async () => {
    const { service, client } = await begin(new FakeJob('job_1'));
    service.refuseSockets(true);
    expect(await failure(read(client.jobs.watch('job_1')).done)).toMatchObject({ kind: 'network', code: 'NETWORK' });
    expect(service.inits).toHaveLength(0);
  });

  it('is tried for as long as allowed, after the first event', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job, { retry: { attempts: 1, baseMs: 1, maxMs: 5, resumeForMs: 150 } });
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    service.refuseSockets(true);
    service.cutSockets();
    const since = performance.now();
    expect(await failure(done)).toMatchObject({ kind: 'network' });
    expect(performance.now() - since).toBeGreaterThan(100);
  });

  it('is told apart from a service that refuses the document', async () => {
    const { client } = await begin(new FakeJob('job_1'));
    const own = client.subscribe('subscription { nothingLikeThis }', {});
    expect(await failure(own.next())).toMatchObject({ kind: 'graphql' });
  });

  it('may be given as an option', async () => {
    const job = new FakeJob('job_1');
    job.succeed();
    let made = 0;
    class Counting extends WebSocket {
      constructor(url: string, protocols: string) {
        super(url, protocols);
        made += 1;
      }
    }
    const { client } = await begin(job, { webSocket: Counting as unknown as WebSocketConstructor });
    await read(client.jobs.watch('job_1')).done;
    expect(made).toBe(1);
  });
});

describe('where there is no socket', () => {
  it('events come over an event stream, which is resumed like a socket and let go of', async () => {
    const job = new FakeJob('job_1');
    const told: ClientEvent[] = [];
    const { service, client } = await begin(job, { onEvent: (event) => told.push(event) });
    service.refuseSockets(true);
    service.offerStreams(true);
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    for (let round = 1; round <= 10; round += 1) {
      service.cutStreams();
      job.emit('PHASE', { phase: round % 2 === 0 ? 'VERIFYING' : 'TRANSFERRING' });
      if (round % 3 === 0) await waitFor(() => events.length === round + 1);
    }
    const left = client.jobs.watch('job_1');
    await left.next();
    await left.return?.();
    job.succeed();
    await done;
    expect(events.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    expect(told.filter(({ type }) => type === 'fallback')[0]).toMatchObject({ to: 'sse', error: { kind: 'network' } });
    await waitFor(() => service.openStreams() === 0);
  });

  it('event streams take a new token, and say what the service says', async () => {
    const job = new FakeJob('job_1');
    let calls = 0;
    const { service, client } = await begin(job, {
      token: () => { calls += 1; return calls === 1 ? 'sb_old' : TOKEN; },
      webSocket: class { constructor() { throw new Error('none here'); } } as unknown as WebSocketConstructor,
    });
    service.offerStreams(true);
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    job.succeed();
    await done;
    expect(calls).toBe(2);
    const stranger = createClient({ url: service.url, token: 'sb_wrong', webSocket: class { constructor() { throw new Error('none here'); } } as unknown as WebSocketConstructor });
    expect(await failure(read(stranger.jobs.watch('job_1')).done)).toMatchObject({ code: 'UNAUTHENTICATED' });
  });

  it('and no event stream either, a wait asks for the job, and a watch fails with what the socket said', async () => {
    const job = new FakeJob('job_1');
    const told: ClientEvent[] = [];
    const { service, client } = await begin(job, { onEvent: (event) => told.push(event) });
    service.refuseSockets(true);
    const seen: [string, unknown][] = [];
    const waiting = client.jobs.wait('job_1', { onProgress: ({ state }, event) => { seen.push([state, event]); } });
    await waitFor(() => seen.length === 1);
    job.succeed();
    expect(await waiting).toMatchObject({ conclusion: 'SUCCEEDED' });
    expect(seen).toEqual([['RUNNING', undefined], ['COMPLETED', undefined]]);
    expect(told.flatMap((event) => (event.type === 'fallback' ? event.to : []))).toEqual(['sse', 'polling']);
    expect(await failure(read(client.jobs.watch('job_1')).done)).toMatchObject({ kind: 'network', code: 'NETWORK' });
  });
});

describe('waiting', () => {
  const backup = makeBackup('bak_1', { job: { id: 'job_1', kind: 'BACKUP', state: 'RUNNING', conclusion: null } });
  const query = { Query: { backup: (_: unknown, { id }: { id: string }) => (id === 'bak_1' ? backup : id === 'bak_2' ? makeBackup('bak_2') : null) } };

  it('gives the finished backup, from an id, from the backup, and from what create returned', async () => {
    const job = new FakeJob('job_1');
    const { client } = await begin(job, {}, query);
    const seen: string[] = [];
    const waits = [
      client.backups.wait('bak_1', { onProgress: ({ phase }) => seen.push(String(phase)) }),
      client.backups.wait({ id: 'bak_1' }),
      client.backups.wait({ backup: { id: 'bak_1' }, job: { id: 'job_1' } }),
    ];
    await waitFor(() => job.subscribed.length === 3 && seen.length === 1);
    job.emit('PHASE', { phase: 'SEALING' });
    await waitFor(() => seen.length === 2);
    job.succeed();
    for (const wait of waits) expect(await wait).toMatchObject({ id: 'bak_1', state: 'AVAILABLE' });
    expect(seen).toEqual(['TRANSFERRING', 'SEALING', 'SEALING']);
  });

  it('throws why the job failed', async () => {
    const job = new FakeJob('job_1');
    const { client } = await begin(job, {}, query);
    job.emit('STATE', {
      state: 'COMPLETED', conclusion: 'FAILED',
      failure: { code: 'SOURCE_DISCONNECTED', message: 'The source went away at byte 7.', hint: 'Look at its log.', retryable: true, phase: 'TRANSFERRING', at: '2026-03-01T02:00:00.000Z' },
    });
    expect(await failure(client.backups.wait('bak_1'))).toMatchObject({
      name: 'JobFailedError', kind: 'job_failed', code: 'SOURCE_DISCONNECTED', hint: 'Look at its log.', jobId: 'job_1', retryable: true,
      job: { id: 'job_1', conclusion: 'FAILED' },
    });
  });

  it('gives what it has never heard of as it came: kinds of events, phases, states, codes, and a conclusion that is no success', async () => {
    const job = new FakeJob('job_1', { kind: 'TRANSMUTE' });
    const { client } = await begin(job, {}, {
      Query: { backups: () => ({ nodes: [makeBackup('bak_9', { state: 'FROZEN' })], edges: [], totalCount: 1, pageInfo: { hasNextPage: false, hasPreviousPage: false } }) },
      Mutation: { cancelJob: () => ({ job: null, userErrors: [{ code: 'MERCURY_SPILLED', message: 'Mind the floor.', field: null }] }) },
    }, `
      extend enum JobKind { TRANSMUTE } extend enum JobEventKind { OMEN } extend enum Phase { SUBLIMING } extend enum JobConclusion { GILDED }
      extend enum BackupState { FROZEN } extend enum ErrorCode { MERCURY_SPILLED }
    `);
    const { events, done } = read(client.jobs.watch('job_1'));
    await waitFor(() => events.length === 1);
    job.emit('OMEN', { phase: 'SUBLIMING' });
    job.emit('OMEN');
    job.emit('STATE', { state: 'COMPLETED', conclusion: 'GILDED' });
    await done;
    expect(events.map((event) => [event.kind, event.job.kind, event.job.phase, event.job.conclusion])).toEqual([
      ['SNAPSHOT', 'TRANSMUTE', 'TRANSFERRING', null], ['OMEN', 'TRANSMUTE', 'SUBLIMING', null], ['OMEN', 'TRANSMUTE', 'SUBLIMING', null], ['STATE', 'TRANSMUTE', 'SUBLIMING', 'GILDED'],
    ]);
    expect(await failure(client.jobs.wait('job_1'))).toMatchObject({ kind: 'job_failed', code: 'GILDED', retryable: false });
    expect((await client.backups.list().first())?.state).toBe('FROZEN');
    expect(await failure(client.jobs.cancel('job_1'))).toMatchObject({ kind: 'user_input', code: 'MERCURY_SPILLED' });
  });

  it('takes a job that was cancelled for one that failed', async () => {
    const job = new FakeJob('job_1');
    const { client } = await begin(job);
    job.emit('STATE', { state: 'COMPLETED', conclusion: 'CANCELLED' });
    expect(await failure(client.jobs.wait('job_1'))).toMatchObject({ kind: 'job_failed', code: 'CANCELLED' });
  });

  it('ends after its time with kind timeout, while the job goes on', async () => {
    const { service, client } = await begin(new FakeJob('job_1'));
    expect(await failure(client.jobs.wait('job_1', { timeoutMs: 50 }))).toMatchObject({ kind: 'timeout' });
    await waitFor(() => service.openSockets() === 0);
  });

  it('gives a backup without a job at once, and NOT_FOUND for one that is not there', async () => {
    const { client } = await begin(new FakeJob('job_1'), {}, query);
    expect(await client.backups.wait('bak_2')).toMatchObject({ id: 'bak_2' });
    expect(await failure(client.backups.wait('bak_3'))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await failure(read(client.backups.watch('bak_2')).done)).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('ends with what onProgress throws', async () => {
    const { service, client } = await begin(new FakeJob('job_1'));
    const wait = client.jobs.wait('job_1', { onProgress: () => { throw new RangeError('mine'); } });
    await expect(wait).rejects.toThrow(RangeError);
    await waitFor(() => service.openSockets() === 0);
  });
});

describe('the feed', () => {
  it('begins when it is asked for, misses nothing of a cut before its first event, resumes after its last cursor, and ends with the loop', async () => {
    const job = new FakeJob('job_1');
    const { service, client } = await begin(job, { retry: { baseMs: 1, maxMs: 5, attempts: 50 } });
    job.emit('PHASE');
    const { events, done } = read(client.jobs.events());
    await waitFor(() => service.openSockets() === 1 && service.inits.length === 1);
    service.refuseSockets(true);
    service.cutSockets();
    await waitFor(() => service.openSockets() === 0);
    job.emit('PHASE');
    service.refuseSockets(false);
    await waitFor(() => events.length > 0);
    expect(events[0]?.sequence).toBe(3);
    const first = events[0]!.sequence;
    for (let round = 0; round < 10; round += 1) {
      service.cutSockets();
      job.emit('PHASE');
    }
    await waitFor(() => events.at(-1)?.sequence === job.log.length);
    const sequences = events.map(({ sequence }) => sequence);
    expect(sequences).toEqual(Array.from({ length: sequences.length }, (_, i) => first + i));
    client.close();
    expect(await failure(done)).toMatchObject({ kind: 'aborted' });
  });
});
