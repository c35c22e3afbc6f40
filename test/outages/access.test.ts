import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type Client } from '@snapback/sdk';
import { type NodesScene, startNodesScene } from '../e2e/nodes-scene.js';
import { clockOffBy, firstKeyOf, type NodeProcess } from '../kit/node-process.js';
import { sleep, waitFor } from '../kit/wait.js';

/** What is promised is five seconds, which `access-watch` looks at every two; a machine that stands still may take longer, a key that nobody looks at again for ever. */
const WITHIN_MS = 60_000;
const QUERY = 'subscription { jobEvents { cursor } }';
const quiet = (): void => undefined;

/** An open subscription, and when and how it was ended. */
interface Open {
  ended: Promise<{ how: unknown; at: number }>;
  leave(): void;
}

const openSocket = async (url: string, token: string): Promise<Open & { socket: WebSocket; from: number }> => {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  let from = 0;
  socket.once('upgrade', (response) => {
    from = response.socket.localPort ?? 0;
  });
  const ended = new Promise<{ how: unknown; at: number }>((resolve) => socket.once('close', (how) => resolve({ how, at: Date.now() })));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: token } }));
  const [acknowledged] = await Promise.race([new Promise<[string]>((resolve) => socket.once('message', (data: Buffer) => resolve([String(data)]))), ended.then(({ how }) => [String(how)])]);
  expect(acknowledged).toContain('connection_ack');
  socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: QUERY } }));
  return { socket, from, ended, leave: () => socket.terminate() };
};

const openStream = async (url: string, token: string): Promise<Open> => {
  const leaving = new AbortController();
  const response = await fetch(`${url}/graphql/stream`, {
    method: 'POST', headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream', 'content-type': 'application/json' }, body: JSON.stringify({ query: QUERY }), signal: leaving.signal,
  });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const ended = response.text().then((text) => ({ how: text.includes('complete') ? 'complete' : 'ended', at: Date.now() }), (error: unknown) => ({ how: error, at: Date.now() }));
  return { ended, leave: () => leaving.abort() };
};

/** All changes are made at one node, or in the database behind its back; everybody is connected to the other, whose clock is a quarter of an hour behind. */
describe('keys that end at another node than the one they are used at', () => {
  let scene: NodesScene;
  let here: NodeProcess;
  let there: NodeProcess;
  let sdk: Client;

  beforeAll(async () => {
    scene = await startNodesScene();
    here = await scene.start({ env: { ROLE: 'api' } });
    there = await scene.start({ env: { ROLE: 'api' }, preload: [clockOffBy(-15 * 60_000)] });
    sdk = here.client(await firstKeyOf(scene.nodes));
  });
  afterAll(async () => {
    await scene?.stop();
  });

  const makeKey = (expiresAt: string | null = null) => sdk.apiKeys.create({ name: 'used there', role: 'OPERATOR', expiresAt });
  const changed = async (sql: string, id: string): Promise<number> => {
    await scene.sql(sql, [id]);
    return Date.now();
  };

  it.each<[string, (id: string, expiresAt: number) => Promise<number>, boolean]>([
    ['was revoked', async (id) => {
      await sdk.apiKeys.revoke(id);
      return Date.now();
    }, false],
    ['was revoked, and nobody was told', (id) => changed('UPDATE api_keys SET revoked_at = now() WHERE id = $1', id), false],
    ['has expired', (_id, expiresAt) => Promise.resolve(expiresAt), true],
    ['was lowered', (id) => changed(`UPDATE api_keys SET role = 'VIEWER' WHERE id = $1`, id), false],
    ['was limited to instances', (id) => changed(`UPDATE api_keys SET instance_ids = '{ins_0}' WHERE id = $1`, id), false],
  ])('sockets and streams of a key that %s end soon, and those of others do not', async (_what, end, expires) => {
    // All is open long before.
    const expiresAt = Date.now() + (expires ? 15_000 : 0);
    const [key, other] = await Promise.all([makeKey(expires ? new Date(expiresAt).toISOString() : null), makeKey()]);
    const opened = await Promise.all([openSocket(there.url, key.token), openStream(there.url, key.token)]);
    const others = await Promise.all([openSocket(there.url, other.token), openStream(there.url, other.token)]);
    const at = await end(key.apiKey.id, expiresAt);
    const ends = await Promise.all(opened.map(({ ended }) => Promise.race([ended, sleep(2 * WITHIN_MS).then(() => ({ how: 'still open', at: Infinity }))])));
    expect(ends.map(({ how }) => how)).toEqual([4403, 'ended']);
    for (const { at: endedAt } of ends) expect(endedAt - at).toBeLessThan(WITHIN_MS);
    // Nor too early: the node's own clock says nothing.
    if (expires) for (const { at: endedAt } of ends) expect(endedAt).toBeGreaterThan(expiresAt - 500);
    expect(await Promise.race([...others.map(({ ended }) => ended), Promise.resolve('open')])).toBe('open');
    expect(await there.client(other.token).viewer()).toMatchObject({ role: 'OPERATOR' });
    for (const { leave } of others) leave();
  });

  it('a socket whose client reads nothing more is gone as well', async () => {
    const { token, apiKey } = await makeKey();
    const { socket, from, leave } = await openSocket(there.url, token);
    socket.on('error', quiet);
    socket.pause();
    expect(await there.connections(from)).toBe(1);
    const began = performance.now();
    await sdk.apiKeys.revoke(apiKey);
    await waitFor(async () => (await there.connections(from)) === 0, { message: 'the silent one to be cut' });
    expect(performance.now() - began).toBeLessThan(WITHIN_MS);
    leave();
  });

  it('requests of a revoked key are refused from the answer on', async () => {
    const { token, apiKey } = await makeKey();
    const client = there.client(token);
    expect(await client.viewer()).toMatchObject({ keyId: apiKey.id });
    await sdk.apiKeys.revoke(apiKey);
    await expect(client.viewer()).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});
