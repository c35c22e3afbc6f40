import { randomUUID } from 'node:crypto';
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, type Client as Sdk, type Instance } from '@snapback/sdk';
import { startApp } from '../../server/app.js';
import { readConfig } from '../../server/config/config.js';
import { may, type Principal, type Role, type Verb } from '../../server/domain/principal.js';
import { type Services } from '../../server/services/api.js';
import { createLogger } from '../../server/telemetry/logger.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { readPem, tlsFiles } from '../kit/redis-tls.js';
import { startService, type TestService } from '../kit/service.js';
import { backUp, caught, refusal, register } from './scene.js';

const PASSWORD = 'canary-secret-8d4e';

/** Every method with what it asks for, and with input that would be right if the ids were. A new method without an entry fails. */
const METHODS: { readonly [Noun in keyof Services]: { readonly [Method in keyof Services[Noun]]: { verb: Verb; args: unknown[] } } } = {
  instances: {
    get: { verb: 'read', args: ['ins_1'] }, getMany: { verb: 'read', args: [['ins_1']] }, list: { verb: 'read', args: [{}, {}] },
    register: { verb: 'extend', args: [{ name: 'x', host: '127.0.0.1', port: 1, acceptPartial: false, skipSyncDelay: false }] }, update: { verb: 'operate', args: [{ instanceId: 'ins_1' }] },
    remove: { verb: 'operate', args: [{ instanceId: 'ins_1', deleteBackups: true }] }, probe: { verb: 'operate', args: [{ instanceId: 'ins_1' }] },
  },
  policies: {
    get: { verb: 'read', args: ['pol_1'] }, getManyByInstance: { verb: 'read', args: [['ins_1']] }, set: { verb: 'operate', args: [{ instanceId: 'ins_1' }] },
    upcomingRuns: { verb: 'read', args: [{ weekdays: [], enabled: false, instanceId: 'ins_1', startTime: '02:00', windowMinutes: 1, timeZone: 'UTC' }, 1] },
  },
  slots: { get: { verb: 'read', args: ['slt_1'] }, listByInstance: { verb: 'read', args: [['ins_1'], {}, {}] } },
  recovery: { getManyByInstance: { verb: 'read', args: [['ins_1']] } },
  backups: {
    get: { verb: 'read', args: ['bak_1'] }, getMany: { verb: 'read', args: [['bak_1']] }, latestByInstance: { verb: 'read', args: [['ins_1']] }, list: { verb: 'read', args: [{}, {}] },
    listByInstance: { verb: 'read', args: [['ins_1'], {}, {}] },
    backupNow: { verb: 'operate', args: [{ instanceId: 'ins_1', name: 'x' }] }, verify: { verb: 'operate', args: [{ backupId: 'bak_1', level: 'CONTENT' }] },
    delete: { verb: 'operate', args: [{ backupId: 'bak_1', force: true }] },
    createDownloadLink: { verb: 'operate', args: [{ backupId: 'bak_1', expiresInSeconds: 60, singleUse: false }] }, revokeDownloadLinks: { verb: 'operate', args: [{ backupId: 'bak_1' }] },
  },
  restores: {
    getPlan: { verb: 'read', args: ['rpl_1'] }, get: { verb: 'read', args: ['rst_1'] }, getMany: { verb: 'read', args: [['rst_1']] }, list: { verb: 'read', args: [{}, {}] },
    getPlans: { verb: 'read', args: [['rpl_1']] }, planDetails: { verb: 'read', args: [['rpl_1']] }, keyFailures: { verb: 'read', args: [['rst_1']] },
    createPlan: { verb: 'operate', args: [{ backupId: 'bak_1', instanceId: 'ins_1', safetyBackup: true, pauseWrites: true, disklessLoad: false, databaseMap: [], ttl: 'KEEP', acceptedLosses: [] }] },
    restoreBackup: { verb: 'operate', args: [{ planId: 'rpl_1', confirmation: 'x', acceptedWarnings: [] }] },
  },
  inspections: {
    start: { verb: 'operate', args: [{ backupId: 'bak_1', delimiter: ':', prefixDepth: 1 }] }, latestByBackup: { verb: 'operate', args: [['bak_1']] },
    keys: { verb: 'operate', args: [{ backupId: 'bak_1', jobId: 'job_1', takenAtMs: 0, listed: 0 }, {}] }, firstKeys: { verb: 'operate', args: [[], null] },
  },
  jobs: {
    get: { verb: 'read', args: ['job_1'] }, getMany: { verb: 'read', args: [['job_1']] }, runningByInstance: { verb: 'read', args: [['ins_1']] }, list: { verb: 'read', args: [{}, {}] },
    cancel: { verb: 'operate', args: [{ jobId: 'job_1' }] }, progress: { verb: 'read', args: [{ jobId: 'job_1' }] }, events: { verb: 'read', args: [{ filter: {} }] },
  },
  retention: { status: { verb: 'read', args: [] }, preview: { verb: 'read', args: [{}, {}] } },
  projects: { get: { verb: 'read', args: ['prj_1'] }, list: { verb: 'observe', args: [{}] }, create: { verb: 'govern', args: [{ name: '' }] } },
  apiKeys: {
    get: { verb: 'administer', args: ['key_1'] }, list: { verb: 'administer', args: [{}, {}] }, create: { verb: 'administer', args: [{ name: '', role: 'VIEWER', serviceWide: false }] },
    revoke: { verb: 'administer', args: [{ apiKeyId: 'key_1' }] },
  },
  audit: { get: { verb: 'administer', args: ['aud_1'] }, list: { verb: 'administer', args: [{}, {}] } },
  service: { viewer: { verb: 'read', args: [] }, service: { verb: 'read', args: [] } },
};

/** Another tenant, and a key of its. */
const anotherTenant = async ({ sdk, url }: TestService, role: Role): Promise<{ sdk: Sdk; principal: Principal }> => {
  const { id: projectId } = await sdk.projects.create({ name: `tenant ${randomUUID()}` });
  const { apiKey: { id: keyId, name }, token } = await sdk.apiKeys.create({ name: 'its key', role, projectId });
  return { sdk: createClient({ url, token }), principal: { credential: 'API_KEY', keyId, name, projectId, role, serviceWide: false, instanceIds: null, expiresAt: null } };
};

const filesBelow = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name)).sort();

describe('secrets and rights', () => {
  let service: TestService;
  let locked: RedisServer;
  let secure: RedisServer;
  let first: Instance;
  let second: Instance;
  let clientKey: string;

  beforeAll(async () => {
    const files = await tlsFiles();
    clientKey = readPem(files.clientKeyFile);
    [service, locked, secure] = await Promise.all([startService(), startRedis({ password: PASSWORD }), startRedis({ tls: files, tlsAuthClients: true, password: `${PASSWORD}-tls` })]);
    first = await register(service, 'locked', locked, { password: PASSWORD });
    second = await register(service, 'secure', secure, { password: `${PASSWORD}-tls`, tls: { ca: readPem(files.caFile), cert: readPem(files.clientCertFile), key: clientKey } });
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), locked?.stop(), secure?.stop()]);
  });

  const withDatabase = async <T>(use: (client: Client) => Promise<T>): Promise<T> => {
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  };

  /** All rows of all tables, Agenda's too, by table. */
  const dump = (): Promise<Record<string, string[]>> => withDatabase(async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
    );
    const all: Record<string, string[]> = {};
    for (const { name } of tables) all[name] = (await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t ORDER BY 1`)).rows.map(({ row }) => row);
    return all;
  });

  it('lie nowhere in the clear: not in the database, not in the data folder, not in the log', async () => {
    const backup = await backUp(service, first.id);
    await backUp(service, second.id);
    const plan = await service.sdk.restores.plan({ backupId: backup.id, instanceId: first.id });
    const { url } = await service.sdk.backups.link(backup);
    const secretOf = (key: string): string => key.slice(30, 73);
    const marks = [PASSWORD, clientKey.split('\n')[1] ?? '', 'PRIVATE KEY', secretOf(service.key)];
    const linkToken = url.split('/').at(-1) ?? '';
    for (const mark of marks) expect(mark.length).toBeGreaterThan(10);

    const tables = await dump();
    expect(Object.keys(tables)).toEqual(expect.arrayContaining(['public.instances', 'public.api_keys', 'public.jobs', 'public.job_events', 'public.restore_plans']));
    expect(tables['public.restore_plans']?.some((row) => row.includes(plan.id))).toBe(true);
    const everything = JSON.stringify(tables);
    for (const mark of [...marks, linkToken]) {
      for (const form of [mark, Buffer.from(mark).toString('hex'), Buffer.from(mark).toString('base64').slice(0, -4)]) expect(everything).not.toContain(form);
    }
    const files = await filesBelow(service.dataDir);
    expect(files.some((file) => file.endsWith('/manifest'))).toBe(true);
    for (const file of files) {
      const bytes = await readFile(file);
      for (const mark of marks) expect(bytes.includes(mark), file).toBe(false);
    }
    for (const mark of [...marks, linkToken, await readFile(join(service.dataDir, 'master.key'), 'utf8')]) expect(service.logs()).not.toContain(mark.trim());
  });

  it('lie in files that only their owner reads', async () => {
    expect((await stat(join(service.dataDir, 'master.key'))).mode & 0o777).toBe(0o600);
    for (const file of await filesBelow(service.storeRoot)) expect((await stat(file)).mode & 0o077, file).toBe(0);
  });

  it('open only in the row that they were sealed for', async () => {
    const { sdk } = service;
    const sealedOf = (id: string): Promise<Buffer> => withDatabase(async (client) => (await client.query<{ secrets: Buffer }>('SELECT secrets FROM instances WHERE id = $1', [id])).rows[0]?.secrets ?? Buffer.alloc(0));
    const put = (id: string, secrets: Buffer) => withDatabase((client) => client.query('UPDATE instances SET secrets = $2 WHERE id = $1', [id, secrets]));
    const [own, other] = [await sealedOf(first.id), await sealedOf(second.id)];
    expect(own.length).toBeGreaterThan(PASSWORD.length + 37);
    const edited = Buffer.from(own);
    edited[30] = (edited[30] ?? 0) ^ 1;
    try {
      for (const [sealed, code] of [[other, 'CORRUPT'], [edited, 'CORRUPT'], [own.subarray(0, 10), 'UNSUPPORTED_FORMAT'], [Buffer.concat([own.subarray(0, 1), Buffer.from('00000000'), own.subarray(9)]), 'KEY_UNAVAILABLE']] as const) {
        await put(first.id, sealed);
        const refused = await caught(sdk.instances.probe(first));
        expect(refused).toMatchObject({ kind: 'graphql', code });
        expect(refused.message).not.toContain('canary');
      }
      const { job } = await sdk.backups.create({ instanceId: first.id, name: 'cannot log in' });
      expect(await caught(sdk.jobs.wait(job))).toMatchObject({ kind: 'job_failed', code: 'KEY_UNAVAILABLE' });
    } finally {
      await put(first.id, own);
    }
    expect(await sdk.instances.probe(first)).toMatchObject({ id: first.id });
  });

  it('are not readable with another master key, and nothing is written then', async () => {
    const { config, databaseUrl } = service;
    const keyFile = config.masterKeyFile;
    const log = createLogger({ level: 'error', format: 'json', write: () => undefined });
    const startWith = async (env: Record<string, string>): Promise<unknown> => {
      const wrong = readConfig({ DATA_DIR: service.dataDir, DATABASE_URL: databaseUrl, PORT: '0', ...env });
      return startApp({ config: wrong, databaseUrl, log, keepFirstKey: () => Promise.reject(new Error('No key is made here')) }).then(async (app) => {
        await app.stop();
        return 'started';
      }, (error: unknown) => error);
    };
    const right = (await readFile(keyFile, 'utf8')).trim();
    await service.app.stop();
    const [rows, files] = [await dump(), await filesBelow(service.dataDir)];
    const unavailable = (message: RegExp) => expect.objectContaining({ code: 'KEY_UNAVAILABLE', message: expect.stringMatching(message) as string, hint: expect.any(String) as string }) as unknown;
    try {
      expect(await startWith({ MASTER_KEY: 'ab'.repeat(32) })).toEqual(unavailable(/under master key [0-9a-f]{8}/));
      await rename(keyFile, `${keyFile}.away`);
      expect(await startWith({})).toEqual(unavailable(/is missing/));
      expect(await startWith({ MASTER_KEY_FILE: join(service.dataDir, 'other', 'key') })).toEqual(unavailable(/is missing/));
      await writeFile(keyFile, `${'cd'.repeat(32)}\n`);
      expect(await startWith({})).toEqual(unavailable(/under master key/));
      await writeFile(keyFile, 'not a key');
      expect(await startWith({})).toEqual(unavailable(/does not hold a master key/));
      await rm(keyFile);
      await rename(`${keyFile}.away`, keyFile);
      expect(await dump()).toEqual(rows);
      expect(await filesBelow(service.dataDir)).toEqual(files);
      // The key itself may come from anywhere.
      expect(await startWith({ MASTER_KEY: right.toUpperCase(), MASTER_KEY_FILE: '/nowhere' })).toBe('started');
    } finally {
      await service.restart();
    }
    expect(await service.sdk.instances.probe(first)).toMatchObject({ id: first.id });
  });

  it('every service method asks who is calling before anything else', async () => {
    const services = service.app.services as unknown as Record<string, Record<string, (...args: unknown[]) => unknown>>;
    const names = (nouns: object): string[] => Object.entries(nouns).flatMap(([noun, methods]) => Object.keys(methods as object).map((method) => `${noun}.${method}`)).sort();
    expect(names(services)).toEqual(names(METHODS));

    const callAs = async (caller: Principal | undefined, noun: string, method: string, args: unknown[]): Promise<unknown> => {
      try {
        return await services[noun]?.[method]?.(caller, ...args);
      } catch (error) {
        return error;
      }
    };
    const { principal: stranger } = await anotherTenant(service, 'VIEWER');
    const callers: Principal[] = [
      stranger, { ...stranger, role: 'OPERATOR' }, { ...stranger, role: 'OPERATOR', instanceIds: ['ins_1'] }, { ...stranger, role: 'ADMIN' }, { ...stranger, serviceWide: true }, { ...stranger, role: 'ADMIN', serviceWide: true },
    ];
    for (const [noun, methods] of Object.entries(METHODS)) {
      for (const [method, { verb, args }] of Object.entries(methods as Record<string, { verb: Verb; args: unknown[] }>)) {
        const name = `${noun}.${method}`;
        // Nothing of the input is looked at before the caller is.
        const wrong = args.map(() => ({}));
        for (const input of [args, wrong]) expect(await callAs(undefined, noun, method, input), name).toMatchObject({ code: 'UNAUTHENTICATED' });
        for (const caller of callers) {
          if (!may(caller, verb)) expect(await callAs(caller, noun, method, wrong), name).toMatchObject({ code: 'FORBIDDEN' });
          const answer = await callAs(caller, noun, method, args);
          expect(answer instanceof Error && 'code' in answer && answer.code === 'FORBIDDEN', `${name} for ${JSON.stringify(caller)}`).toBe(!may(caller, verb));
          await (answer as { return?: () => Promise<unknown> } | null)?.return?.();
        }
      }
    }
  });

  it('what belongs to another project is not there', async () => {
    const { sdk: owner } = service;
    const { sdk } = await anotherTenant(service, 'ADMIN');
    const backup = await backUp(service, first.id, 'mine');
    const jobId = backup.job?.id ?? '';
    const plan = await owner.restores.plan({ backupId: backup.id, instanceId: first.id, safetyBackup: false });
    const { restore } = await owner.restores.run({ planId: plan.id, confirmation: first.name, acceptedWarnings: plan.warnings.map(({ name }) => name) });
    await owner.restores.wait(restore);

    // One file may be fetched in many parts: that is one download.
    const { url } = await owner.backups.link(backup);
    for (const range of ['bytes=0-9', 'bytes=10-']) expect((await (await fetch(url, { headers: { range } })).arrayBuffer()).byteLength).toBeGreaterThan(0);
    const noted = await owner.audit.list({ instanceId: first.id, actions: ['RESTORE_PLANNED', 'RESTORE_STARTED', 'DOWNLOAD_LINK_CREATED', 'BACKUP_DOWNLOADED'], order: 'OLDEST_FIRST' }).toArray({ limit: 100 });
    expect(noted.slice(-4).map(({ action, objectId }) => [action, objectId])).toEqual([
      ['RESTORE_PLANNED', plan.id], ['RESTORE_STARTED', restore.id], ['DOWNLOAD_LINK_CREATED', backup.id], ['BACKUP_DOWNLOADED', backup.id],
    ]);

    expect(await sdk.instances.get(first)).toBeNull();
    expect(await sdk.policies.get(first.id)).toBeNull();
    expect(await sdk.backups.get(backup)).toBeNull();
    expect(await sdk.jobs.get(jobId)).toBeNull();
    expect(await sdk.restores.get(restore)).toBeNull();
    expect(await sdk.restores.getPlan(plan)).toBeNull();
    for (const list of [sdk.instances.list(), sdk.backups.list(), sdk.jobs.list(), sdk.restores.list(), sdk.backups.list({ instanceId: first.id }), sdk.jobs.list({ instanceIds: [first.id] })]) {
      expect(await list.toArray({ limit: 10 })).toEqual([]);
    }
    for (const work of [
      () => sdk.instances.update({ instanceId: first.id, name: 'taken' }), () => sdk.instances.remove({ instanceId: first.id, deleteBackups: true }), () => sdk.instances.probe(first),
      () => sdk.policies.set({ instanceId: first.id, enabled: false }), () => sdk.backups.create({ instanceId: first.id, name: 'x' }), () => sdk.backups.delete({ backupId: backup.id, force: true }),
      () => sdk.backups.link(backup), () => sdk.restores.plan({ backupId: backup.id, instanceId: first.id }), () => sdk.restores.run({ planId: plan.id, confirmation: first.name }), () => sdk.jobs.cancel(jobId),
    ]) expect(await refusal(work()), work.toString()).toMatchObject({ code: 'NOT_FOUND' });
    expect(await caught(sdk.jobs.watch(jobId).next())).toMatchObject({ code: 'NOT_FOUND' });
    // The same name and the same server are free for another tenant; a backup into a server of its own cannot come from this one.
    const theirs = await sdk.instances.register({ name: first.name, host: locked.host, port: locked.port, password: PASSWORD });
    expect(await refusal(sdk.restores.plan({ backupId: backup.id, instanceId: theirs.id }))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
    expect(await owner.instances.get(theirs)).toBeNull();
    expect(await owner.backups.get(backup)).toMatchObject({ state: 'AVAILABLE' });
  });

  it('a viewer sees, and changes nothing', async () => {
    const { sdk } = await anotherTenant(service, 'VIEWER');
    expect(await sdk.instances.list().toArray({ limit: 1 })).toEqual([]);
    expect(await caught(sdk.instances.register({ name: 'x', host: locked.host, port: locked.port, password: PASSWORD }))).toMatchObject({ kind: 'graphql', code: 'FORBIDDEN' });
  });
});
