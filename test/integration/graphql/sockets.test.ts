import { once } from 'node:events';
import { connect } from 'node:net';
import { type Client, createClient } from 'graphql-ws';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import WebSocket from 'ws';
import { DomainError } from '../../../server/domain/errors.js';
import { authorise } from '../../../server/domain/principal.js';
import { collect } from '../../kit/garbage.js';
import { ADMIN_KEY, type Edge, fakeServices, startEdge } from './edge.js';
import { feed } from './feed.js';
import { event, instance, job } from './records.js';

let edge: Edge | undefined;
const opened: { close(): void }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) one.close();
  await edge?.stop();
  edge = undefined;
});

const PROGRESS = 'subscription ($id: ID!, $after: Int) { jobProgress(jobId: $id, afterSequence: $after) { sequence kind job { id state sequence instance { name } } } }';

const client = (url: string, connectionParams: Record<string, unknown> = { authorization: `Bearer ${ADMIN_KEY}` }): Client => {
  const made = createClient({ url, connectionParams, webSocketImpl: WebSocket, retryAttempts: 0, lazyCloseTimeout: 0, onNonLazyError: () => undefined });
  opened.push({ close: () => void made.dispose() });
  return made;
};

/** A raw socket with the frames it gets and the code it is closed with. */
const rawSocket = async (url: string, options: { origin?: string; protocol?: string } = {}) => {
  const socket = new WebSocket(url, options.protocol ?? 'graphql-transport-ws', { ...(options.origin && { origin: options.origin }) });
  opened.push({ close: () => socket.terminate() });
  const frames: { type: string; id?: string; payload?: unknown }[] = [];
  socket.on('message', (data) => frames.push(JSON.parse(String(data)) as { type: string }));
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  const outcome = await new Promise<'open' | number>((resolve, reject) => {
    socket.once('open', () => resolve('open')).once('unexpected-response', (_req, res) => {
      resolve(res.statusCode ?? 0);
      res.resume();
    }).once('error', reject);
  });
  const send = (frame: unknown): void => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  return { socket, frames, closed, outcome, send };
};

/** The same, greeted and acknowledged. */
const greeted = async (url: string) => {
  const one = await rawSocket(url);
  one.send(init);
  await expect.poll(() => one.frames[0]?.type).toBe('connection_ack');
  return one;
};

const PING_MS = 10_000;

/** From now on sockets are pinged when the test says so, and not when the time has come: a machine that stands still would cut those that answer. */
const holdPings = () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => { vi.useRealTimers(); });
  return {
    /** Pings all, and waits until the service has heard this one's answer. */
    async send({ socket, frames, send }: Awaited<ReturnType<typeof rawSocket>>): Promise<void> {
      const pinged = once(socket, 'ping');
      vi.advanceTimersByTime(PING_MS);
      await pinged;
      const before = frames.length;
      // What is answered after the pong was sent behind it.
      send({ type: 'ping' });
      await expect.poll(() => frames.slice(before).some(({ type }) => type === 'pong')).toBe(true);
    },
  };
};

const init = { type: 'connection_init', payload: { authorization: ADMIN_KEY } };
const subscribe = (id: string, query: string, variables?: Record<string, unknown>) => ({ id, type: 'subscribe', payload: { query, variables } });

describe('subscriptions', () => {
  it('deliver events with fresh linked objects, and complete when the source ends', async () => {
    const source = feed();
    const running = job({ instanceId: instance().id });
    let reads = 0;
    const asked: unknown[] = [];
    edge = await startEdge(fakeServices({
      jobs: {
        progress: async (caller, input) => {
          authorise(caller, 'read');
          asked.push({ ...input });
          return source.iterator;
        },
      },
      instances: { getMany: async (_caller, ids) => ids.map((id) => ({ ...instance({ id }), name: `read ${(reads += 1)}` })) },
    }));
    const results = client(edge.wsUrl).iterate<{ jobProgress: unknown }>({ query: PROGRESS, variables: { id: running.id, after: 3 } });
    source.push(event(running, 4, { kind: 'SNAPSHOT' }), event(running, 5));
    source.finish();
    const seen: unknown[] = [];
    for await (const result of results) seen.push(result.data?.jobProgress);
    expect(seen).toEqual([
      { sequence: 4, kind: 'SNAPSHOT', job: { id: running.id, state: 'RUNNING', sequence: 4, instance: { name: 'read 1' } } },
      { sequence: 5, kind: 'PROGRESS', job: { id: running.id, state: 'RUNNING', sequence: 5, instance: { name: 'read 2' } } },
    ]);
    expect(asked).toEqual([{ jobId: running.id, afterSequence: 3 }]);
  });

  it('hand the filter of the feed to the service', async () => {
    const source = feed();
    const asked: unknown[] = [];
    edge = await startEdge(fakeServices({
      jobs: {
        events: async (_caller, input) => {
          asked.push(JSON.parse(JSON.stringify(input)));
          return source.iterator;
        },
      },
    }));
    source.finish();
    for await (const result of client(edge.wsUrl).iterate({ query: 'subscription { jobEvents(filter: { kinds: [RESTORE] }, after: "c7") { cursor } }' })) throw new Error(JSON.stringify(result));
    expect(asked).toEqual([{ filter: { kinds: ['RESTORE'] }, after: 'c7' }]);
  });

  it('let go of the source when the client unsubscribes, and when its socket breaks', async () => {
    const sources = [feed(), feed()];
    let next = 0;
    edge = await startEdge(fakeServices({ jobs: { events: async () => sources[next++]?.iterator ?? feed().iterator } }));
    const one = await greeted(edge.wsUrl);
    one.send(subscribe('1', 'subscription { jobEvents { cursor } }'));
    one.send(subscribe('2', 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => next).toBe(2);
    one.send({ id: '1', type: 'complete' });
    await expect.poll(() => sources[0]?.state.ended).toBe(true);
    expect(sources[1]?.state.ended).toBe(false);
    one.socket.terminate();
    await expect.poll(() => sources[1]?.state.ended).toBe(true);
    await expect.poll(() => edge?.app.sockets()).toBe(0);
  });

  it('let go of a source that arrives after the socket has closed', async () => {
    const source = feed();
    let give: () => void = () => undefined;
    let asked = false;
    edge = await startEdge(fakeServices({
      jobs: {
        events: () => new Promise((resolve) => {
          asked = true;
          give = () => resolve(source.iterator);
        }),
      },
    }));
    const one = await greeted(edge.wsUrl);
    one.send(subscribe('1', 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => asked).toBe(true);
    one.socket.terminate();
    await expect.poll(() => edge?.app.sockets()).toBe(0);
    give();
    await expect.poll(() => source.state.ended).toBe(true);
  });

  it('mask faults, at the start and in the middle, and log them', async () => {
    const source = feed();
    let calls = 0;
    edge = await startEdge(fakeServices({
      jobs: {
        progress: () => Promise.reject(new DomainError('NOT_FOUND', 'There is no such job.', { hint: 'Look at jobs.' })),
        events: async () => {
          calls += 1;
          if (calls === 1) throw new Error('secret at start');
          return source.iterator;
        },
      },
    }));
    const one = await greeted(edge.wsUrl);
    one.send(subscribe('known', PROGRESS, { id: 'job_x' }));
    await expect.poll(() => one.frames.find(({ id, type }) => id === 'known' && type === 'complete')).toBeDefined();
    one.send(subscribe('start', 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => one.frames.find(({ id, type }) => id === 'start' && type === 'complete')).toBeDefined();
    one.send(subscribe('middle', 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => calls).toBe(2);
    source.push(event(job(), 1), new Error('secret in the middle'));
    await expect.poll(() => one.frames.find(({ id, type }) => id === 'middle' && type === 'error')).toBeDefined();
    const text = JSON.stringify(one.frames);
    expect(text).not.toContain('secret');
    expect(one.frames.find(({ id }) => id === 'known')?.payload).toMatchObject({ errors: [{ message: 'There is no such job.', extensions: { code: 'NOT_FOUND', hint: 'Look at jobs.' } }] });
    expect(one.frames.find(({ id }) => id === 'start')?.payload).toMatchObject({ errors: [{ message: 'Internal error', extensions: { code: 'INTERNAL', requestId: expect.any(String) as unknown } }] });
    expect(one.frames.find(({ id, type }) => id === 'middle' && type === 'error')?.payload).toMatchObject([{ message: 'Internal error', extensions: { code: 'INTERNAL' } }]);
    expect(edge.log.filter(({ level }) => level === 'error')).toHaveLength(2);
    expect(one.socket.readyState).toBe(WebSocket.OPEN);
  });
});

describe('the socket', () => {
  it('carries subscriptions only, within the limits of HTTP', async () => {
    edge = await startEdge(fakeServices({}));
    const one = await greeted(edge.wsUrl);
    const documents: [string, string][] = [
      ['{ viewer { role } }', 'BAD_INPUT'], ['mutation { cancelJob(input: { jobId: "j" }) { job { id } } }', 'BAD_INPUT'], ['{ __schema { queryType { name } } }', 'BAD_INPUT'],
      ['subscription {', 'BAD_INPUT'], ['subscription { nothing }', 'BAD_INPUT'],
      [`subscription { jobEvents { ${'job { backup { '.repeat(8)} id ${'} }'.repeat(8)} } }`, 'LIMIT_EXCEEDED'],
    ];
    documents.forEach(([query], at) => one.send(subscribe(String(at), query)));
    await expect.poll(() => one.frames.filter(({ type }) => type === 'error').length).toBe(documents.length);
    const codes = documents.map((_, at) => (one.frames.find(({ id }) => id === String(at))?.payload as { extensions: { code: string } }[])[0]?.extensions.code);
    expect(codes).toEqual(documents.map(([, code]) => code));
  });

  it('bounds the subscriptions of one socket', async () => {
    let running = 0;
    edge = await startEdge(fakeServices({
      jobs: {
        events: async () => {
          running += 1;
          return feed().iterator;
        },
      },
    }), { sockets: { maxOperations: 3 } });
    const one = await greeted(edge.wsUrl);
    for (let at = 0; at < 5; at += 1) one.send(subscribe(String(at), 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => one.frames.filter(({ type }) => type === 'error').length).toBe(2);
    expect(running).toBe(3);
    expect(JSON.stringify(one.frames)).toContain('LIMIT_EXCEEDED');
  });

  it.each([['no key', {}], ['an unknown key', { authorization: 'Bearer sb_nobody' }], ['a key that is no text', { authorization: { $ne: 1 } }]])('with %s is closed with 4403', async (_what, payload) => {
    edge = await startEdge(fakeServices({}));
    const one = await rawSocket(edge.wsUrl);
    one.send({ type: 'connection_init', payload });
    expect(await one.closed).toBe(4403);
  });

  it('is closed with a code after which clients come again, never 4401 or 4500', async () => {
    let healthy = false;
    edge = await startEdge(fakeServices({}), { authenticate: () => (healthy ? Promise.resolve(undefined) : Promise.reject(new Error('database gone'))) });
    const early = await rawSocket(edge.wsUrl);
    early.send(subscribe('1', 'subscription { jobEvents { cursor } }'));
    expect(await early.closed).toBe(4403);
    const broken = await rawSocket(edge.wsUrl);
    broken.send(init);
    expect(await broken.closed).toBe(1013);
    expect(edge.log.some(({ level }) => level === 'error')).toBe(true);
    healthy = true;
    const refused = await rawSocket(edge.wsUrl);
    refused.send(init);
    expect(await refused.closed).toBe(4403);
  });

  it('asks for the key again at each subscription', async () => {
    let revoked = false;
    edge = await startEdge(fakeServices({ jobs: { events: async () => feed().iterator } }), {
      authenticate: async () => (revoked ? undefined : { credential: 'API_KEY', keyId: 'k', name: 'k', projectId: 'p', role: 'VIEWER', serviceWide: false, instanceIds: null, expiresAt: null }),
    });
    const one = await greeted(edge.wsUrl);
    revoked = true;
    one.send(subscribe('1', 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => JSON.stringify(one.frames)).toContain('UNAUTHENTICATED');
  });

  it('is only opened to pages of our own host or of a listed one', async () => {
    edge = await startEdge(fakeServices({}), { allowedOrigins: ['https://dash.example.com'] });
    const outcome = async (origin: string): Promise<unknown> => (await rawSocket(edge?.wsUrl ?? '', { origin })).outcome;
    expect(await outcome(edge.url)).toBe('open');
    expect(await outcome('https://dash.example.com')).toBe('open');
    for (const foreign of ['https://evil.example.com', 'https://dash.example.com.evil.com', 'null', 'http://127.0.0.1:1', 'nonsense']) expect(await outcome(foreign)).toBe(403);
    expect((await rawSocket(`${edge.wsUrl}/other`)).outcome).toBe(404);
  });

  it('is cut when it stays silent, sends too much, or speaks another protocol', async () => {
    edge = await startEdge(fakeServices({}), { sockets: { initTimeoutMs: 150 } });
    const silent = await rawSocket(edge.wsUrl);
    expect(await silent.closed).toBe(4408);
    await edge.stop();
    edge = await startEdge(fakeServices({}), { sockets: { initTimeoutMs: 600_000, maxFrameBytes: 1_000 } });
    const large = await rawSocket(edge.wsUrl);
    large.send('x'.repeat(2_000));
    expect(await large.closed).toBe(1009);
    const garbage = await rawSocket(edge.wsUrl);
    garbage.send('not json');
    expect(await garbage.closed).toBe(4400);
    const twice = await rawSocket(edge.wsUrl);
    twice.send(init);
    twice.send(init);
    expect(await twice.closed).toBe(4429);
    await expect(rawSocket(edge.wsUrl, { protocol: 'graphql-ws' })).rejects.toThrow();
  });

  it.each(['graphql-transport-ws', 'graphql-ws'])('is cut when it asks for %s and goes on with what is no frame', async (protocol) => {
    edge = await startEdge(fakeServices({}));
    const { hostname, port } = new URL(edge.url);
    const socket = connect({ host: hostname, port: Number(port) });
    opened.push({ close: () => socket.destroy() });
    let answer = '';
    socket.on('data', (piece: Buffer) => { answer += piece.toString('latin1'); }).on('error', () => undefined);
    const gone = once(socket, 'close');
    socket.write([
      'GET /graphql HTTP/1.1', `Host: ${hostname}:${port}`, 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==', 'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Protocol: ${protocol}`, '', '',
    ].join('\r\n'));
    await expect.poll(() => answer).toMatch(/^HTTP\/1\.1 101 /);
    socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    await gone;
    expect((await greeted(edge.wsUrl)).frames).toHaveLength(1);
  });

  it('is cut when it answers no ping', async () => {
    const pings = holdPings();
    edge = await startEdge(fakeServices({}), { sockets: { pingMs: PING_MS } });
    const answering = await greeted(edge.wsUrl);
    const mute = new WebSocket(edge.wsUrl, 'graphql-transport-ws', { autoPong: false });
    opened.push({ close: () => mute.terminate() });
    const closed = new Promise((resolve) => mute.once('close', resolve));
    await once(mute, 'open');
    await pings.send(answering);
    await pings.send(answering);
    expect(await closed).toBe(1006);
    expect(answering.socket.readyState).toBe(WebSocket.OPEN);
  });

  it('that takes nothing is waited for, and cut when it answers no ping; its source waits, and tells it when that lasts too long', async () => {
    const [stuck, well, late] = [feed(), feed(), feed()];
    const sources = [stuck, well, late];
    const pings = holdPings();
    edge = await startEdge(fakeServices({ jobs: { events: async () => (sources.shift() ?? feed()).iterator } }), { sockets: { pingMs: PING_MS } });
    const frozen = await greeted(edge.wsUrl);
    frozen.send(subscribe('1', 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => sources.length).toBe(2);
    const other = await greeted(edge.wsUrl);
    other.send(subscribe('1', 'subscription { jobEvents { cursor } }'));
    other.send(subscribe('2', 'subscription { jobEvents { cursor } }'));
    await expect.poll(() => sources.length).toBe(0);
    (frozen.socket as unknown as { _socket: { pause(): void } })._socket.pause();
    const large = 'x'.repeat(1_000_000);
    const taken = new Set<number>();
    for (let at = 0; at < 120; at += 1) {
      stuck.push({ ...event(job(), at), get cursor() {
        taken.add(at);
        return large;
      } });
    }
    well.push(event(job(), 1));
    await expect.poll(() => other.frames.filter(({ type }) => type === 'next').length).toBe(1);
    await pings.send(other);
    await pings.send(other);
    // The kernel takes some of it; the rest was never asked for.
    await expect.poll(() => stuck.state.ended).toBe(true);
    expect(taken.size).toBeLessThan(60);
    expect(edge.app.sockets()).toBe(1);
    late.push(new DomainError('TOO_SLOW', 'It takes nothing.', { retryable: true }));
    expect(await other.closed).toBe(1013);
    await expect.poll(() => well.state.ended).toBe(true);
  });

  it('leaves nothing behind when it comes, subscribes and goes, however often', async () => {
    const sources = new Set<ReturnType<typeof feed>>();
    edge = await startEdge(fakeServices({
      jobs: {
        events: async () => {
          const source = feed();
          sources.add(source);
          source.push(event(job(), 1));
          return source.iterator;
        },
      },
    }));
    const { wsUrl, app } = edge;
    const cycle = async (): Promise<void> => {
      const socket = new WebSocket(wsUrl, 'graphql-transport-ws');
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject).once('open', () => socket.send(JSON.stringify(init))).on('message', (data) => {
          const { type } = JSON.parse(String(data)) as { type: string };
          if (type === 'connection_ack') socket.send(JSON.stringify(subscribe('1', 'subscription { jobEvents { cursor } }')));
          else if (type === 'next') resolve();
        });
      });
      socket.terminate();
    };
    const cycles = async (count: number): Promise<number> => {
      for (let at = 0; at < count; at += 10) await Promise.all(Array.from({ length: 10 }, cycle));
      await expect.poll(() => app.sockets()).toBe(0);
      await expect.poll(() => [...sources].every(({ state }) => state.ended)).toBe(true);
      sources.clear();
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = await cycles(100);
    await cycles(400);
    // What is on its way out may take its time.
    await expect.poll(() => {
      collect();
      return process.memoryUsage().heapUsed / before;
    }).toBeLessThan(1.05);
  });

  it('is closed with 1012 when the service stops, and its sources are let go', async () => {
    const source = feed();
    edge = await startEdge(fakeServices({ jobs: { events: async () => source.iterator } }));
    const one = await greeted(edge.wsUrl);
    one.send(subscribe('1', 'subscription { jobEvents { cursor } }'));
    source.push(event(job(), 1));
    await expect.poll(() => one.frames.some(({ type }) => type === 'next')).toBe(true);
    await edge.stop();
    expect(await one.closed).toBe(1012);
    expect(source.state.ended).toBe(true);
  });
});
