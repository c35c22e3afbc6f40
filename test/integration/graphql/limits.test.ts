import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import WebSocket from 'ws';
import { type Principal } from '../../../server/domain/principal.js';
import { type JobEventRecord } from '../../../server/services/records.js';
import { collect } from '../../kit/garbage.js';
import { ADMIN_KEY, type Edge, fakeServices, pageOf, readServices, startEdge, VIEWER_KEY } from './edge.js';
import { event, instance, job } from './records.js';

let edge: Edge | undefined;
const sockets: { destroy(): void }[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await edge?.stop();
  edge = undefined;
});

const admin = (keyId: string): Principal => ({ credential: 'API_KEY', keyId, name: keyId, projectId: 'prj_1', serviceWide: false, role: 'ADMIN', instanceIds: null, expiresAt: null });
const LIST = '{ instances(first: 100) { nodes { id name } } rateLimit { cost limit remaining resetAt } }';
const reading = () => fakeServices({ ...readServices({ instances: [instance()], backups: [], jobs: [] }).services, slots: { listByInstance: async (_caller, ids) => ids.map(() => pageOf([])) } });

describe('the points of a key', () => {
  it('count the values that an answer may hold, and are refused when they are used up, of this key only', async () => {
    edge = await startEdge(reading(), { pointsPerMinute: 1_000 });
    const { ask, url } = edge;
    const first = await ask(LIST);
    // 100 nodes with two fields, the connection, and rateLimit with its four.
    expect(first.body.data?.['rateLimit']).toMatchObject({ cost: 306, limit: 1_000, remaining: 694 });
    expect(Date.parse(String((first.body.data?.['rateLimit'] as { resetAt: string }).resetAt)) - Date.now()).toBeGreaterThan(10_000);
    expect((await ask('query ($n: Int) { instances(first: $n) { nodes { id } } rateLimit { cost } }', { n: 5 })).body.data?.['rateLimit']).toEqual({ cost: 13 });
    const answers = [await ask(LIST), await ask(LIST), await ask(LIST)];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    const [, , refused] = answers;
    const { code, retryAfterMs } = (refused?.body.errors?.[0]?.extensions ?? {}) as { code: string; retryAfterMs: number };
    expect([code, refused?.body.data]).toEqual(['RATE_LIMITED', undefined]);
    expect(retryAfterMs).toBeGreaterThan(5_000);
    expect(refused?.headers.get('retry-after')).toBe(String(retryAfterMs / 1000));
    // What is small still passes; another key has all of its own.
    expect((await ask('{ rateLimit { remaining } }')).status).toBe(200);
    expect((await ask(LIST, {}, { authorization: `Bearer ${VIEWER_KEY}` })).status).toBe(200);
    expect((await fetch(`${url}/graphql?query=${encodeURIComponent(LIST)}`, { headers: { authorization: `Bearer ${ADMIN_KEY}`, 'apollo-require-preflight': '1' } })).status).toBe(429);
    expect((await ask('{ instances(first: 100) { nodes { id name host port } } instances2: instances(first: 100) { nodes { id name host port } } }')).body.errors?.[0]?.extensions['code']).toBe('LIMIT_EXCEEDED');
  });

  it('are none where nobody is limited; a single operation is limited all the same, with its answer and its variables', async () => {
    edge = await startEdge(reading(), { maxAnswerLength: 300 });
    const { ask } = edge;
    const codeOf = async (query: string, variables?: Record<string, unknown>): Promise<unknown[]> => {
      const { status, body } = await ask(query, variables);
      return [status, body.errors?.[0]?.extensions['code'] ?? null];
    };
    expect((await ask('{ rateLimit { cost } }')).body).toEqual({ data: { rateLimit: null } });
    expect(await codeOf('{ instances(first: 100) { nodes { slots(first: 100) { nodes { id } } } } }')).toEqual([400, 'LIMIT_EXCEEDED']);
    expect(await codeOf('{ instances(first: 100) { nodes { slots(first: 90) { nodes { id } } } } }')).toEqual([200, null]);
    expect(await codeOf('{ instances { nodes { id name host port createdAt updatedAt hasPassword acceptPartial } } viewer { role keyName project { id name } } }')).toEqual([200, 'LIMIT_EXCEEDED']);
    expect(await codeOf('query ($f: InstanceFilter) { instances(filter: $f) { totalCount } }', { f: { nameContains: Array.from({ length: 2_001 }, () => 'x') } })).toEqual([400, 'LIMIT_EXCEEDED']);
  });
});

describe('introspection that is off', () => {
  it('tells nothing of the schema over a socket either, neither asked nor in suggestions', async () => {
    edge = await startEdge(fakeServices({}), { introspection: false });
    const socket = await greeted(edge);
    const errors: string[] = [];
    socket.on('message', (data) => errors.push(String(data)));
    const documents = ['subscription { jobEvent { cursor } }', 'subscription { jobEvents { curso } }', 'subscription { jobEvents(filter: { kinds: [BACKUPS] }) { cursor } }', 'subscription { jobEvents(filtre: {}) { cursor } }', '{ __schema { queryType { name } } }'];
    documents.forEach((query, at) => socket.send(JSON.stringify({ id: String(at), type: 'subscribe', payload: { query } })));
    socket.send(JSON.stringify({ id: 'v', type: 'subscribe', payload: { query: 'subscription ($f: JobEventFilter) { jobEvents(filter: $f) { cursor } }', variables: { f: { kind: ['BACKUP'] } } } }));
    await expect.poll(() => errors.filter((text) => /"type":"(error|next)"/.test(text)).length).toBe(documents.length + 1);
    expect(errors.join('\n')).not.toMatch(/Did you mean|"cursor|jobEvents"\?/);
    expect((await edge.ask('query ($f: InstanceFilter) { instances(filter: $f) { totalCount } }', { f: { engin: 'REDIS' } })).body.errors?.[0]?.message).not.toContain('Did you mean');
  });
});

/** A socket that has said whose it is, and was let in. */
const greeted = async ({ wsUrl }: Edge, key = ADMIN_KEY): Promise<WebSocket> => {
  const socket = new WebSocket(wsUrl, 'graphql-transport-ws');
  sockets.push({ destroy: () => socket.terminate() });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', () => socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: key } }))).once('message', () => resolve())
      .once('error', reject).once('close', (code) => reject(new Error(`closed with ${code}`)));
  });
  return socket;
};

/** Of both sides, in bytes, without garbage. */
const heldMemory = (): number => {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

const PING_MS = 10_000;
/** Sockets are pinged when the test says so: by the time nobody knows how far the others have come. */
const holdPings = (): { send(): void } => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => { vi.useRealTimers(); });
  return { send: () => void vi.advanceTimersByTime(PING_MS) };
};

/** A text frame, masked with zeros as any client may. */
const frame = (text: string): Buffer => {
  const body = Buffer.from(text);
  const head = body.length < 126 ? Buffer.from([0x81, 0x80 | body.length]) : Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 255]);
  return Buffer.concat([head, Buffer.alloc(4), body]);
};

/** Says whose it is and reads nothing, not even the answer to its upgrade. */
const deaf = (port: number): Socket => {
  const socket = connect(port, '127.0.0.1').pause();
  sockets.push(socket);
  socket.on('error', () => undefined);
  socket.write(`GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n`);
  socket.write(frame(JSON.stringify({ type: 'connection_init', payload: { authorization: ADMIN_KEY } })));
  return socket;
};

describe('a connection', () => {
  it('whose client asks and takes no answer, or does not ask to the end, is cut', async () => {
    edge = await startEdge(reading(), { idleMs: 150 });
    const { port } = new URL(edge.url);
    const { server } = edge.app;
    const open = (): Promise<number> => new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));
    let come = 0;
    server.on('connection', () => { come += 1; });
    const deaf = connect(Number(port), '127.0.0.1').pause();
    const slow = connect(Number(port), '127.0.0.1').pause();
    sockets.push(deaf, slow);
    for (const socket of [deaf, slow]) socket.on('error', () => undefined);
    deaf.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(20_000));
    slow.write('POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n');
    await expect.poll(() => come).toBe(2);
    await expect.poll(open).toBe(0);
  });
});

describe('sockets', () => {
  it('500 that never read are closed, and hold little memory meanwhile', async () => {
    let given = 0;
    let running = 0;
    let started = 0;
    let logins = 0;
    const long = { ...instance(), name: 'x'.repeat(4_000) };
    const events = async (): Promise<AsyncIterableIterator<JobEventRecord>> => {
      running += 1;
      started += 1;
      return (async function* () {
        try {
          for (let sequence = 1; ; sequence += 1) {
            given += 1;
            yield event(job({ instanceId: long.id }), sequence);
            // As fast as an installation full of jobs, until nobody listens any more.
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
        } finally {
          running -= 1;
        }
      })();
    };
    const pings = holdPings();
    edge = await startEdge(fakeServices({ jobs: { events }, instances: { getMany: async (_caller, ids) => ids.map(() => long) } }), {
      sockets: { pingMs: PING_MS, maxSocketsOfKey: 500, initTimeoutMs: 600_000 },
      authenticate: async (token) => {
        logins += 1;
        return admin(token);
      },
    });
    const { app, url } = edge;
    const before = heldMemory();
    const all = Array.from({ length: 500 }, () => deaf(Number(new URL(url).port)));
    await expect.poll(() => logins).toBeGreaterThan(480);
    for (const socket of all) socket.write(frame(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: 'subscription { jobEvents { cursor kind job { id state phase instance { name } } } }' } })));
    await expect.poll(() => started).toBeGreaterThan(400);
    await expect.poll(() => given).toBeGreaterThan(2_000);
    const most = heldMemory();
    pings.send();
    pings.send();
    await expect.poll(() => app.sockets()).toBe(0);
    await expect.poll(() => running).toBe(0);
    expect((most - before) / 1024 ** 2).toBeLessThan(64);
  });

  it.each([
    ['pings of its protocol', () => Buffer.concat([Buffer.from([0x89, 0x80 | 125]), Buffer.alloc(4 + 125)])],
    ['pings of GraphQL\'s', () => frame(JSON.stringify({ type: 'ping', payload: { text: 'x'.repeat(1_000) } }))],
    ['operations that are none', () => frame(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: '{ noSuchField }' } }))],
  ])('are not listened to while they take no answers to %s, and closed, whatever they answer to pings unread', async (_what, asking) => {
    const pings = holdPings();
    edge = await startEdge(fakeServices({}), { sockets: { pingMs: PING_MS, initTimeoutMs: 600_000 } });
    const { app, url } = edge;
    const before = heldMemory();
    const socket = deaf(Number(new URL(url).port));
    await expect.poll(() => app.sockets()).toBe(1);
    const question = asking();
    const many = Buffer.concat([...Array.from({ length: Math.ceil(1024 ** 2 / question.length) }, () => question), Buffer.from([0x8a, 0x80, 0, 0, 0, 0])]);
    const sent = (): number => socket.bytesWritten - socket.writableLength;
    for (let standing = 0, looks = 0; standing < 12 && sent() < 64 * 1024 ** 2 && !socket.destroyed; looks += 1) {
      if (looks % 10 === 9) pings.send();
      const before = sent();
      if (socket.writableLength < many.length) socket.write(many);
      await new Promise((resolve) => setTimeout(resolve, 50));
      standing = sent() === before ? standing + 1 : 0;
    }
    expect(sent()).toBeLessThan(32 * 1024 ** 2);
    expect((heldMemory() - before) / 1024 ** 2).toBeLessThan(32);
    pings.send();
    pings.send();
    await expect.poll(() => app.sockets()).toBe(0);
  });

  it('of one key are so many at once, and another key has its own', async () => {
    edge = await startEdge(fakeServices({}), { sockets: { maxSocketsOfKey: 3, maxSockets: 5 } });
    const open = await Promise.all([greeted(edge), greeted(edge), greeted(edge)]);
    await expect(greeted(edge)).rejects.toThrow('closed with 1013');
    await greeted(edge, VIEWER_KEY);
    // A place that is left can be taken.
    open[0]?.close();
    await expect.poll(() => edge?.app.sockets()).toBe(3);
    await greeted(edge);
    await greeted(edge, VIEWER_KEY);
    await expect(greeted(edge, VIEWER_KEY)).rejects.toThrow('503');
  });

  it('one that asks a thousand times is refused and then closed; others notice nothing', async () => {
    let running = 0;
    let logins = 0;
    const events = async (): Promise<AsyncIterableIterator<JobEventRecord>> => {
      running += 1;
      let wake: () => void = () => undefined;
      const iterator: AsyncIterableIterator<JobEventRecord> = {
        [Symbol.asyncIterator]: () => iterator,
        next: () => new Promise((resolve) => { wake = () => resolve({ value: undefined, done: true }); }),
        return: async () => {
          running -= 1;
          wake();
          return { value: undefined, done: true };
        },
      };
      return iterator;
    };
    edge = await startEdge(fakeServices({ jobs: { events } }), {
      authenticate: async (token) => {
        logins += 1;
        return admin(token);
      },
    });
    const [greedy, modest] = [await greeted(edge, 'sb_greedy'), await greeted(edge, 'sb_modest')];
    const closed = new Promise<number>((resolve) => greedy.once('close', resolve));
    for (let at = 0; at < 1_000; at += 1) greedy.send(JSON.stringify({ id: String(at), type: 'subscribe', payload: { query: 'subscription { jobEvents { cursor } }' } }));
    modest.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: 'subscription { jobEvents { cursor } }' } }));
    expect(await closed).toBe(1013);
    // The 64 are let go with the socket; what was refused never came as far as a key's look-up.
    await expect.poll(() => running).toBe(1);
    expect(logins).toBeLessThanOrEqual(2 + 65);
    expect([modest.readyState, edge.app.sockets()]).toEqual([WebSocket.OPEN, 1]);
  });
});
