import { createClient } from 'graphql-ws';
import { type GraphQLSchema } from 'graphql';
import { beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { createClient as createSdk } from '@snapback/sdk';
import { feedCursor, listCursor, type ListName } from '../../../server/domain/cursor.js';
import { may, type Rights } from '../../../server/domain/principal.js';
import { buildServedSchema } from '../../../server/graphql/schema.js';
import { type TestService } from '../../kit/service.js';
import { documentOf, fieldsOf, outcomeOf, type Row, ROWS } from './operations.js';
import { giveKey, makeWorld, newId, type World } from './world.js';

/** A caller as it stands to the world: what it may do, and whether the world is there for it. */
interface Column {
  rights: Rights | null;
  sees: boolean;
  token(world: World): Promise<string | null>;
}

const KINDS = ['query', 'mutation', 'subscription'] as const;

/** What a caller must learn. */
const expected = ({ verb, about }: Row, { rights, sees }: Column): string => {
  if (rights === null) return 'UNAUTHENTICATED';
  if (!may(rights, verb)) return 'FORBIDDEN';
  return about === 'own' || sees ? 'IN' : 'NOTHING';
};

export const whoMayDoWhat = (started: () => TestService): void => void describe('who may do what', () => {
  let service: TestService;
  let schema: GraphQLSchema;
  let shared: World;
  /** Of the other tenant. */
  let theirs: World;
  let columns: Record<string, Column>;

  beforeAll(async () => {
    service = started();
    schema = await buildServedSchema();
    const { project: { id: own } } = await service.sdk.viewer();
    const { id: other } = await service.sdk.projects.create({ name: 'another tenant' });
    shared = await makeWorld(service, own);
    const elsewhere = await makeWorld(service, own);
    theirs = await makeWorld(service, other);
    const past = new Date(Date.now() - 1_000);
    const base = { projectId: own, serviceWide: false, instanceIds: null, expiresAt: null } as const;
    const [viewer, operator, admin, stranger, limitedElsewhere, limitedHere, expired, revoked] = await Promise.all([
      giveKey(service, own, 'VIEWER'), giveKey(service, own, 'OPERATOR'), giveKey(service, own, 'ADMIN'), giveKey(service, other, 'ADMIN'),
      giveKey(service, own, 'OPERATOR', { instanceIds: [elsewhere.instanceId] }), giveKey(service, own, 'OPERATOR', { instanceIds: [shared.instanceId] }),
      giveKey(service, own, 'ADMIN', { expiresAt: past }), giveKey(service, own, 'ADMIN', { revokedAt: past }),
    ]);
    const fixed = (token: string | null) => (): Promise<string | null> => Promise.resolve(token);
    columns = {
      'no key': { rights: null, sees: false, token: fixed(null) },
      'unknown key': { rights: null, sees: false, token: fixed('sb_0000000000000000000000000_x') },
      expired: { rights: null, sees: false, token: fixed(expired.token) },
      revoked: { rights: null, sees: false, token: fixed(revoked.token) },
      viewer: { rights: { ...base, role: 'VIEWER' }, sees: true, token: fixed(viewer.token) },
      operator: { rights: { ...base, role: 'OPERATOR' }, sees: true, token: fixed(operator.token) },
      admin: { rights: { ...base, role: 'ADMIN' }, sees: true, token: fixed(admin.token) },
      'service-wide admin': { rights: { ...base, role: 'ADMIN', serviceWide: true }, sees: true, token: fixed(service.key) },
      'other tenant': { rights: { ...base, projectId: other, role: 'ADMIN' }, sees: false, token: fixed(stranger.token) },
      'limited to another instance': { rights: { ...base, role: 'OPERATOR', instanceIds: [elsewhere.instanceId] }, sees: false, token: fixed(limitedElsewhere.token) },
      'limited to this instance': {
        rights: { ...base, role: 'OPERATOR', instanceIds: [shared.instanceId] }, sees: true,
        token: async ({ instanceId }) => (instanceId === shared.instanceId ? limitedHere.token : (await giveKey(service, own, 'OPERATOR', { instanceIds: [instanceId] })).token),
      },
    };
  });

  const headers = (token: string | null): Record<string, string> => ({ 'content-type': 'application/json', ...(token === null ? {} : { authorization: `Bearer ${token}` }) });

  it('is said of every operation of the schema, and of no other', () => {
    for (const kind of KINDS) expect(Object.keys(ROWS[kind]).sort(), kind).toEqual(fieldsOf(schema, kind).map(({ name }) => name).sort());
  });

  /** A list of the other instance's things is no list of this one's: what is asked for is narrowed to the world where the operation can be. */
  const argsOf = (row: Row, world: World, names: readonly string[]): Record<string, unknown> => {
    if (row.about !== 'list') return row.args?.(world) ?? {};
    if (names.includes('instanceId')) return { instanceId: world.instanceId };
    return {};
  };

  it('holds for each of them over HTTP', async () => {
    const wrong: string[] = [];
    for (const [who, column] of Object.entries(columns)) {
      await Promise.all((['query', 'mutation'] as const).flatMap((kind) => fieldsOf(schema, kind).map(async (field) => {
        const row = ROWS[kind][field.name] as Row;
        const should = expected(row, column);
        // Lists are looked at below, by what is in them.
        if (row.about === 'list' && should === 'NOTHING') return;
        const world = row.alone && should === 'IN' ? await makeWorld(service, shared.projectId) : shared;
        const response = await fetch(`${service.url}/graphql`, {
          method: 'POST', headers: headers(await column.token(world)), body: JSON.stringify({ query: documentOf(kind, field), variables: argsOf(row, world, field.args.map(({ name }) => name)) }),
        });
        const body = await response.json() as Parameters<typeof outcomeOf>[1];
        const is = outcomeOf(field.name, body);
        if (is !== should) wrong.push(`${who}: ${kind} ${field.name} is ${is}, should be ${should}: ${JSON.stringify(body)}`);
        if (is === 'UNAUTHENTICATED' && response.status !== 401) wrong.push(`${who}: ${field.name} is answered with ${response.status}`);
      })));
    }
    expect(wrong).toEqual([]);
  }, 60_000);

  it('holds for each of them over a WebSocket, which carries subscriptions only', async () => {
    const wrong: string[] = [];
    await Promise.all(Object.entries(columns).map(async ([who, column]) => {
      const token = await column.token(shared);
      const client = createClient({
        url: `${service.url.replace('http', 'ws')}/graphql`, webSocketImpl: WebSocket, retryAttempts: 0, lazyCloseTimeout: 0, onNonLazyError: () => undefined,
        connectionParams: token === null ? {} : { authorization: `Bearer ${token}` },
      });
      const ask = (query: string, variables: Record<string, unknown>): Promise<Parameters<typeof outcomeOf>[1]> =>
        new Promise((resolve) => {
          client.subscribe<Record<string, never>>({ query, variables }, {
            next: (result) => resolve(result as never),
            error: (error) => resolve({ errors: Array.isArray(error) ? error as never : [{ extensions: { code: `closed ${String((error as { code?: number }).code)}` } }] }),
            complete: () => resolve({}),
          });
        });
      for (const kind of KINDS) {
        await Promise.all(fieldsOf(schema, kind).map(async (field) => {
          const row = ROWS[kind][field.name] as Row;
          const should = column.rights === null ? 'closed 4403' : kind === 'subscription' ? expected(row, column) : 'BAD_INPUT';
          const is = outcomeOf(field.name, await ask(documentOf(kind, field), row.args?.(shared) ?? {}));
          if (is !== should) wrong.push(`${who}: ${kind} ${field.name} is ${is}, should be ${should}`);
        }));
      }
      await client.dispose();
    }));
    expect(wrong).toEqual([]);
  });

  it('holds for each of them over a stream of server-sent events, which carries subscriptions only', async () => {
    const wrong: string[] = [];
    const first = async (token: string | null, query: string, variables: Record<string, unknown>): Promise<Parameters<typeof outcomeOf>[1]> => {
      const response = await fetch(`${service.url}/graphql/stream`, { method: 'POST', headers: { ...headers(token), accept: 'text/event-stream' }, body: JSON.stringify({ query, variables }) });
      if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return await response.json() as Parameters<typeof outcomeOf>[1];
      let text = '';
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk as Uint8Array).toString();
        const data = /^data: (.+)\n\n/m.exec(text)?.[1];
        // Leaving the loop closes the stream.
        if (data !== undefined) return JSON.parse(data) as Parameters<typeof outcomeOf>[1];
      }
      return {};
    };
    await Promise.all(Object.entries(columns).map(async ([who, column]) => {
      const token = await column.token(shared);
      // What is no subscription is refused before anybody's rights are looked at: asked of one of them.
      for (const kind of who === 'admin' ? KINDS : (['subscription'] as const)) {
        await Promise.all(fieldsOf(schema, kind).map(async (field) => {
          const row = ROWS[kind][field.name] as Row;
          const should = kind === 'subscription' ? expected(row, column) : 'BAD_INPUT';
          const is = outcomeOf(field.name, await first(token, documentOf(kind, field), row.args?.(shared) ?? {}));
          if (is !== should) wrong.push(`${who}: ${kind} ${field.name} is ${is}, should be ${should}`);
        }));
      }
    }));
    expect(wrong).toEqual([]);
  });

  it('and whatever a caller may list, nothing that is not there for it is in it', async () => {
    const { sdk } = service;
    const mine = await makeWorld(service, shared.projectId);
    const { token } = await sdk.apiKeys.create({ name: 'limited', role: 'OPERATOR', instanceIds: [mine.instanceId] });
    const everything = `query ($instance: ID!, $job: ID!) {
      viewer { instanceIds }
      instances(first: 100) { totalCount nodes { id policy { id } latestBackup { id } runningJob { id } recovery { lastAvailableBackup { id } } slots { nodes { id job { id } } } } }
      backups(first: 100) { totalCount nodes { id instance { id } job { id } inspection { keysTruncated } } }
      jobs(first: 100) { totalCount nodes { id instance { id } backup { id } restore { id } } }
      asked: jobs(filter: { instanceIds: [$instance] }) { totalCount nodes { id } }
      restores(first: 100) { totalCount nodes { id plan { id } backup { id } instance { id } job { id } } }
      retentionPreview(first: 100) { totalCount nodes { backup { id } } }
      foreign: instance(id: $instance) { id }
      job(id: $job) { id }
    }`;
    const ask = async (key: string) => {
      const response = await fetch(`${service.url}/graphql`, { method: 'POST', headers: headers(key), body: JSON.stringify({ query: everything, variables: { instance: shared.instanceId, job: shared.jobId } }) });
      const body = await response.json() as { data: Record<string, { totalCount: number }>; errors?: unknown };
      expect(body.errors).toBeUndefined();
      return { ids: [...new Set(JSON.stringify(body.data).match(/\b(?:ins|bak|job|rst|rpl|pol|slt)_[0-9a-z]{26}\b/g))].sort(), totals: Object.entries(body.data).flatMap(([name, value]) => (typeof value?.totalCount === 'number' ? [[name, value.totalCount]] : [])) };
    };
    const all = ({ instanceId, backupId, planId, restoreId, jobId, slotId, policyId }: World) => ({
      ids: [instanceId, backupId, planId, restoreId, jobId, slotId, policyId].sort(), totals: [['instances', 1], ['backups', 1], ['jobs', 1], ['asked', 0], ['restores', 1], ['retentionPreview', 1]],
    });
    expect(await ask(token)).toEqual(all(mine));
    expect(await ask(await columns['other tenant']?.token(shared) ?? '')).toEqual(all(theirs));

    // Nor behind a cursor that somebody made up, at a place where all of it is behind, or that stands for another tenant's things.
    const behind = async (key: string, at: Date, of: World): Promise<string[]> => {
      const place = (list: ListName, id: string): string => listCursor(list, { createdAt: at, id });
      const response = await fetch(`${service.url}/graphql`, {
        method: 'POST', headers: headers(key), body: JSON.stringify({
          query: `query ($i: String, $b: String, $j: String, $r: String) {
            instances(first: 100, after: $i) { nodes { id } } backups(first: 100, after: $b) { nodes { id } } jobs(first: 100, after: $j) { nodes { id } } restores(first: 100, after: $r) { nodes { id } }
          }`,
          variables: { i: place('instances', of.instanceId), b: place('backups', of.backupId), j: place('jobs', of.jobId), r: place('restores', of.restoreId) },
        }),
      });
      return [...new Set((await response.text()).match(/\b(?:ins|bak|job|rst)_[0-9a-z]{26}\b/g))].sort();
    };
    const tomorrow = new Date(Date.now() + 86_400_000);
    for (const [key, world] of [[token, mine], [await columns['other tenant']?.token(shared) ?? '', theirs]] as const) {
      const own = [world.instanceId, world.backupId, world.jobId, world.restoreId].sort();
      for (const of of [shared, world]) expect(await behind(key, tomorrow, of)).toEqual(own);
      expect(await behind(key, new Date(0), shared)).toEqual([]);
    }

    // The feed, from its beginning on: what is behind, and what comes.
    const feed = createSdk({ url: service.url, token }).jobs.events({}, { after: feedCursor('0') });
    const next = async (): Promise<unknown> => {
      const { value } = await feed.next();
      return [value?.job.id, value?.job.state];
    };
    expect(await next()).toEqual([mine.jobId, 'QUEUED']);
    await sdk.jobs.cancel(shared.jobId);
    await sdk.jobs.cancel(mine.jobId);
    expect(await next()).toEqual([mine.jobId, 'COMPLETED']);
    await feed.return?.();

    // Of a restore from one instance into another, a key sees as much as it sees of both.
    const [from, into] = [shared, mine];
    const [planned, done] = [newId('restorePlan'), newId('restore')];
    await service.app.db.transaction(async (tx) => {
      const [plan, restore] = [await tx.plans.get(from, from.planId), await tx.restores.get(from, from.restoreId)];
      if (!plan || !restore) throw new Error('The world is not whole');
      await tx.plans.insert({ ...plan, id: planned, instanceId: into.instanceId });
      await tx.restores.insert({ ...restore, id: done, planId: planned, instanceId: into.instanceId });
    });
    expect((await ask(token)).ids).not.toContain(done);
    const { token: both } = await sdk.apiKeys.create({ name: 'both', role: 'VIEWER', instanceIds: [from.instanceId, into.instanceId] });
    const { ids } = await ask(both);
    expect(ids).toEqual(expect.arrayContaining([done, planned]));
  });
});
