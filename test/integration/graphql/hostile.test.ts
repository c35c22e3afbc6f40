import { Client } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import WebSocket from 'ws';
import { ListBackupsDocument } from '../../../sdk/src/generated/operations.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { startService, type TestService } from '../../kit/service.js';
import { HOSTILE, type Hostile } from './hostile-documents.js';

/** Plain lists. Each takes less than five on a machine that has nothing else to do; what is not bounded takes hundreds. */
const MOST_CPU = 20;
const MOST_BYTES = 1_000_000;
/** What `backups.list` of the SDK sends. */
const PLAIN = { query: String(ListBackupsDocument), variables: { first: 20 } };

let service: TestService;
let server: RedisServer;

beforeAll(async () => {
  [service, server] = await Promise.all([startService(), startRedis()]);
  const { sdk } = service;
  const instance = await sdk.instances.register({ name: 'server', host: server.host, port: server.port });
  const { id } = await sdk.backups.wait(await sdk.backups.create({ instanceId: instance.id, name: 'backup' }));
  const client = new Client({ connectionString: service.databaseUrl });
  await client.connect();
  try {
    await client.query(`INSERT INTO backups SELECT (jsonb_populate_record(b, jsonb_build_object('id', 'bak_' || lpad(n::text, 26, '0')))).* FROM backups b, generate_series(1, 120) n WHERE b.id = $1`, [id]);
  } finally {
    await client.end();
  }
});
afterAll(async () => {
  await Promise.all([service?.stop(), server?.stop()]);
});

interface Outcome {
  /** Characters of all that was answered. */
  size: number;
  codes: unknown[];
  ms: number;
}

/** CPU of this process, which holds both sides. */
const measured = async (work: () => Promise<Omit<Outcome, 'ms'>>): Promise<Outcome> => {
  const before = process.cpuUsage();
  const outcome = await work();
  const { user, system } = process.cpuUsage(before);
  return { ...outcome, ms: (user + system) / 1000 };
};

const codesOf = (text: string): unknown[] => [...text.matchAll(/"code":"([A-Z_]+)"/g)].map(([, code]) => code);

const post = (body: unknown): Promise<Outcome> => measured(async () => {
  const response = await fetch(`${service.url}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${service.key}` }, body: JSON.stringify(body) });
  const text = await response.text();
  if (response.status >= 500 || !/json/.test(response.headers.get('content-type') ?? '')) throw new Error(`${response.status} ${text.slice(0, 300)}`);
  return { size: text.length, codes: codesOf(text) };
});

let socket: WebSocket | undefined;
const openSocket = async (): Promise<WebSocket> => {
  if (socket?.readyState === WebSocket.OPEN) return socket;
  const fresh = new WebSocket(`${service.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  socket = fresh;
  await new Promise<void>((resolve, reject) => {
    fresh.once('open', () => fresh.send(JSON.stringify({ type: 'connection_init', payload: { authorization: service.key } }))).once('message', () => resolve()).once('error', reject);
  });
  return fresh;
};

let made = 0;
const subscribe = async (payload: unknown): Promise<Outcome> => {
  const open = await openSocket();
  const id = String((made += 1));
  return measured(() => new Promise((resolve) => {
    let text = '';
    // What was let through says nothing until something happens.
    const timer = setTimeout(() => end(), 100);
    const end = (code?: unknown): void => {
      clearTimeout(timer);
      open.off('message', onMessage).off('close', onClose);
      if (open.readyState === WebSocket.OPEN) open.send(JSON.stringify({ id, type: 'complete' }));
      resolve({ size: text.length, codes: code === undefined ? codesOf(text) : [code] });
    };
    const onClose = (code: number): void => end(code);
    const onMessage = (data: unknown): void => {
      const frame = JSON.parse(String(data)) as { id?: string; type: string };
      if (frame.id !== id) return;
      text += String(data);
      if (frame.type === 'error' || frame.type === 'complete') end();
    };
    open.on('message', onMessage).on('close', onClose);
    open.send(JSON.stringify({ id, type: 'subscribe', payload }));
  }));
};

/** What was let through is left again before anything happens. */
const stream = (body: unknown): Promise<Outcome> => measured(async () => {
  const response = await fetch(`${service.url}/graphql/stream`, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'text/event-stream', authorization: `Bearer ${service.key}` }, body: JSON.stringify(body) });
  if (response.status >= 500) throw new Error(`${response.status} ${(await response.text()).slice(0, 300)}`);
  if (response.headers.get('content-type')?.startsWith('text/event-stream') === true) {
    await response.body?.cancel();
    return { size: 0, codes: [] };
  }
  const text = await response.text();
  return { size: text.length, codes: codesOf(text) };
});

it(`has ${HOSTILE.length} hostile documents`, () => {
  expect(new Set(HOSTILE.map(({ what }) => what)).size).toBe(HOSTILE.length);
  expect(HOSTILE.length).toBeGreaterThanOrEqual(60);
});

/** The least of a few: what else the process does only ever adds to it. */
const least = async (send: () => Promise<Outcome>, most: number): Promise<Outcome> => {
  let best: Outcome | undefined;
  for (let at = 0; at < 10 && (best === undefined || best.ms > most); at += 1) {
    const outcome = await send();
    if (best === undefined || outcome.ms < best.ms) best = outcome;
  }
  return best as Outcome;
};

it.each([
  ['HTTP', ({ query, variables }: Hostile) => post({ query, variables })],
  ['a stream', ({ query, subscription, variables }: Hostile) => stream({ query: subscription ?? query, variables })],
  ['a socket', ({ query, subscription, variables }: Hostile) => subscribe({ query: subscription ?? query, variables })],
])('each is refused or done over %s, with a short answer and the CPU of a few plain lists', async (_transport, send) => {
  const plain: number[] = [];
  for (let at = 0; at < 12; at += 1) plain.push((await post(PLAIN)).ms);
  const most = MOST_CPU * ([...plain].sort((a, b) => a - b)[plain.length >> 1] ?? 0);
  const wrong: unknown[] = [];
  for (const hostile of HOSTILE) {
    const { size, codes, ms } = await least(() => send(hostile), most);
    if (size >= MOST_BYTES || ms > most || codes.includes('INTERNAL')) wrong.push({ what: hostile.what, size, codes: [...new Set(codes)], ms, most });
  }
  expect(wrong).toEqual([]);
  // And everybody else is served as before.
  expect((await post(PLAIN)).codes).toEqual([]);
  socket?.close();
});
