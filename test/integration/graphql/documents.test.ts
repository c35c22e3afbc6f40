import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from 'graphql-ws';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { createDocuments } from '../../../server/graphql/documents.js';
import { SDK_DOCUMENTS } from '../../../server/graphql/generated/sdk-documents.js';
import { buildServedSchema } from '../../../server/graphql/schema.js';
import { trustedDocuments } from '../../../server/graphql/trusted-documents.js';
import { type JobEventRecord } from '../../../server/services/records.js';
import * as operations from '../../../sdk/src/generated/operations.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { ADMIN_KEY, type Answer, type Edge, fakeServices, readServices, startEdge, VIEWER_KEY } from './edge.js';
import { event, instance, job } from './records.js';

let edge: Edge | undefined;
afterEach(async () => {
  await edge?.stop();
  edge = undefined;
});

const { JobProgressDocument, ViewerDocument } = operations;
const JOB = job();
async function* oneEvent(): AsyncGenerator<JobEventRecord> {
  yield await Promise.resolve(event(JOB, 1));
}
const start = async (over: Parameters<typeof startEdge>[1] = {}): Promise<Edge> => {
  const services = fakeServices({
    ...readServices({ instances: [instance()], backups: [], jobs: [] }).services,
    jobs: { progress: async () => oneEvent() },
  });
  edge = await startEdge(services, over);
  return edge;
};
const only = (...own: string[]) => ({ documents: createDocuments({ trusted: [...SDK_DOCUMENTS, ...own], only: true }) });
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const named = (text: string) => ({ persistedQuery: { version: 1, sha256Hash: sha256(text) } });

const post = async (body: unknown, key = ADMIN_KEY): Promise<{ status: number; body: Answer }> => {
  const response = await fetch(`${edge?.url ?? ''}/graphql`, { method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` }, body: JSON.stringify(body) });
  return { status: response.status, body: (await response.json()) as Answer };
};
const get = async (search: string, below = ''): Promise<{ status: number; body: Answer }> => {
  const response = await fetch(`${edge?.url ?? ''}/graphql${below}?${search}`, { headers: { authorization: `Bearer ${ADMIN_KEY}`, 'apollo-require-preflight': 'yes' } });
  return { status: response.status, body: (await response.json()) as Answer };
};
const codeOf = ({ status, body }: { status: number; body: Answer }): unknown => [status, body.errors?.[0]?.extensions['code'] ?? body.data];

/** The first thing that a subscription gets: its data, or the code of what was wrong. */
const subscribe = (payload: object): Promise<unknown> => {
  const client = createClient({ lazyCloseTimeout: 0, url: edge?.wsUrl ?? '', webSocketImpl: WebSocket, connectionParams: { authorization: `Bearer ${ADMIN_KEY}` }, retryAttempts: 0, onNonLazyError: () => undefined });
  return new Promise((resolve) => {
    const codeIn = (errors: unknown): unknown => (Array.isArray(errors) ? (errors as { extensions: { code: string } }[])[0]?.extensions.code : errors);
    client.subscribe(payload as never, { next: ({ data }) => resolve(data), error: (error) => resolve(codeIn(error)), complete: () => resolve('complete') });
  }).finally(() => client.dispose());
};

/** The same over server-sent events, by POST or GET. */
const answered = async (response: Response): Promise<unknown> => {
  const text = await response.text();
  const { data, errors } = JSON.parse(/^event: next\ndata: (.*)$/m.exec(text)?.[1] ?? text) as Answer;
  return errors?.[0]?.extensions['code'] ?? data;
};
const STREAMED = { authorization: `Bearer ${ADMIN_KEY}`, accept: 'text/event-stream' };
const stream = async (body: object): Promise<unknown> =>
  answered(await fetch(`${edge?.url ?? ''}/graphql/stream`, { method: 'POST', headers: { ...STREAMED, 'content-type': 'application/json' }, body: JSON.stringify(body) }));
const streamByGet = async ({ extensions, ...named }: { query?: string; extensions?: unknown }): Promise<unknown> =>
  answered(await fetch(`${edge?.url ?? ''}/graphql/stream?${new URLSearchParams({ ...named, ...(extensions === undefined ? {} : { extensions: JSON.stringify(extensions) }) })}`, { headers: STREAMED }));

const QUERY = '{ instances { nodes { name } } }';
const FOUND = { instances: { nodes: [{ name: 'orders' }] } };
const WATCH = `subscription { jobProgress(jobId: "${JOB.id}") { sequence } }`;

describe('documents that are named by their SHA-256', () => {
  it('are asked for once, and known from then on', async () => {
    await start();
    const unknown = await post({ extensions: named(QUERY) });
    expect(codeOf(unknown)).toEqual([200, 'PERSISTED_QUERY_NOT_FOUND']);
    // Clients look for these words.
    expect(unknown.body.errors?.[0]?.message).toBe('PersistedQueryNotFound');
    expect(codeOf(await post({ query: QUERY, extensions: named(QUERY) }))).toEqual([200, FOUND]);
    expect(codeOf(await post({ extensions: named(QUERY) }))).toEqual([200, FOUND]);
    expect(codeOf(await get(`extensions=${encodeURIComponent(JSON.stringify(named(QUERY)))}`))).toEqual([200, FOUND]);
    expect(codeOf(await post({ extensions: { ...named(QUERY), other: 1 } }))).toEqual([200, FOUND]);
  });

  it.each([['sockets', subscribe], ['streams', stream], ['streams by GET', streamByGet]])('over %s too, where they are the same ones', async (_what, ask) => {
    await start();
    expect(await ask({ query: '', extensions: named(WATCH) })).toBe('PERSISTED_QUERY_NOT_FOUND');
    expect(await ask({ query: WATCH, extensions: named(WATCH) })).toEqual({ jobProgress: { sequence: 1 } });
    for (const other of [subscribe, stream, streamByGet]) expect(await other({ query: '', extensions: named(WATCH) })).toEqual({ jobProgress: { sequence: 1 } });
    // What was sent over the one is known to the other, and still no query for a subscription's transport.
    await post({ query: QUERY, extensions: named(QUERY) });
    expect(await ask({ query: '', extensions: named(QUERY) })).toBe('BAD_INPUT');
  });

  it('are the SDK\'s from the start, all of them', async () => {
    const documents = Object.entries(operations).flatMap(([name, document]) => (name.endsWith('Document') ? [String(document)] : []));
    expect([...SDK_DOCUMENTS].sort()).toEqual(documents.sort());
    expect(documents.length).toBeGreaterThan(30);
    await start({ documents: createDocuments({ trusted: SDK_DOCUMENTS, only: false }) });
    expect(codeOf(await post({ extensions: named(String(ViewerDocument)) }))).toEqual([200, { viewer: expect.objectContaining({ role: 'ADMIN' }) as unknown }]);
  });

  it.each([
    ['another text', { query: QUERY, extensions: named(`${QUERY} `) }], ['a hash that is none', { query: QUERY, extensions: { persistedQuery: { version: 1, sha256Hash: 'abc' } } }],
    ['another version', { query: QUERY, extensions: { persistedQuery: { version: 2, sha256Hash: sha256(QUERY) } } }], ['no hash at all', { extensions: { persistedQuery: {} } }],
  ])('are refused with %s, and not kept', async (_what, body) => {
    await start();
    expect(codeOf(await post(body))).toEqual([400, 'BAD_INPUT']);
    for (const ask of [subscribe, stream]) expect(await ask({ query: '', ...body })).toBe('BAD_INPUT');
    expect(codeOf(await post({ extensions: named(QUERY) }))).toEqual([200, 'PERSISTED_QUERY_NOT_FOUND']);
  });

  it('pass the guard each time: they cost their points, and what is refused is not kept', async () => {
    await start({ pointsPerMinute: 50, limits: { maxRootFields: 2 } });
    const tooMuch = '{ a: __typename b: __typename c: __typename }';
    for (const query of [tooMuch, undefined]) expect(codeOf(await post({ query, extensions: named(tooMuch) }))).toEqual(query ? [400, 'LIMIT_EXCEEDED'] : [200, 'PERSISTED_QUERY_NOT_FOUND']);
    expect(codeOf(await post({ query: QUERY, extensions: named(QUERY) }))).toEqual([200, FOUND]);
    // 41 points of 50 are gone.
    expect(codeOf(await post({ extensions: named(QUERY) }))).toEqual([429, 'RATE_LIMITED']);
    expect(codeOf(await post({ extensions: named(QUERY) }, VIEWER_KEY))).toEqual([200, FOUND]);
  });

  it('are kept for each project apart, the newest of each', () => {
    const documents = createDocuments({ trusted: [], only: false });
    const caller = (projectId: string) => ({ credential: 'API_KEY', keyId: 'k', name: 'n', projectId, role: 'VIEWER', serviceWide: false, instanceIds: null, expiresAt: null }) as const;
    const known = (projectId: string, text: string): boolean => {
      try {
        return documents.textOf(caller(projectId), { extensions: named(text) }) === text;
      } catch {
        return false;
      }
    };
    const keep = (projectId: string, text: string): void => documents.keep(caller(projectId), { query: text, extensions: named(text) }, text);
    keep('prj_a', QUERY);
    expect([known('prj_a', QUERY), known('prj_b', QUERY)]).toEqual([true, false]);
    for (let at = 0; at < 1_000; at += 1) keep('prj_b', `{ a${at} }`);
    // Whatever others do, and however much one sends.
    expect([known('prj_a', QUERY), known('prj_b', '{ a999 }'), known('prj_b', '{ a800 }'), known('prj_b', '{ a799 }')]).toEqual([true, true, true, false]);
    for (let at = 0; at < 20; at += 1) keep('prj_b', `{ a${at} ${'x'.repeat(99_000)} }`);
    expect([known('prj_b', '{ a999 }'), known('prj_b', `{ a19 ${'x'.repeat(99_000)} }`), known('prj_b', `{ a9 ${'x'.repeat(99_000)} }`)]).toEqual([false, true, false]);
    // Of projects as many as are remembered.
    for (let at = 0; at < 100; at += 1) keep(`prj_${at}`, QUERY);
    expect(known('prj_a', QUERY)).toBe(false);
  });
});

describe('where only trusted documents are executed', () => {
  it('the SDK\'s are, by text or by hash, and the operator\'s own', async () => {
    await start(only(QUERY, WATCH));
    expect(codeOf(await post({ query: String(ViewerDocument) }))).toEqual([200, { viewer: expect.objectContaining({ role: 'ADMIN' }) as unknown }]);
    expect(codeOf(await post({ query: QUERY }))).toEqual([200, FOUND]);
    expect(codeOf(await post({ extensions: named(QUERY) }))).toEqual([200, FOUND]);
    for (const ask of [subscribe, stream, streamByGet]) {
      expect(await ask({ query: WATCH })).toEqual({ jobProgress: { sequence: 1 } });
      expect(await ask({ query: '', extensions: named(WATCH) })).toEqual({ jobProgress: { sequence: 1 } });
    }
    for (const ask of [subscribe, stream]) expect(await ask({ query: String(JobProgressDocument), variables: { jobId: JOB.id } })).toMatchObject({ jobProgress: { sequence: 1 } });
  });

  it('others are refused over all transports, however they come', async () => {
    await start(only());
    for (const query of [QUERY, `${String(ViewerDocument)} `, '{ __schema { queryType { name } } }', 'not graphql', '']) {
      for (const body of [{ query }, { query, extensions: named(query) }]) {
        expect(codeOf(await post(body))).toEqual([403, 'DOCUMENT_NOT_TRUSTED']);
        for (const ask of [subscribe, stream, streamByGet]) expect(await ask(body)).toBe('DOCUMENT_NOT_TRUSTED');
      }
      expect(codeOf(await get(`query=${encodeURIComponent(query)}`))).toEqual([403, 'DOCUMENT_NOT_TRUSTED']);
      expect(codeOf(await get(`query=${encodeURIComponent(query)}`, '/stream'))).toEqual([403, 'DOCUMENT_NOT_TRUSTED']);
    }
    expect(codeOf(await post({ extensions: named(QUERY) }))).toEqual([403, 'DOCUMENT_NOT_TRUSTED']);
    for (const ask of [subscribe, stream, streamByGet]) {
      expect(await ask({ query: WATCH })).toBe('DOCUMENT_NOT_TRUSTED');
      expect(await ask({ query: '', extensions: named(WATCH) })).toBe('DOCUMENT_NOT_TRUSTED');
    }
  });

  it.each([
    ['behind a thousand others', () => `${'a&'.repeat(1_100)}query=${encodeURIComponent(QUERY)}`],
    ['twice', () => `query=${encodeURIComponent(String(ViewerDocument))}&query=${encodeURIComponent(QUERY)}`],
    ['behind a number sign', () => `query=${encodeURIComponent(String(ViewerDocument))}%23&query%20=1&query=${encodeURIComponent(QUERY)}`],
    ['as a list', () => `query[]=${encodeURIComponent(QUERY)}`],
  ])('a parameter that comes %s does not pass either', async (_what, search) => {
    await start(only());
    const { status, body } = await get(search());
    expect(status).toBeGreaterThanOrEqual(400);
    expect(body.data ?? null).toBeNull();
  });
});

describe('documents of the operator', () => {
  let folder: string | undefined;
  afterEach(async () => {
    if (folder !== undefined) await removeTempDir(folder);
    folder = undefined;
  });
  const fileOf = async (content: string): Promise<string> => {
    folder = makeTempDir('documents');
    const path = join(folder, 'documents.json');
    await writeFile(path, content);
    return path;
  };

  it.each([['a list', JSON.stringify([QUERY])], ['an object by name', JSON.stringify({ names: QUERY })], ['an object by SHA-256', JSON.stringify({ [sha256(QUERY)]: QUERY })]])('come in %s, beside those of the SDK', async (_what, content) => {
    expect(await trustedDocuments(await buildServedSchema(), await fileOf(content))).toEqual([...SDK_DOCUMENTS, QUERY]);
  });

  it.each([
    ['that is no JSON', 'query {', 'it is no JSON'], ['that holds one text', '"{ viewer { role } }"', 'neither a list nor an object'], ['that holds a number', '[1]', '"0" is no text'],
    ['with the SHA-256 of another', JSON.stringify({ [sha256('{ x }')]: QUERY }), 'has another SHA-256'], ['that do not fit the schema', '{"mine":"{ nothing }"}', '"mine" is refused'],
    ['above the limits', JSON.stringify({ mine: `{ ${Array.from({ length: 200 }, (_, at) => `a${at}: __typename`).join(' ')} }` }), '"mine" is refused'],
  ])('of a file %s keep the service from starting, which says why', async (_what, content, problem) => {
    const path = await fileOf(content);
    await expect(trustedDocuments(await buildServedSchema(), path)).rejects.toThrow(new RegExp(`The trusted documents in ${path} cannot be used: .*${problem}`));
  });

  it('of a file that is not there keep it from starting, too', async () => {
    await expect(trustedDocuments(await buildServedSchema(), '/nowhere/documents.json')).rejects.toMatchObject({ code: 'BAD_INPUT', hint: expect.stringContaining('TRUSTED_DOCUMENTS') as unknown });
  });
});
