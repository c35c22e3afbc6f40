import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Client as Postgres } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient, type AuditEvent } from '@snapback/sdk';
import { type AuditAction } from '../../../server/domain/audit.js';
import { buildServedSchema } from '../../../server/graphql/schema.js';
import { createAuditSigner } from '../../../server/security/audit-signer.js';
import { masterKeysFromText } from '../../../server/security/master-key.js';
import { verifyAudit } from '../../../server/services/audit-verify.js';
import { type Database, type Repositories } from '../../../server/services/ports.js';
import { dumpOf } from '../../kit/canary.js';
import { readBlocks } from '../../kit/docs.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { type TestService } from '../../kit/service.js';
import { caught, refusal } from '../scene.js';
import { fieldsOf } from './operations.js';
import { giveKey, makeWorld } from './world.js';

/** What is noted of each mutation of the schema; null: it changes nothing but what is known of a server. A mutation without an entry fails the test. */
const NOTED: Readonly<Record<string, AuditAction | null>> = {
  createProject: 'PROJECT_CREATED', createApiKey: 'API_KEY_CREATED', revokeApiKey: 'API_KEY_REVOKED',
  registerInstance: 'INSTANCE_REGISTERED', updateInstance: 'INSTANCE_UPDATED', removeInstance: 'INSTANCE_REMOVED', probeInstance: null, setBackupPolicy: 'POLICY_SET',
  backupNow: 'BACKUP_STARTED', verifyBackup: 'BACKUP_VERIFICATION_STARTED', inspectBackup: 'BACKUP_INSPECTION_STARTED', deleteBackup: 'BACKUP_DELETION_STARTED',
  createDownloadLink: 'DOWNLOAD_LINK_CREATED', revokeDownloadLinks: 'DOWNLOAD_LINKS_REVOKED', restoreBackup: 'RESTORE_STARTED', cancelJob: 'JOB_CANCELLED',
  // Needs an archive: in test/e2e/secrets.test.ts.
  createRestorePlan: 'RESTORE_PLANNED',
};

/** What nobody else can hold: the row of an idempotency key that this transaction has made. */
const OWN_ROWS = new Set(['idempotency.keep']);

/** Writes and locks of other tables that came after an event in its transaction, from now on. */
const watchOrder = (db: Database): { late: string[]; events: number; stop(): void } => {
  const late: string[] = [];
  const watch = { late, events: 0, stop: (): void => void (db.transaction = real) };
  const real = db.transaction;
  const watched = (tx: Repositories): Repositories => {
    let noted = false;
    const wrap = <T extends object>(target: T, path: string): T => new Proxy(target, {
      get(held, name: string) {
        const value: unknown = Reflect.get(held, name);
        if (typeof value === 'object' && value !== null) return wrap(value, `${path}${name}.`);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          const call = `${path}${name}`;
          if (noted && !OWN_ROWS.has(call) && !/^(get|list|find|count|latest|running|now$)/.test(name)) late.push(call);
          if (call === 'audit.append') {
            noted = true;
            watch.events += 1;
          }
          return (value as (...given: unknown[]) => unknown).apply(held, args);
        };
      },
    });
    return wrap(tx, '');
  };
  db.transaction = (work) => real.call(db, (tx: Repositories) => work(watched(tx))) as never;
  return watch;
};

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** A command as an operator runs it. */
const inShell = (script: string, settings: Readonly<Record<string, string>> = {}): Promise<{ output: string; exit: number | null }> =>
  new Promise((resolve) => {
    const child = spawn('sh', ['-euc', script], { cwd: ROOT, env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...settings }, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.once('close', (exit) => resolve({ output, exit }));
  });

/** Of a service that nobody has used yet. */
export const whoDidWhat = (started: () => TestService, MASTER_KEY: string): void => void describe('who did what', () => {
  let service: TestService;
  let server: RedisServer;
  let own: string;
  let postgres: Postgres;
  beforeAll(async () => {
    // Built before by who runs all tests.
    await inShell('node start.mjs --prepare');
    service = started();
    server = await startRedis();
    own = (await service.sdk.viewer()).project.id;
    postgres = new Postgres({ connectionString: service.databaseUrl });
    await postgres.connect();
  }, 180_000);
  afterAll(async () => {
    await postgres?.end();
    await server?.stop();
  });

  const events = (projectId = own): Promise<AuditEvent[]> => service.sdk.audit.list({ projectId, order: 'OLDEST_FIRST' }).toArray({ limit: 1_000 });
  /** What `work` adds, in short. */
  const added = async (work: () => Promise<unknown>): Promise<[action: string, outcome: string, objectId: string | null, instanceId: string | null][]> => {
    const before = (await events()).length;
    await work();
    return (await events()).slice(before).map(({ action, outcome, objectId, instanceId }) => [action, outcome, objectId, instanceId]);
  };

  it('is noted of every change, once, with its author', async () => {
    const { sdk } = service;
    const { keyId } = await sdk.viewer();
    const { instanceId, backupId, jobId, planId, policyId } = await makeWorld(service, own);
    const gone = await makeWorld(service, own);
    const made: string[] = [];
    const keep = <T extends { id: string }>(value: T): T => {
      made.push(value.id);
      return value;
    };
    const order = watchOrder(service.app.db);
    const seen = await added(async () => {
      keep((await sdk.apiKeys.create({ name: 'a', role: 'VIEWER' })).apiKey);
      await sdk.apiKeys.revoke(made[0] ?? '');
      await sdk.apiKeys.revoke(made[0] ?? '');
      keep(await sdk.instances.register({ name: 'real', host: server.host, port: server.port }));
      await sdk.instances.update({ instanceId: made[1] ?? '', name: 'renamed' });
      expect(await refusal(sdk.instances.update({ instanceId, name: 'renamed' }))).toMatchObject({ code: 'NAME_TAKEN' });
      await sdk.policies.set({ instanceId, enabled: false, startTime: '03:00' });
      const idempotencyKey = randomUUID();
      await sdk.backups.create({ instanceId: made[1] ?? '', name: 'b' }, { idempotencyKey }).then(({ backup }) => keep(backup));
      await sdk.backups.create({ instanceId: made[1] ?? '', name: 'b' }, { idempotencyKey });
      await sdk.backups.verify({ backupId, level: 'STRUCTURE' });
      await sdk.backups.inspect({ backupId, filter: { patterns: ['canary-pattern*'] } });
      await sdk.backups.link(backupId);
      await sdk.jobs.cancel(jobId);
      await sdk.jobs.cancel(jobId);
      await postgres.query('UPDATE restore_plans SET key_id = $1 WHERE id = $2', [keyId, planId]);
      const { name } = (await sdk.instances.get(instanceId))!;
      keep((await sdk.restores.run({ planId, confirmation: name })).restore);
      expect(await sdk.backups.revokeLinks(backupId)).toBe(1);
      await sdk.backups.delete({ backupId: gone.backupId, force: true });
      await sdk.instances.remove({ instanceId: gone.instanceId });
    });
    order.stop();
    expect([order.late, order.events]).toEqual([[], seen.length]);
    const [key, instance, backup, restore] = made as [string, string, string, string];
    expect(seen).toEqual([
      ['API_KEY_CREATED', 'DONE', key, null], ['API_KEY_REVOKED', 'DONE', key, null], ['INSTANCE_REGISTERED', 'DONE', instance, instance], ['INSTANCE_UPDATED', 'DONE', instance, instance],
      ['POLICY_SET', 'DONE', policyId, instanceId], ['BACKUP_STARTED', 'DONE', backup, instance], ['BACKUP_VERIFICATION_STARTED', 'DONE', backupId, instanceId],
      ['BACKUP_INSPECTION_STARTED', 'DONE', backupId, instanceId], ['DOWNLOAD_LINK_CREATED', 'DONE', backupId, instanceId], ['JOB_CANCELLED', 'DONE', jobId, instanceId],
      ['RESTORE_STARTED', 'DONE', restore, instanceId], ['DOWNLOAD_LINKS_REVOKED', 'DONE', backupId, instanceId], ['BACKUP_DELETION_STARTED', 'DONE', gone.backupId, gone.instanceId],
      ['INSTANCE_REMOVED', 'DONE', gone.instanceId, gone.instanceId],
    ]);
    const all = await events();
    for (const event of all) expect(event).toMatchObject({ credential: 'API_KEY', actorId: keyId, actorName: 'first admin key', address: '127.0.0.1', code: null });
    expect(all.find(({ action }) => action === 'POLICY_SET')?.details).toEqual([{ name: 'fields', value: 'enabled, startTime' }]);
    expect(JSON.stringify(all)).not.toContain('canary');
    const { id: other } = await sdk.projects.create({ name: 'other' });
    expect((await events(other)).map(({ action, objectId, sequence }) => [action, objectId, sequence])).toEqual([['PROJECT_CREATED', other, '1']]);
    expect(await sdk.audit.list({ instanceId, actions: ['POLICY_SET', 'RESTORE_STARTED'], createdFrom: new Date(Date.now() - 60_000).toISOString() }).toArray({ limit: 10 })).toHaveLength(2);
    expect(await sdk.audit.list({ createdBefore: new Date(0).toISOString() }).first()).toBeNull();
    const mutations = fieldsOf(await buildServedSchema(), 'mutation').map(({ name }) => name);
    expect(Object.keys(NOTED).sort()).toEqual(mutations.sort());
    const noted = new Set([...seen.map(([action]) => action), 'PROJECT_CREATED', 'RESTORE_PLANNED']);
    expect(Object.values(NOTED).filter((action) => action !== null && !noted.has(action))).toEqual([]);
    // Another project's administrator has a chain of its own.
    const stranger = createClient({ url: service.url, token: (await giveKey(service, other, 'ADMIN')).token });
    expect((await stranger.audit.list().toArray({ limit: 10 })).map(({ action }) => action)).toEqual(['PROJECT_CREATED']);
    expect(await caught(stranger.audit.list({ projectId: own }).first())).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is written in the transaction of the change: where it cannot be, nothing is changed', async () => {
    const { sdk } = service;
    const { instanceId, backupId, jobId, keyId } = await makeWorld(service, own);
    const gone = await makeWorld(service, own);
    // The same server a second time is no matter of another tenant's.
    const other = (await sdk.projects.list().toArray({ limit: 10 })).find(({ name }) => name === 'other')?.id ?? '';
    const another = createClient({ url: service.url, token: (await giveKey(service, other, 'OPERATOR')).token });
    await Promise.all([sdk.viewer(), another.viewer()]);
    // When a key was used last is written beside the request.
    const rows = async (): Promise<string> => (await dumpOf(service.databaseUrl)).replace(/^public\.api_keys .*$/gm, (row) => row.replace(/"[^"]*"\)$/, '').replace(/,\)$/, ''));
    await postgres.query(`CREATE FUNCTION refuse_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room in the audit'; END $$; CREATE TRIGGER refuse BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION refuse_audit()`);
    try {
      const before = await rows();
      for (const change of [
        () => sdk.projects.create({ name: 'unnoted' }), () => sdk.apiKeys.create({ name: 'unnoted', role: 'VIEWER' }), () => sdk.apiKeys.revoke(keyId),
        () => another.instances.register({ name: 'unnoted', host: server.host, port: server.port }), () => sdk.instances.update({ instanceId, name: 'unnoted' }), () => sdk.instances.remove({ instanceId: gone.instanceId, deleteBackups: true }),
        () => sdk.policies.set({ instanceId, enabled: false, startTime: '04:44' }), () => sdk.backups.create({ instanceId, name: 'unnoted' }), () => sdk.backups.verify({ backupId }), () => sdk.backups.inspect({ backupId }),
        () => sdk.backups.delete({ backupId, force: true }), () => sdk.backups.link(backupId), () => sdk.backups.revokeLinks(backupId), () => sdk.jobs.cancel(jobId),
      ]) expect(await caught(change()), String(change)).toMatchObject({ code: 'INTERNAL' });
      expect(await rows()).toBe(before);
    } finally {
      await postgres.query('DROP TRIGGER refuse ON audit_events; DROP FUNCTION refuse_audit');
    }
  });

  it('is noted of what was refused, once in a while, and of nothing that belongs to nobody', async () => {
    const { sdk, url } = service;
    const { backupId, instanceId } = await makeWorld(service, own);
    const [viewer, operator] = [await sdk.apiKeys.create({ name: 'viewer', role: 'VIEWER' }), await sdk.apiKeys.create({ name: 'operator', role: 'OPERATOR' })];
    const asViewer = createClient({ url, token: viewer.token });
    const link = await createClient({ url, token: operator.token }).backups.link(backupId);
    await sdk.apiKeys.revoke(operator.apiKey);
    const seen = await added(async () => {
      for (let times = 0; times < 3; times += 1) expect(await caught(asViewer.instances.remove(instanceId))).toMatchObject({ code: 'FORBIDDEN' });
      expect(await caught(asViewer.audit.list().first())).toMatchObject({ code: 'FORBIDDEN' });
      for (let times = 0; times < 3; times += 1) expect(await caught(createClient({ url, token: operator.token }).viewer())).toMatchObject({ code: 'UNAUTHENTICATED' });
      for (let times = 0; times < 2; times += 1) expect((await fetch(link.url)).status).toBe(404);
      expect((await fetch(link.url.slice(0, -1))).status).toBe(404);
      expect(await caught(createClient({ url, token: 'sb_nobody' }).viewer())).toMatchObject({ code: 'UNAUTHENTICATED' });
      expect((await fetch(`${url}/graphql`, { method: 'POST' })).status).toBe(401);
    });
    expect(seen).toEqual([
      ['ACCESS', 'REFUSED', null, null], ['ACCESS', 'REFUSED', null, null], ['LOGIN', 'REFUSED', operator.apiKey.id, null], ['BACKUP_DOWNLOADED', 'REFUSED', backupId, null],
    ]);
    const [removal, list, login, download] = (await events()).slice(-4);
    expect(removal).toMatchObject({ code: 'FORBIDDEN', actorId: viewer.apiKey.id, actorName: 'viewer', details: [{ name: 'operation', value: 'instances.remove' }] });
    expect(list).toMatchObject({ details: [{ name: 'operation', value: 'audit.list' }] });
    expect(login).toMatchObject({ code: 'UNAUTHENTICATED', credential: null, actorId: operator.apiKey.id, details: [{ name: 'because', value: 'it was revoked' }] });
    expect(download).toMatchObject({ code: 'NOT_FOUND', credential: null, actorId: operator.apiKey.id, address: '127.0.0.1' });
  });

  it('is a chain that nobody can change unseen', async () => {
    const { sdk, app } = service;
    const signer = createAuditSigner(masterKeysFromText(MASTER_KEY));
    await Promise.all(Array.from({ length: 20 }, (_, at) => sdk.apiKeys.create({ name: `k${at}`, role: 'VIEWER' })));
    const chain = await events();
    expect(chain.map(({ sequence }) => sequence).map(Number).sort((a, b) => a - b)).toEqual(chain.map((_, at) => at + 1));
    await app.upkeep.pass();
    await sdk.apiKeys.create({ name: 'after the pass', role: 'VIEWER' });
    const length = chain.length + 1;
    const faults = async (): Promise<string[]> => (await verifyAudit(app.db, signer)).flatMap((report) => report.faults);
    const reports = await verifyAudit(app.db, signer);
    expect(reports).toHaveLength(2);
    expect(reports.find(({ projectId }) => projectId === own)).toEqual({ projectId: own, events: length, checkpoints: 1, unchecked: 0, faults: [] });
    const stranger = createAuditSigner(masterKeysFromText('ab'.repeat(32)));
    expect((await verifyAudit(app.db, stranger)).map(({ checkpoints, unchecked }) => [checkpoints, unchecked])).toEqual([[0, 1], [0, 1]]);

    for (const sql of ['UPDATE audit_events SET actor_name = $1', 'DELETE FROM audit_events WHERE $1 = $1', 'DELETE FROM audit_checkpoints WHERE $1 = $1']) await expect(postgres.query(sql, ['x'])).rejects.toThrow(/neither changed nor removed/);

    /** As who owns the tables could, past the trigger; put back afterwards. */
    const tampered = async (...statements: string[]): Promise<string[]> => tamperedThen(faults, ...statements);
    const tamperedThen = async <T>(look: () => Promise<T>, ...statements: string[]): Promise<T> => {
      await postgres.query('BEGIN');
      for (const table of ['audit_events', 'audit_checkpoints']) await postgres.query(`CREATE TABLE kept_${table} AS SELECT * FROM ${table}; ALTER TABLE ${table} DISABLE TRIGGER ${table}_stay`);
      await postgres.query('CREATE TABLE kept_audit_ends AS SELECT * FROM audit_ends');
      for (const statement of statements) await postgres.query(statement.replaceAll(':own', `'${own}'`));
      await postgres.query('COMMIT');
      const found = await look();
      await postgres.query('BEGIN');
      for (const table of ['audit_events', 'audit_checkpoints', 'audit_ends']) await postgres.query(`DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM kept_${table}; DROP TABLE kept_${table}`);
      for (const table of ['audit_events', 'audit_checkpoints']) await postgres.query(`ALTER TABLE ${table} ENABLE TRIGGER ${table}_stay`);
      await postgres.query('COMMIT');
      return found;
    };
    const last = `(SELECT sequence FROM audit_ends WHERE project_id = :own)`;
    expect(await tampered(`UPDATE audit_events SET actor_name = 'somebody else' WHERE project_id = :own AND sequence = 3`)).toEqual([expect.stringMatching(/^Event 3 \(aud_\w+\) is not what was written/)]);
    expect(await tampered(`UPDATE audit_events SET details = '{}' WHERE project_id = :own AND sequence = 1`)).toHaveLength(1);
    expect(await tampered('DELETE FROM audit_events WHERE project_id = :own AND sequence = 2')).toEqual([expect.stringMatching(/^Between 1 and 3 events are missing/), expect.stringMatching(/^Event 3 /)]);
    // With the end put right to what is left: the signed end is not there any more.
    const cut = await tampered(`DELETE FROM audit_events WHERE project_id = :own AND sequence > 3`, `UPDATE audit_ends SET sequence = 3, hash = (SELECT hash FROM audit_events WHERE project_id = :own AND sequence = 3) WHERE project_id = :own`);
    expect(cut).toEqual([expect.stringMatching(/was signed on .* and is not there: the chain was cut off/)]);
    expect(await tampered(`DELETE FROM audit_events WHERE project_id = :own AND sequence = ${last}`)).toEqual([expect.stringMatching(/the chain was cut off or written anew/)]);
    expect(await tampered(`UPDATE audit_checkpoints SET signature = decode(repeat('00', 32), 'hex') WHERE project_id = :own`)).toEqual([expect.stringMatching(/signature .* is not ours/)]);
    expect(await tampered(`UPDATE audit_checkpoints SET signature = decode('00000000', 'hex') WHERE project_id = :own`)).toHaveLength(1);
    expect(await faults()).toEqual([]);

    // As an operator looks at it.
    const { code = '' } = readBlocks('server/README.md').find(({ run }) => run === 'audit-verify') ?? {};
    expect(code).toContain('npm run --silent audit:verify');
    const settings = { DATA_DIR: service.dataDir, DATABASE_URL: service.databaseUrl, MASTER_KEY };
    const { output, exit } = await inShell(code, settings);
    expect([exit, output]).toEqual([0, expect.stringContaining(`${own}: ${length} events, 1 signed ends: as they were written`)]);
    const told = await tamperedThen(() => inShell('node dist/server/audit-verify.js', settings), `UPDATE audit_events SET outcome = 'DONE', address = NULL WHERE project_id = :own AND outcome = 'REFUSED'`);
    expect([told.exit, told.output]).toEqual([1, expect.stringMatching(/NOT as they were written\n {2}- Event \d+ .* is not what was written/)]);
  });
});
