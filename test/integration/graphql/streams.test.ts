import { createClient } from 'graphql-sse';
import { request } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { type JobEventRecord } from '../../../server/services/records.js';
import { ADMIN_KEY, type Edge, fakeServices, startEdge } from './edge.js';
import { feed } from './feed.js';
import { event, job } from './records.js';

let edge: Edge | undefined;
afterEach(async () => {
  await edge?.stop();
  edge = undefined;
});

const QUERY = 'subscription ($after: String) { jobEvents(after: $after) { sequence job { state } } }';
const HEADERS = { authorization: `Bearer ${ADMIN_KEY}`, accept: 'text/event-stream', 'content-type': 'application/json' };
const open = (at: Edge, body: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> =>
  fetch(`${at.url}/graphql/stream`, { method: 'POST', headers: { ...HEADERS, ...headers }, body: JSON.stringify(body), signal: signal ?? null });
const sourceOf = (source: ReturnType<typeof feed>) => fakeServices({ jobs: { events: async () => source.iterator } });

describe('a stream of server-sent events', () => {
  it('carries a subscription to its end, for the client of graphql-sse', async () => {
    const source = feed();
    edge = await startEdge(sourceOf(source));
    const client = createClient({ url: `${edge.url}/graphql/stream`, headers: { authorization: `Bearer ${ADMIN_KEY}` }, retryAttempts: 0 });
    const running = job();
    source.push(event(running, 1), event({ ...running, state: 'COMPLETED' }, 2));
    source.finish();
    const seen: unknown[] = [];
    for await (const { data } of client.iterate({ query: QUERY })) seen.push(data);
    expect(seen).toEqual([{ jobEvents: { sequence: 1, job: { state: 'RUNNING' } } }, { jobEvents: { sequence: 2, job: { state: 'COMPLETED' } } }]);
    client.dispose();
    await expect.poll(() => edge?.app.streams()).toBe(0);
  });

  it('speaks as the protocol says, shows signs of life, and lets go of its source when the client leaves', async () => {
    const source = feed();
    edge = await startEdge(sourceOf(source), { streams: { heartbeatMs: 30 } });
    const left = new AbortController();
    const response = await open(edge, { query: QUERY }, {}, left.signal);
    expect([response.status, response.headers.get('content-type'), response.headers.get('x-accel-buffering')]).toEqual([200, 'text/event-stream; charset=utf-8', 'no']);
    let text = '';
    const reading = (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk as Uint8Array).toString();
    })().catch(() => undefined);
    source.push(event(job(), 7));
    await expect.poll(() => text).toContain('event: next\ndata: {"data":{"jobEvents":{"sequence":7,"job":{"state":"RUNNING"}}}}\n\n');
    await expect.poll(() => text.match(/^:$/gm)?.length).toBeGreaterThan(3);
    left.abort();
    await reading;
    await expect.poll(() => source.state.ended).toBe(true);
    expect(edge.app.streams()).toBe(0);
  });

  it('passes the guard that HTTP passes, before anything of it is read', async () => {
    edge = await startEdge(fakeServices({ jobs: { events: () => Promise.reject(new DomainError('NOT_FOUND', 'There is none.')) } }), { pointsPerMinute: 40 });
    const { url } = edge;
    const codeOf = async (response: Response): Promise<unknown> => {
      const text = await response.text();
      return [response.status, /"code":"([A-Z_]+)"/.exec(text)?.[1]];
    };
    const at = edge;
    expect(await codeOf(await open(at, { query: QUERY }, { authorization: '' }))).toEqual([401, 'UNAUTHENTICATED']);
    expect(await codeOf(await open(at, { query: QUERY }, { authorization: 'Bearer sb_nobody' }))).toEqual([401, 'UNAUTHENTICATED']);
    expect(await codeOf(await open(at, { query: '{ viewer { role } }' }))).toEqual([400, 'BAD_INPUT']);
    expect(await codeOf(await open(at, { query: 'mutation { cancelJob(input: { jobId: "j" }) { job { id } } }' }))).toEqual([400, 'BAD_INPUT']);
    expect(await codeOf(await open(at, { query: 'subscription { nothing }' }))).toEqual([400, 'BAD_INPUT']);
    expect(await codeOf(await open(at, { query: 7 }))).toEqual([400, 'BAD_INPUT']);
    expect(await codeOf(await open(at, { query: QUERY, variables: [] }))).toEqual([400, 'BAD_INPUT']);
    expect(await codeOf(await open(at, { query: `subscription { jobEvents { ${'job { backup { '.repeat(8)} id ${'} }'.repeat(8)} } }` }))).toEqual([400, 'LIMIT_EXCEEDED']);
    expect(await codeOf(await open(at, { query: QUERY }, { accept: 'application/json' }))).toEqual([406, 'BAD_INPUT']);
    expect(await codeOf(await fetch(`${url}/graphql/stream`, { method: 'PUT', headers: HEADERS }))).toEqual([405, 'BAD_INPUT']);
    // What the service refuses comes as the protocol has it: in the stream, which is complete with it.
    const refused = await open(at, { query: QUERY });
    expect(await refused.text()).toMatch(/^event: next\ndata: \{"errors":\[\{"message":"There is none\.",.*"code":"NOT_FOUND".*\n\nevent: complete\ndata:\n\n$/);
    const get = `${url}/graphql/stream?${new URLSearchParams({ query: QUERY, variables: '{"after":"c"}' })}`;
    expect(await (await fetch(get, { headers: HEADERS })).text()).toContain('NOT_FOUND');
    for (let asked = 0; asked < 20; asked += 1) await open(at, { query: QUERY });
    const limited = await open(at, { query: QUERY });
    expect(limited.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await codeOf(limited)).toEqual([429, 'RATE_LIMITED']);
  });

  it('is opened to pages of our own host or of a listed one, which get the leave that browsers ask for', async () => {
    const source = feed();
    edge = await startEdge(sourceOf(source), { allowedOrigins: ['https://dash.example.com'] });
    source.finish();
    for (const origin of [edge.url, 'https://dash.example.com']) {
      const response = await open(edge, { query: QUERY }, { origin });
      expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([200, origin]);
      await response.text();
    }
    const preflight = await fetch(`${edge.url}/graphql/stream`, { method: 'OPTIONS', headers: { origin: 'https://dash.example.com', 'access-control-request-method': 'POST' } });
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([204, 'https://dash.example.com']);
    for (const origin of ['https://evil.example.com', 'null']) {
      const response = await open(edge, { query: QUERY }, { origin });
      expect([response.status, response.headers.get('access-control-allow-origin')]).toEqual([403, null]);
      await response.text();
    }
  });

  it('has room for as many as sockets and streams may be together, ends without "complete" when its key is lost or the service stops', async () => {
    const sources: ReturnType<typeof feed>[] = [];
    let lose: () => void = () => undefined;
    edge = await startEdge(fakeServices({
      jobs: {
        events: async () => {
          const source = feed();
          sources.push(source);
          return source.iterator;
        },
      },
    }), {
      sockets: { maxSocketsOfKey: 2 },
      watchAccess: (_caller, onLost) => {
        lose = onLost;
        return { holds: () => true, end: () => undefined };
      },
    });
    const first = await open(edge, { query: QUERY });
    const second = await open(edge, { query: QUERY });
    const third = await open(edge, { query: QUERY });
    expect([third.status, third.headers.get('retry-after')]).toEqual([503, '5']);
    lose();
    expect(await second.text()).not.toContain('complete');
    await expect.poll(() => sources[1]?.state.ended).toBe(true);
    const again = await open(edge, { query: QUERY });
    expect(again.status).toBe(200);
    const { app } = edge;
    await Promise.all([app.stop(2_000), first.text(), again.text()].map(async (part) => expect(String(await part)).not.toContain('complete')));
    expect(sources.every(({ state }) => state.ended)).toBe(true);
  });

  it('shows no more signs of life once it has ended, and is cut when its end is not taken', async () => {
    const source = feed();
    let lose: () => void = () => undefined;
    edge = await startEdge(sourceOf(source), {
      streams: { heartbeatMs: 10 },
      watchAccess: (_caller, onLost) => {
        lose = onLost;
        return { holds: () => true, end: () => undefined };
      },
    });
    const asked = request(`${edge.url}/graphql/stream`, { method: 'POST', headers: HEADERS });
    const closed = new Promise<void>((resolve) => asked.once('close', resolve).on('error', () => undefined));
    asked.once('response', (response) => response.pause());
    asked.end(JSON.stringify({ query: 'subscription { jobEvents { cursor } }' }));
    for (let at = 0; at < 30; at += 1) source.push(event(job(), at, { cursor: 'x'.repeat(1_000_000) }));
    await expect.poll(() => edge?.app.streams()).toBe(1);
    lose();
    // A write after the end would be an error that nobody takes, and the end of this process.
    await expect.poll(() => edge?.app.streams()).toBe(0);
    asked.destroy();
    await closed;
  });

  it('is cut when its client takes nothing, however much there is for it', async () => {
    const source = feed();
    edge = await startEdge(sourceOf(source), { streams: { stallMs: 100 } });
    const body = JSON.stringify({ query: 'subscription { jobEvents { cursor } }' });
    const asked = request(`${edge.url}/graphql/stream`, { method: 'POST', headers: HEADERS });
    const closed = new Promise<void>((resolve) => asked.once('close', resolve).on('error', () => undefined));
    asked.once('response', (response) => response.pause());
    asked.end(body);
    const large: JobEventRecord = event(job(), 1, { cursor: 'x'.repeat(1_000_000) });
    for (let at = 0; at < 30; at += 1) source.push({ ...large });
    await expect.poll(() => source.state.ended).toBe(true);
    expect(edge.app.streams()).toBe(0);
    asked.destroy();
    await closed;
  });
});
