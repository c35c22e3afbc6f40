import { get } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, type Backup, type Instance, TypedDocumentString } from '@snapback/sdk';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { archivesOf, backUp, caught, refusal, register, startRestore, storedFiles } from './scene.js';

const NODE = new TypedDocumentString<{ node: Record<string, unknown> | null }, { id: string }>(
  `query Node($id: ID!) { node(id: $id) { __typename id ... on Backup { name state } ... on Instance { name } ... on BackupPolicy { enabled } ... on Job { kind } ... on Project { name } } }`,
);
const PAGES = new TypedDocumentString<
  { backups: { totalCount: number; nodes: { id: string }[]; pageInfo: { startCursor: string | null; endCursor: string | null; hasNextPage: boolean; hasPreviousPage: boolean } } },
  { first?: number; after?: string | null; last?: number; before?: string | null; order?: 'NEWEST_FIRST' | 'OLDEST_FIRST' }
>(`query Pages($first: Int, $after: String, $last: Int, $before: String, $order: ListOrder) {
  backups(first: $first, after: $after, last: $last, before: $before, order: $order) { totalCount nodes { id } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } }
}`);
const SERVICE = new TypedDocumentString<{ service: Record<string, unknown>; viewer: Record<string, unknown> }, object>(`{
  service {
    version defaultTimeZone retentionDays store { kind location writable freeBytes } engines { engine minVersion disabledVersions }
    limits { maxPageSize maxNameLength minDownloadLinkSeconds maxDownloadLinkSeconds restorePlanSeconds idempotencyKeySeconds concurrentJobs }
  }
  viewer { keyId keyName role project { id name } }
}`);

describe('the list of backups', () => {
  let service: TestService;
  let servers: RedisServer[];
  let one: Instance;
  let two: Instance;
  const made: Backup[] = [];

  beforeAll(async () => {
    [service, ...servers] = await Promise.all([startService({ env: { CONCURRENT_JOBS: '2', DEFAULT_TIME_ZONE: '+05:30' } }), startRedis(), startRedis()]);
    const [first, second] = servers as [RedisServer, RedisServer];
    await first.cli('SET', 'key', 'value');
    one = await register(service, 'one', first);
    two = await register(service, 'two', second);
    for (const [instance, name] of [[one, 'Nightly 50%'], [two, 'nightly_x'], [one, 'before Ümzug'], [two, 'release 1.0'], [one, 'release 1.1']] as const) {
      made.push(await backUp(service, instance.id, name));
    }
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), ...(servers ?? []).map((server) => server.stop())]);
  });

  const ids = (backups: readonly { id: string }[]): string[] => backups.map(({ id }) => id);
  const newest = (): string[] => ids(made).reverse();

  it('is filtered by instance, state, trigger, part of the name, and time', async () => {
    const { sdk } = service;
    const found = async (filter: NonNullable<Parameters<typeof sdk.backups.list>[0]>): Promise<string[]> => (await sdk.backups.list(filter).toArray({ limit: 100 })).map(({ name }) => name);
    expect(await found({})).toEqual(['release 1.1', 'release 1.0', 'before Ümzug', 'nightly_x', 'Nightly 50%']);
    expect(await found({ instanceId: one.id })).toEqual(['release 1.1', 'before Ümzug', 'Nightly 50%']);
    expect(await found({ instanceId: two.id, nameContains: 'NIGHT' })).toEqual(['nightly_x']);
    // Pattern characters stand for themselves.
    expect(await found({ nameContains: '%' })).toEqual(['Nightly 50%']);
    expect(await found({ nameContains: '_' })).toEqual(['nightly_x']);
    expect(await found({ nameContains: '\\' })).toEqual([]);
    expect(await found({ nameContains: 'ümzug' })).toEqual(['before Ümzug']);
    expect(await found({ states: ['AVAILABLE'], triggers: ['MANUAL'] })).toHaveLength(5);
    expect(await found({ states: ['FAILED', 'CREATING'] })).toEqual([]);
    expect(await found({ states: [] })).toEqual([]);
    expect(await found({ triggers: ['SCHEDULED', 'PRE_RESTORE'] })).toEqual([]);
    const [, second, , fourth] = made;
    expect(await found({ createdFrom: second?.createdAt ?? '', createdBefore: fourth?.createdAt ?? '' })).toEqual(['before Ümzug', 'nightly_x']);
    expect(await found({ createdFrom: '2999-01-01T00:00:00.000Z' })).toEqual([]);
    expect(await found({ instanceId: 'ins_00000000000000000000000000' })).toEqual([]);
  });

  it('is given in either order, in pages that neither repeat nor skip while others come and go', async () => {
    const { sdk } = service;
    const walk = async (order: 'NEWEST_FIRST' | 'OLDEST_FIRST', forward: boolean): Promise<string[]> => {
      const seen: string[] = [];
      let cursor: string | null = null;
      for (;;) {
        const page: { nodes: { id: string }[]; totalCount: number; pageInfo: { startCursor: string | null; endCursor: string | null; hasNextPage: boolean; hasPreviousPage: boolean } } =
          (await sdk.execute(PAGES, forward ? { first: 2, after: cursor, order } : { last: 2, before: cursor, order })).backups;
        expect(page.totalCount).toBe(5);
        expect(forward ? page.pageInfo.hasPreviousPage : page.pageInfo.hasNextPage).toBe(cursor !== null);
        seen.splice(forward ? seen.length : 0, 0, ...ids(page.nodes));
        if (!(forward ? page.pageInfo.hasNextPage : page.pageInfo.hasPreviousPage)) return seen;
        cursor = forward ? page.pageInfo.endCursor : page.pageInfo.startCursor;
      }
    };
    expect(await walk('NEWEST_FIRST', true)).toEqual(newest());
    expect(await walk('NEWEST_FIRST', false)).toEqual(newest());
    expect(await walk('OLDEST_FIRST', true)).toEqual(ids(made));
    expect(await walk('OLDEST_FIRST', false)).toEqual(ids(made));

    const { backups: first } = await sdk.execute(PAGES, { first: 2 });
    const late = await backUp(service, two.id, 'came late');
    await sdk.jobs.wait((await sdk.backups.delete(made[2] as Backup)).job);
    const { backups: rest } = await sdk.execute(PAGES, { first: 10, after: first.pageInfo.endCursor });
    expect([...ids(first.nodes), ...ids(rest.nodes)]).toEqual(newest().filter((id) => id !== made[2]?.id));
    await sdk.backups.delete({ backupId: late.id, force: true });
  });

  it('and everything in it is found again by its id', async () => {
    const { sdk } = service;
    const [backup] = made;
    const policy = await sdk.policies.get(one.id);
    const { viewer } = await sdk.execute(SERVICE, {});
    const node = async (id: string) => (await sdk.execute(NODE, { id })).node;
    expect(await node(backup?.id ?? '')).toEqual({ __typename: 'Backup', id: backup?.id, name: 'Nightly 50%', state: 'AVAILABLE' });
    expect(await node(one.id)).toEqual({ __typename: 'Instance', id: one.id, name: 'one' });
    expect(await node(policy?.id ?? '')).toEqual({ __typename: 'BackupPolicy', id: policy?.id, enabled: true });
    expect(await node(backup?.job?.id ?? '')).toEqual({ __typename: 'Job', id: backup?.job?.id, kind: 'BACKUP' });
    const project = viewer['project'] as { id: string };
    expect(await node(project.id)).toEqual({ __typename: 'Project', id: project.id, name: 'default' });
    expect(await node(String(viewer['keyId']))).toEqual({ __typename: 'ApiKey', id: viewer['keyId'] });
  });

  it('keeps the newest good one of a protected instance unless it is forced', async () => {
    const { sdk } = service;
    const [old, good] = [await backUp(service, one.id, 'old'), await backUp(service, one.id, 'newest')];
    expect(await sdk.backups.get(old)).toMatchObject({ retainedBecause: null });
    expect(good.retainedBecause).toBe('NEWEST_GOOD');
    expect(await refusal(sdk.backups.delete(good))).toEqual({ code: 'CONFLICT', field: ['force'] });
    expect(await sdk.backups.get(good)).toMatchObject({ state: 'AVAILABLE' });

    const { job } = await sdk.backups.delete(old);
    await sdk.jobs.wait(job);
    expect(await sdk.backups.get(old)).toMatchObject({ state: 'DELETED', name: 'old' });
    expect(await refusal(sdk.backups.delete(old))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
    expect(await refusal(sdk.restores.plan({ backupId: old.id, instanceId: one.id }))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });

    await sdk.jobs.wait((await sdk.backups.delete({ backupId: good.id, force: true })).job);
    expect(ids(await sdk.backups.list().toArray({ limit: 100 }))).not.toContain(good.id);
    expect(ids(await sdk.backups.list({ states: ['DELETED'] }).toArray({ limit: 100 }))).toContain(good.id);
    await waitFor(async () => (await sdk.jobs.list({ states: ['QUEUED', 'RUNNING'] }).toArray({ limit: 1 })).length === 0, { message: 'all deletions to end' });
    expect(await storedFiles(service)).toEqual(archivesOf(...ids(await sdk.backups.list().toArray({ limit: 100 }))));
    expect(await sdk.instances.get(one)).toMatchObject({ latestBackup: { name: 'release 1.1' } });
  });

  it('deletes nothing that is being read', async () => {
    const { sdk } = service;
    const [server] = servers as [RedisServer, RedisServer];
    // Too much for the buffers between here and there.
    await server.cli('CONFIG', 'SET', 'rdbcompression', 'no');
    await server.cli('DEBUG', 'POPULATE', '400', 'big', '65536');
    const backup = await backUp(service, one.id, 'big');
    const { url } = await sdk.backups.link(backup);
    const request = get(url);
    try {
      // The head has arrived and nothing more is taken: the service waits in the middle of the file.
      await new Promise((resolve, reject) => request.once('response', (response) => resolve(response.pause())).once('error', reject));
      expect(await refusal(sdk.backups.delete({ backupId: backup.id, force: true }))).toEqual({ code: 'BACKUP_IN_USE', field: ['backupId'] });
      expect(await sdk.backups.get(backup)).toMatchObject({ state: 'AVAILABLE', retainedBecause: 'NEWEST_GOOD' });
    } finally {
      request.destroy();
    }
    // The reader has gone, and with it its lease.
    await waitFor(async () => sdk.backups.delete({ backupId: backup.id, force: true }).then(() => true, (error: unknown) => {
      if ((error as { code?: string }).code === 'BACKUP_IN_USE') return false;
      throw error;
    }), { message: 'the lease to be given back' });
    await server.cli('FLUSHALL');
  });

  it('shows a safety copy for what it is', async () => {
    const { sdk } = service;
    const { restore } = await startRestore(service, made[0]?.id ?? '', two, { safetyBackup: true });
    const done = await sdk.restores.wait(restore);
    const [copy, ...others] = await sdk.backups.list({ triggers: ['PRE_RESTORE'] }).toArray({ limit: 10 });
    expect(others).toEqual([]);
    expect(copy).toMatchObject({ id: done.safetyBackup?.id, state: 'AVAILABLE', instance: { id: two.id }, retainedBecause: null, expiresAt: expect.any(String) as string });
    // It is neither the newest good one nor the latest.
    expect(await sdk.instances.get(two)).toMatchObject({ latestBackup: { name: 'release 1.0' } });
  });

  it('stands in a service that says what it is', async () => {
    const { service: about, viewer } = await service.sdk.execute(SERVICE, {});
    expect(about).toEqual({
      version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string, defaultTimeZone: '+05:30', retentionDays: 7,
      store: { kind: 'FILE_SYSTEM', location: service.storeRoot, writable: true, freeBytes: expect.stringMatching(/^\d{6,}$/) as string },
      engines: [{ engine: 'REDIS', minVersion: '2.8', disabledVersions: [] }, { engine: 'VALKEY', minVersion: '7.2', disabledVersions: [] }],
      limits: {
        maxPageSize: 100, maxNameLength: 128, minDownloadLinkSeconds: 60, maxDownloadLinkSeconds: 604_800, restorePlanSeconds: 600, idempotencyKeySeconds: 86_400, concurrentJobs: 2,
      },
    });
    const { token } = await service.sdk.apiKeys.create({ name: 'of the project only', role: 'ADMIN' });
    expect((await createClient({ url: service.url, token }).service.info()).store).toMatchObject({ location: null, writable: true });
    expect(viewer).toMatchObject({ keyName: 'first admin key', role: 'ADMIN', project: { name: 'default' } });
    expect(await service.sdk.policies.get(one.id)).toMatchObject({ timeZone: '+05:30' });
    expect(await caught(service.sdk.backups.list({ pageSize: 101 }).toArray({ limit: 101 }))).toMatchObject({ code: 'BAD_INPUT' });
  });
});
