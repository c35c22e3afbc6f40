import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, TypedDocumentString, type Backup, type Client as Sdk, type InspectBackupInput, type InspectedKey, type Inspection, type Instance } from '@snapback/sdk';
import { type Role } from '../../server/domain/principal.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { backUp, caught, refusal, register } from './scene.js';

const WAIT = { timeoutMs: 60_000 };
const DATABASES = [0, 3];

/** A key as its server tells of it. */
interface Held {
  database: number;
  name: Buffer;
  type: string;
  elements: number | null;
  pttl: number;
}

const TYPES: Readonly<Record<string, [type: string, size: string | null]>> = {
  string: ['STRING', null], list: ['LIST', 'LLEN'], set: ['SET', 'SCARD'], zset: ['SORTED_SET', 'ZCARD'], hash: ['HASH', 'HLEN'], stream: ['STREAM', 'XLEN'],
};

const holdings = async (server: RedisServer): Promise<Held[]> => {
  const client = server.client();
  const held: Held[] = [];
  for (const database of DATABASES) {
    await client.select(database);
    for (const name of (await client.callBuffer('KEYS', '*')) as Buffer[]) {
      const [type, size] = TYPES[await client.type(name)] ?? ['?', null];
      held.push({ database, name, type, elements: size === null ? null : ((await client.call(size, name)) as number), pttl: await client.pttl(name) });
    }
  }
  return held;
};

/** The bytes that a name stands for. */
const bytesOf = ({ name, binary }: Pick<InspectedKey, 'name' | 'binary'>): Buffer =>
  binary ? Buffer.from(name.replace(/\\(\\|x[0-9a-f]{2})/g, (_, what: string) => (what === '\\' ? '\\' : String.fromCharCode(Number.parseInt(what.slice(1), 16)))), 'latin1') : Buffer.from(name);

const identity = (database: number, name: Buffer): string => `${String(database)} ${name.toString('hex')}`;

describe('looking inside a backup', () => {
  let service: TestService;
  let source: RedisServer;
  let instance: Instance;
  let backup: Backup;
  let held: Held[];
  let heldAt: number;
  beforeAll(async () => {
    [service, source] = await Promise.all([startService({ env: { UPKEEP_SECONDS: '86400' } }), startRedis()]);
    await seedAllTypes(source, { keysPerType: 3, databases: DATABASES });
    await source.client().set('secret-token:wilhelmina', 'x');
    instance = await register(service, 'orders', source);
    heldAt = Date.now();
    held = await holdings(source);
    backup = await backUp(service, instance.id);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop()]);
  });

  const inspect = async (of: Backup, input: Omit<InspectBackupInput, 'backupId'> = {}): Promise<Inspection> => {
    const started = await service.sdk.backups.inspect({ backupId: of.id, ...input });
    await service.sdk.backups.wait(started, WAIT);
    const found = await service.sdk.backups.inspection(of);
    expect(found?.job?.id).toBe(started.job.id);
    return found!;
  };
  const listed = (of: Backup, pageSize = 100): Promise<InspectedKey[]> => service.sdk.backups.keys(of, { pageSize }).toArray({ limit: 10_000 });
  const rows = async <T>(sql: string): Promise<T[]> => {
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    try {
      return (await client.query(sql)).rows as T[];
    } finally {
      await client.end();
    }
  };
  const keyOf = async (role: Role, own: boolean): Promise<Sdk> => {
    const projectId = own ? undefined : (await service.sdk.projects.create({ name: `tenant ${randomUUID()}` })).id;
    const { token } = await service.sdk.apiKeys.create({ name: 'another key', role, projectId });
    return createClient({ url: service.url, token });
  };

  it('totals are there without an inspection, and nothing else is', async () => {
    const fresh = await service.sdk.backups.inspection(backup);
    expect(fresh).toMatchObject({ totals: { keys: backup.keys, expiring: backup.expiringKeys, types: backup.types, databases: backup.databases } });
    const { totals: _, ...rest } = fresh!;
    expect(Object.values(rest).every((value) => value === null)).toBe(true);
    expect(await listed(backup)).toEqual([]);
  });

  it('lists every key of every type as the server had it, and counts them exactly by type, database and prefix', async () => {
    const { sdk } = service;
    const started = await sdk.backups.inspect(backup, { idempotencyKey: 'once' });
    expect(started).toMatchObject({ backup: { id: backup.id }, job: { kind: 'INSPECT', cancellable: true, instance: { id: instance.id } } });
    await sdk.backups.wait(started, WAIT);
    expect(await sdk.jobs.get(started.job)).toMatchObject({ conclusion: 'SUCCEEDED' });
    expect((await sdk.backups.inspect(backup, { idempotencyKey: 'once' })).job.id).toBe(started.job.id);
    expect(await refusal(sdk.backups.inspect({ backupId: backup.id, prefixDepth: 2, idempotencyKey: 'once' }))).toEqual({ code: 'IDEMPOTENCY_CONFLICT', field: ['idempotencyKey'] });

    const found = (await sdk.backups.inspection(backup))!;
    expect(found).toMatchObject({
      job: { id: started.job.id }, filter: null, delimiter: ':', prefixDepth: 1, complete: true, keysTruncated: false, prefixesTruncated: false, uncomparedKeys: '0',
      otherPrefixes: { keys: '0', bytes: '0' }, selected: { keys: String(held.length), expiring: backup.expiringKeys },
    });
    const keys = await listed(backup, 7);
    const byName = new Map(keys.map((key) => [identity(key.database, bytesOf(key)), key]));
    expect([keys.length, byName.size]).toEqual([held.length, held.length]);
    for (const { database, name, type, elements, pttl } of held) {
      const key = byName.get(identity(database, name));
      expect(key, name.toString('latin1')).toMatchObject({ type, elements: elements === null ? null : String(elements), nameBytes: String(name.length), nameTruncated: false });
      if (pttl < 0) expect(key).toMatchObject({ expiresAt: null, ttlSeconds: null });
      else {
        expect(Math.abs(Date.parse(key!.expiresAt!) - heldAt - pttl)).toBeLessThan(10_000);
        expect(Number(key!.ttlSeconds)).toBe(Math.floor((Date.parse(key!.expiresAt!) - Date.parse(backup.startedAt!)) / 1_000));
      }
    }
    expect(keys.some(({ binary }) => binary) && keys.some(({ name }) => name.startsWith('clé 钥匙 🔑'))).toBe(true);

    const sum = (of: readonly { bytes: string }[]): string => String(of.reduce((total, { bytes }) => total + Number(bytes), 0));
    const prefixOf = (key: InspectedKey): string => key.name.slice(0, key.name.indexOf(':') + 1);
    const prefixes = Object.fromEntries((found.byPrefix ?? []).map(({ prefix, keys: count, bytes, exact }) => [prefix, [count, bytes, exact]]));
    const expected = [...new Set(keys.map(prefixOf))].map((prefix) => {
      const those = keys.filter((key) => prefixOf(key) === prefix);
      return [prefix, [String(those.length), sum(those), true]];
    });
    expect(prefixes).toEqual(Object.fromEntries(expected));
    expect(sum(keys)).toBe(found.selected?.bytes);
    expect(found.selected?.types.map(({ type, keys: count }) => ({ type, keys: count }))).toEqual(backup.types);
    expect(found.selected?.databases.map(({ database, keys: count, expiring }) => ({ database, keys: count, expiring }))).toEqual(backup.databases);
    const bySize = [...keys].map(({ bytes }) => Number(bytes)).sort((a, b) => b - a);
    expect(found.largest?.map(({ bytes }) => Number(bytes))).toEqual(bySize.slice(0, 100));
  });

  it('a filter selects; its inspection takes the place of the one before only when it succeeds, and cursors go on where they stood', async () => {
    const { sdk } = service;
    const all = await listed(backup);
    const page = await sdk.backups.keys(backup, { pageSize: 40 }).pages().next();
    const { endCursor: cursor } = page.value as { endCursor: string };
    const found = await inspect(backup, { filter: { patterns: ['hash:*', 'list:small:*'], types: ['HASH', 'LIST'], databases: [3] } });
    const fits = ({ database, name }: InspectedKey): boolean => database === 3 && /^(hash:|list:small:)/.test(name);
    expect(found).toMatchObject({ filter: { patterns: ['hash:*', 'list:small:*'], types: ['HASH', 'LIST'], databases: [3] }, totals: { keys: backup.keys }, selected: { keys: String(all.filter(fits).length) } });
    expect((await listed(backup)).map(({ name }) => name)).toEqual(all.filter(fits).map(({ name }) => name));
    expect((await sdk.backups.keys(backup, { after: cursor }).toArray({ limit: 1_000 })).map(({ name }) => name)).toEqual(all.slice(40).filter(fits).map(({ name }) => name));

    const failing = await backUp(service, instance.id, 'other');
    await inspect(failing, { filter: { types: ['SET'] } });
    const file = join(service.storeRoot, 'backups', failing.id, 'rdb');
    const damaged = await readFile(file);
    damaged[90] = (damaged[90] ?? 0) ^ 8;
    await writeFile(file, damaged);
    const started = await sdk.backups.inspect(failing);
    expect(await caught(sdk.jobs.wait(started.job, WAIT))).toMatchObject({ kind: 'job_failed', code: 'BACKUP_DAMAGED' });
    expect(await sdk.backups.get(failing)).toMatchObject({ state: 'DAMAGED', damage: { code: 'CORRUPT', message: expect.stringContaining('block 0 at byte 64') as string } });
    expect(await sdk.backups.inspection(failing)).toMatchObject({ filter: { types: ['SET'], patterns: null } });
    expect(await refusal(sdk.backups.inspect(failing))).toEqual({ code: 'BACKUP_DAMAGED', field: ['backupId'] });
  });

  it.each<[string, Omit<InspectBackupInput, 'backupId'>, string[]]>([
    ['no pattern', { filter: { patterns: [] } }, ['filter', 'patterns']], ['too many databases', { filter: { databases: Array<number>(1_001).fill(1) } }, ['filter', 'databases']],
    ['no delimiter', { delimiter: '' }, ['delimiter']], ['a long delimiter', { delimiter: '::::::::::' }, ['delimiter']], ['no depth', { prefixDepth: 0 }, ['prefixDepth']],
  ])('refuses %s', async (_, input, field) => {
    expect(await refusal(service.sdk.backups.inspect({ backupId: backup.id, ...input }))).toEqual({ code: 'BAD_INPUT', field });
  });

  it('gives at most 100 keys a page, and knows its own cursors only', async () => {
    const { sdk } = service;
    const Keys = new TypedDocumentString<unknown, object>('query ($id: ID!, $first: Int, $after: String) { backup(id: $id) { inspection { keys(first: $first, after: $after) { totalCount pageInfo { hasPreviousPage } } } } }');
    expect(await caught(sdk.execute(Keys, { id: backup.id, first: 101 }))).toMatchObject({ code: 'BAD_INPUT' });
    const job = backup.job?.id ?? '';
    for (const after of ['', 'x', Buffer.from(JSON.stringify(['keys', job, 1])).toString('base64url'), Buffer.from(JSON.stringify(['keys', backup.id, -1])).toString('base64url')]) {
      expect(await caught(sdk.execute(Keys, { id: backup.id, after })), after).toMatchObject({ code: 'BAD_INPUT' });
    }
  });

  it('is for those who may download: a viewer has the totals, another tenant nothing', async () => {
    const Totals = new TypedDocumentString<unknown, object>('query ($id: ID!) { backup(id: $id) { inspection { totals { keys } } } }');
    const viewer = await keyOf('VIEWER', true);
    expect(await viewer.execute(Totals, { id: backup.id })).toEqual({ backup: { inspection: { totals: { keys: backup.keys } } } });
    for (const field of ['largest { name }', 'byPrefix { prefix }', 'keys { nodes { name } }', 'filter { patterns }']) {
      const Names = new TypedDocumentString<unknown, object>(`query ($id: ID!) { backup(id: $id) { inspection { ${field} } } }`);
      expect(await caught(viewer.execute(Names, { id: backup.id })), field).toMatchObject({ code: 'FORBIDDEN' });
    }
    expect(await caught(viewer.backups.inspect(backup))).toMatchObject({ code: 'FORBIDDEN' });
    const stranger = await keyOf('ADMIN', false);
    expect(await refusal(stranger.backups.inspect(backup))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
    expect(await refusal(service.sdk.backups.inspect('bak_1'))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
    expect(await stranger.backups.inspection(backup)).toBeNull();
    expect(await stranger.backups.keys(backup).toArray({ limit: 1 })).toEqual([]);
  });

  it('names of keys and patterns lie nowhere in the clear, survive a change of the master key, and go with the backup', async () => {
    const { dataDir } = service;
    await inspect(backup, { filter: { patterns: ['secret-token:wilhelm*'] } });
    expect((await listed(backup)).map(({ name }) => name)).toEqual(['secret-token:wilhelmina']);
    const tables = (await rows<{ name: string }>(`SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`)).map(({ name }) => name);
    const hex = Buffer.from('wilhelm').toString('hex');
    for (const table of tables) {
      const [hit] = await rows<{ row: string }>(`SELECT t::text AS row FROM ${table} t WHERE t::text LIKE '%wilhelm%' OR t::text LIKE '%${hex}%' LIMIT 1`);
      expect(hit, table).toBeUndefined();
    }
    expect(service.logs()).not.toContain('wilhelm');

    const file = join(dataDir, 'master.key');
    const old = (await readFile(file, 'utf8')).trim();
    const fresh = 'c0ffee'.repeat(10) + 'beef';
    await writeFile(file, `${fresh}\n${old}\n`);
    await service.restart();
    await waitFor(() => service.logs().includes('Everything is sealed under the current master key now'));
    const under = await rows<{ key: string }>(`SELECT DISTINCT convert_from(substring(sealed FROM 2 FOR 8), 'UTF8') AS key FROM inspection_parts`);
    expect(under).toHaveLength(1);
    await writeFile(file, `${fresh}\n`);
    await service.restart();
    expect((await listed(backup)).map(({ name }) => name)).toEqual(['secret-token:wilhelmina']);

    await backUp(service, instance.id, 'newer');
    const { sdk } = service;
    const { job } = await sdk.backups.delete(backup);
    expect(await sdk.backups.inspection(backup)).toBeNull();
    expect(await rows(`SELECT 1 FROM inspections i WHERE i.backup_id = '${backup.id}'`)).toEqual([]);
    await sdk.jobs.wait(job, WAIT);
    // Of the damaged backup's there is one, with its parts.
    expect(await rows('SELECT DISTINCT job_id FROM inspection_parts')).toHaveLength(1);
    expect(await refusal(sdk.backups.inspect(backup))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
  });
});
