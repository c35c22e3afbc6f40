import { createClient as createSocketClient } from 'graphql-ws';
import { Client as Postgres } from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
import { createClient, type Client } from '@snapback/sdk';
import WebSocket from 'ws';
import { feedCursor } from '../../../server/domain/cursor.js';
import { type TestService } from '../../kit/service.js';
import { eventually, waitFor } from '../../kit/wait.js';
import { caught, refusal } from '../scene.js';
import { giveKey, makeWorld } from './world.js';

/** Five seconds are promised: `access-watch` looks every two. Whoever is not looked at again would stay for ever. */
const WITHIN_MS = 60_000;

/** May leave the service without its first key. */
export const projectsAndKeys = (started: () => TestService): void => void describe('projects and API keys', () => {
  let service: TestService;
  beforeAll(() => {
    service = started();
  });

  const as = (token: string): Client => createClient({ url: service.url, token });

  it('a tenant is made by a service-wide administrator and governs itself', async () => {
    const { sdk } = service;
    const project = await sdk.projects.create({ name: 'shop' });
    expect(project).toMatchObject({ id: expect.stringMatching(/^prj_/) as string, name: 'shop' });
    expect(await refusal(sdk.projects.create({ name: 'shop' }))).toEqual({ code: 'NAME_TAKEN', field: ['name'] });
    expect(await refusal(sdk.projects.create({ name: ' ' }))).toEqual({ code: 'BAD_INPUT', field: ['name'] });
    const names = (await sdk.projects.list({ order: 'OLDEST_FIRST', pageSize: 1 }).toArray({ limit: 10 })).map(({ name }) => name);
    expect([names[0], names.at(-1)]).toEqual(['default', 'shop']);

    const first = await sdk.apiKeys.create({ name: 'shop admin', role: 'ADMIN', projectId: project.id });
    expect(first.token).toMatch(/^sb_[0-9a-hjkmnp-tv-z]{26}_[A-Za-z0-9_-]{43}[0-9a-z]{6}$/);
    const shop = as(first.token);
    expect(await shop.viewer()).toEqual({
      credential: 'API_KEY', keyId: first.apiKey.id, keyName: 'shop admin', role: 'ADMIN', serviceWide: false, instanceIds: null, expiresAt: null, project,
    });
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const { instanceId } = await makeWorld(service, project.id);
    const { apiKey } = await shop.apiKeys.create({ name: 'dashboard', role: 'VIEWER', expiresAt, instanceIds: [instanceId, instanceId] });
    expect(apiKey).toEqual({
      id: apiKey.id, project: { id: project.id, name: 'shop' }, name: 'dashboard', role: 'VIEWER', serviceWide: false, instanceIds: [instanceId], createdAt: apiKey.createdAt, expiresAt, revokedAt: null, lastUsedAt: null,
    });
    // What it was used for last is written beside the request.
    const used = await waitFor(async () => (await shop.apiKeys.list().toArray({ limit: 10 })).find(({ id, lastUsedAt }) => id === first.apiKey.id && lastUsedAt !== null));
    expect(Math.abs(Date.now() - Date.parse(used.lastUsedAt ?? ''))).toBeLessThan(60_000);

    // Nobody gives what it has not got, and another tenant's keys are not there.
    expect(await caught(shop.apiKeys.create({ name: 'x', role: 'ADMIN', serviceWide: true }))).toMatchObject({ code: 'FORBIDDEN' });
    expect(await caught(shop.projects.list().first())).toMatchObject({ code: 'FORBIDDEN' });
    const { project: own, keyId } = await sdk.viewer();
    expect(await refusal(shop.apiKeys.create({ name: 'x', role: 'VIEWER', projectId: own.id }))).toEqual({ code: 'NOT_FOUND', field: ['projectId'] });
    expect(await caught(shop.apiKeys.list({ projectId: own.id }).first())).toMatchObject({ code: 'NOT_FOUND' });
    expect(await refusal(shop.apiKeys.revoke(keyId))).toEqual({ code: 'NOT_FOUND', field: ['apiKeyId'] });
    expect((await sdk.apiKeys.list({ projectId: project.id }).toArray({ limit: 10 })).map(({ name }) => name)).toEqual(expect.arrayContaining(['dashboard', 'shop admin']));

    const revoked = await sdk.apiKeys.revoke(first.apiKey);
    expect(revoked.revokedAt).not.toBeNull();
    expect(await sdk.apiKeys.revoke(first.apiKey)).toEqual(revoked);
    expect(await caught(shop.viewer())).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect((await sdk.apiKeys.list({ projectId: project.id, validOnly: true }).toArray({ limit: 10 })).map(({ id }) => id)).not.toContain(revoked.id);
  });

  it('refuses keys that would not be what they seem', async () => {
    const { sdk } = service;
    const { project } = await sdk.viewer();
    const [own, foreign] = [await makeWorld(service, project.id), await makeWorld(service, (await sdk.projects.create({ name: 'foreign' })).id)];
    const instanceIds = [own.instanceId];
    for (const [input, code, field] of [
      [{ role: 'OPERATOR', serviceWide: true }, 'BAD_INPUT', 'role'],
      [{ role: 'VIEWER', expiresAt: new Date(Date.now() - 1_000).toISOString() }, 'BAD_INPUT', 'expiresAt'],
      [{ role: 'ADMIN', instanceIds }, 'BAD_INPUT', 'instanceIds'],
      [{ role: 'VIEWER', serviceWide: true, instanceIds }, 'BAD_INPUT', 'instanceIds'],
      [{ role: 'VIEWER', instanceIds: [] }, 'BAD_INPUT', 'instanceIds'],
      [{ role: 'VIEWER', instanceIds: [own.instanceId, foreign.instanceId] }, 'NOT_FOUND', 'instanceIds'],
      [{ role: 'VIEWER', instanceIds: ['\0'] }, 'NOT_FOUND', 'instanceIds'],
      [{ role: 'VIEWER', name: '' }, 'BAD_INPUT', 'name'],
    ] as const) {
      expect(await refusal(sdk.apiKeys.create({ name: 'x', ...input } as Parameters<Client['apiKeys']['create']>[0])), JSON.stringify(input)).toEqual({ code, field: [field] });
    }
  });

  it('sockets and streams end with what opened them: revoked, expired or lowered', async () => {
    const { project } = await service.sdk.viewer();
    await makeWorld(service, project.id);
    /** One that says nothing, and one that says too much at once: as the service is set up for everybody. */
    const cut = (first: string): Promise<{ code: number; ms: number }> => new Promise((resolve, reject) => {
      const socket = new WebSocket(`${service.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
      let opened = 0;
      socket.once('error', reject).once('close', (code) => resolve({ code, ms: performance.now() - opened })).once('open', () => {
        opened = performance.now();
        if (first !== '') socket.send(first);
      });
    });
    const silent = cut('');
    // One that stands still for three seconds before it is heard is closed as one that says nothing.
    expect(await eventually(async () => {
      const { code } = await cut(JSON.stringify({ type: 'ping', payload: { text: 'x'.repeat(64 * 1024) } }));
      expect(code).not.toBe(4408);
      return code;
    })).toBe(1009);
    const cutAfter = async (token: string, change: () => Promise<unknown>): Promise<{ code: number | undefined; ms: number }> => {
      let began = 0;
      const closed = new Promise<{ code: number | undefined; ms: number }>((resolve) => {
        const socket = createSocketClient({
          url: `${service.url.replace('http', 'ws')}/graphql`, webSocketImpl: WebSocket, retryAttempts: 0, connectionParams: { authorization: `Bearer ${token}` },
          on: { closed: (event) => resolve({ code: (event as { code?: number }).code, ms: performance.now() - began }) },
        });
        // From the feed's beginning: there is an event at once, so the socket is open.
        socket.subscribe({ query: 'subscription ($after: String) { jobEvents(after: $after) { cursor } }', variables: { after: feedCursor('0') } }, {
          next: () => {
            if (began > 0) return;
            began = performance.now();
            change().catch((error: unknown) => resolve(error as never));
          },
          error: () => undefined, complete: () => undefined,
        });
      });
      return closed;
    };
    /** The same over server-sent events: whether it ended without being complete, and when. */
    const streamCutAfter = async (token: string, change: () => Promise<unknown>): Promise<{ complete: boolean; ms: number }> => {
      const response = await fetch(`${service.url}/graphql/stream`, {
        method: 'POST', headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream', 'content-type': 'application/json' },
        body: JSON.stringify({ query: 'subscription { jobEvents { cursor } }' }),
      });
      const began = performance.now();
      await change();
      return { complete: (await response.text()).includes('complete'), ms: performance.now() - began };
    };
    const postgres = new Postgres({ connectionString: service.databaseUrl });
    await postgres.connect();
    try {
      // Long enough to be used before it is over.
      const lifeMs = 6_000;
      const [revoked, expiring, lowered, kept] = [
        await giveKey(service, project.id, 'OPERATOR'), await giveKey(service, project.id, 'OPERATOR', { expiresAt: new Date(Date.now() + lifeMs) }), await giveKey(service, project.id, 'OPERATOR'), await giveKey(service, project.id, 'OPERATOR'),
      ];
      const stays = cutAfter(kept.token, async () => undefined);
      const ends = await Promise.all([
        cutAfter(revoked.token, () => service.sdk.apiKeys.revoke(revoked.id)),
        cutAfter(expiring.token, async () => undefined),
        cutAfter(lowered.token, () => postgres.query(`UPDATE api_keys SET role = 'VIEWER' WHERE id = $1`, [lowered.id])),
      ]);
      expect(ends.map(({ code }) => code)).toEqual([4403, 4403, 4403]);
      for (const { ms } of ends) expect(ms).toBeLessThan(WITHIN_MS);
      const [streamed, ending, weakened] = [
        await giveKey(service, project.id, 'OPERATOR'), await giveKey(service, project.id, 'OPERATOR', { expiresAt: new Date(Date.now() + lifeMs) }), await giveKey(service, project.id, 'OPERATOR'),
      ];
      const streamEnds = await Promise.all([
        streamCutAfter(streamed.token, () => service.sdk.apiKeys.revoke(streamed.id)),
        streamCutAfter(ending.token, async () => undefined),
        // Nobody announces that: it is found.
        streamCutAfter(weakened.token, () => postgres.query(`UPDATE api_keys SET role = 'VIEWER' WHERE id = $1`, [weakened.id])),
      ]);
      expect(streamEnds.map(({ complete }) => complete)).toEqual([false, false, false]);
      for (const { ms } of streamEnds) expect(ms).toBeLessThan(WITHIN_MS);
      // It was looked at as often, and is still open.
      expect(await Promise.race([stays, Promise.resolve('open')])).toBe('open');
      const { code, ms } = await silent;
      expect(code).toBe(4408);
      expect(ms).toBeGreaterThan(2_900);
      await service.sdk.apiKeys.revoke(kept.id);
      expect(await stays).toMatchObject({ code: 4403 });
    } finally {
      await postgres.end();
    }
  });

  it('the SDK comes back with a new token, and says so when it has none', async () => {
    const { sdk, url } = service;
    const { project } = await sdk.viewer();
    const [one, two] = [await makeWorld(service, project.id), await makeWorld(service, project.id)];
    const [first, second] = [await sdk.apiKeys.create({ name: 'first', role: 'VIEWER' }), await sdk.apiKeys.create({ name: 'second', role: 'VIEWER' })];
    let token = first.token;
    const client = createClient({ url, token: () => Promise.resolve(token) });
    const [watch, other] = [client.jobs.watch(one.jobId), client.jobs.watch(two.jobId)];
    expect([(await watch.next()).value?.kind, (await other.next()).value?.kind]).toEqual(['SNAPSHOT', 'SNAPSHOT']);
    token = second.token;
    await sdk.apiKeys.revoke(first.apiKey);
    const ended = watch.next();
    await sdk.jobs.cancel(one.jobId);
    expect((await ended).value?.job).toMatchObject({ id: one.jobId, state: 'COMPLETED' });
    await sdk.apiKeys.revoke(second.apiKey);
    expect(await caught(other.next())).toMatchObject({ code: 'UNAUTHENTICATED' });
    client.close();
  });

  it('the service is not locked', async () => {
    const { sdk } = service;
    const { keyId, project } = await sdk.viewer();
    // One that expires, and one of another role, let nobody in for good.
    await sdk.apiKeys.create({ name: 'short', role: 'ADMIN', serviceWide: true, expiresAt: new Date(Date.now() + 60_000).toISOString() });
    const watcher = await sdk.apiKeys.create({ name: 'watcher', role: 'VIEWER', serviceWide: true });
    expect(await refusal(sdk.apiKeys.revoke(keyId))).toEqual({ code: 'CONFLICT', field: ['apiKeyId'] });
    const { token, apiKey } = await sdk.apiKeys.create({ name: 'second', role: 'ADMIN', serviceWide: true });
    // Of two that are revoked by each other at once, one stays.
    const both = await Promise.allSettled([sdk.apiKeys.revoke(apiKey), as(token).apiKeys.revoke(keyId)]);
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);

    // Metrics name the instances of all projects.
    const metrics = async (key: string): Promise<number> =>
      (await fetch(`${service.url}/metrics`, { headers: { authorization: `Bearer ${key}`, 'x-forwarded-for': '192.0.2.1' } })).status;
    expect(await metrics(watcher.token)).toBe(200);
    expect(await metrics((await giveKey(service, project.id, 'ADMIN')).token)).toBe(403);
  });
});
