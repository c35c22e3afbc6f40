import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, TypedDocumentString } from '@snapback/sdk';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startService, type TestService } from '../kit/service.js';
import { caught } from './scene.js';

const OWN = 'query Names { instances { nodes { name } } }';
const FOREIGN = 'query Names { instances { nodes { host } } }';
const NOBODYS_JOB = 'job_00000000000000000000000000';

describe('a service that executes trusted documents only', () => {
  let folder: string;
  let service: TestService;
  beforeAll(async () => {
    folder = makeTempDir('documents');
    const path = join(folder, 'documents.json');
    await writeFile(path, JSON.stringify({ names: OWN }));
    service = await startService({ env: { DOCUMENTS: 'trusted', TRUSTED_DOCUMENTS: path } });
  });
  afterAll(async () => {
    await service?.stop();
    await removeTempDir(folder);
  });

  const ask = async (path: string, body: object): Promise<unknown> => {
    const response = await fetch(`${service.url}${path}`, {
      method: 'POST', headers: { authorization: `Bearer ${service.key}`, 'content-type': 'application/json', accept: path === '/graphql' ? 'application/json' : 'text/event-stream' }, body: JSON.stringify(body),
    });
    const { data, errors } = (await response.json()) as { data?: unknown; errors?: { extensions: { code: string } }[] };
    return errors?.[0]?.extensions.code ?? data;
  };

  it('serves the SDK, over sockets and streams too, and the documents of its operator', async () => {
    const { sdk } = service;
    expect(await sdk.viewer()).toMatchObject({ role: 'ADMIN' });
    expect(await sdk.instances.list().toArray({ limit: 10 })).toEqual([]);
    expect(await sdk.execute(new TypedDocumentString<{ instances: { nodes: unknown[] } }, object>(OWN), {})).toEqual({ instances: { nodes: [] } });
    const withoutSockets = createClient({ url: service.url, token: service.key, webSocket: class {
      constructor() {
        throw new Error('There are none here.');
      }
    } as never });
    for (const client of [sdk, withoutSockets]) expect(await caught(client.jobs.watch(NOBODYS_JOB).next())).toMatchObject({ code: 'NOT_FOUND' });
    withoutSockets.close();
  });

  it('refuses everything else', async () => {
    expect(await ask('/graphql', { query: FOREIGN })).toBe('DOCUMENT_NOT_TRUSTED');
    expect(await ask('/graphql', { query: FOREIGN, extensions: { persistedQuery: { version: 1, sha256Hash: createHash('sha256').update(FOREIGN).digest('hex') } } })).toBe('DOCUMENT_NOT_TRUSTED');
    expect(await ask('/graphql/stream', { query: 'subscription { jobEvents { cursor } }' })).toBe('DOCUMENT_NOT_TRUSTED');
    expect(await ask('/graphql', { extensions: { persistedQuery: { version: 1, sha256Hash: createHash('sha256').update(OWN).digest('hex') } } })).toEqual({ instances: { nodes: [] } });
  });
});
