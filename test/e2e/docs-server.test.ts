import { mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, readConfig, type Config } from '../../server/config/config.js';
import { ERROR_CODES } from '../../server/domain/errors.js';
import { LOSS_NAMES } from '../../server/engine/rdb/losses.js';
import { digest } from '../kit/digest.js';
import { codeIn, readBlocks, readTable, redisCommands, startReaderShell } from '../kit/docs.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';

const DOC = 'server/README.md';
const block = (name: string) => {
  const found = readBlocks(DOC).find(({ run }) => run === name);
  if (found === undefined) throw new Error(`${DOC} has no block ${name}.`);
  return found;
};
const first = (cells: readonly string[]): string => codeIn(cells[0] ?? '')[0] ?? '';

it('has no blocks that nobody runs', () => {
  // `store-adopt` is run by store-adopt.test.ts, `s3-policy` by s3.test.ts, `archive` by archive-command.test.ts, `notice` and `webhook` by webhook.test.ts, `audit-verify` by access/access.test.ts.
  expect(readBlocks(DOC).map(({ run }) => run)).toEqual(['s3-policy', 'archive', 'store-adopt', 'audit-verify', 'backup-user', 'restore-user', 'restore-keys-user', 'skip-user', 'probes', 'notice', 'webhook']);
});

describe('the table of configuration', () => {
  const rows = readTable(DOC, 'Configuration').map(([name = '', standard = '', values = '']) => ({
    name: codeIn(name)[0] ?? '', standard: standard === 'unset' ? undefined : codeIn(standard)[0], values,
  }));
  /** A value that is not the default, for each variable. */
  const OTHER: Readonly<Record<string, string>> = {
    OIDC_ISSUER: 'https://id.example.com', OIDC_AUDIENCE: 'snapback', OIDC_ROLE_CLAIM: 'realm_access.roles', OIDC_ROLES: 'dba=ADMIN', OIDC_PROJECT: 'shop', OIDC_PROJECT_CLAIM: 'tenant',
    HOST: '::1', PORT: '8080', PUBLIC_URL: 'https://snapback.example.com', DATA_DIR: '/elsewhere', DATABASE_URL: 'postgresql://db/snapback',
    MONGODB_URL: 'mongodb://db/snapback', STORE_URL: 'file:///archives', MASTER_KEY: 'ab'.repeat(32), MASTER_KEY_FILE: '/run/secrets/master',
    DEFAULT_TIME_ZONE: 'Asia/Shanghai', CONCURRENT_JOBS: '8', DISABLED_ENGINES: 'redis 4.0', REPLICATION_ADVERTISE_HOST: 'snapback.internal',
    REPLICATION_PORTS: '7000-7009', REPLICATION_PEER_CIDRS: '10.0.0.0/8', REPLICATION_LINK_SECONDS: '5', REPLICATION_TLS_CERT: '/tls/cert.pem', REPLICATION_TLS_KEY: '/tls/key.pem', REPLICATION_TLS_CA: '/tls/ca.pem',
    CONNECT_ALLOW: '127.0.0.1', CONNECT_DENY: '192.0.2.0/24, 2001:db8::/32',
    ALLOWED_ORIGINS: 'https://dash.example.com', INTROSPECTION: 'false', DOCUMENTS: 'trusted', TRUSTED_DOCUMENTS: '/etc/snapback/documents.json', RATE_LIMIT_POINTS: '5000', SAMPLE_REDIS: 'false',
    REDIS_SERVER_BIN: '/opt/redis-server', LOG_LEVEL: 'debug', LOG_FORMAT: 'json', LEASE_SECONDS: '20', LEASE_RENEW_SECONDS: '4', LEASE_COLLECT_SECONDS: '2.5', ROLE: 'worker',
    CONCURRENT_JOBS_TOTAL: '3', CATCH_UP_MINUTES: '60', NET_SECONDS: '5', DRAIN_SECONDS: '5',
    UPKEEP_SECONDS: '60', UNSEALED_SECONDS: '3600', MAX_DELETIONS: '10',
    MAX_BACKUP_GIB: '2', MAX_BACKUP_MINUTES: '30', SOURCE_IDLE_SECONDS: '30', SCAN_KEYS_PER_SECOND: '500', SOURCE_SYNCS: '100', SOURCE_FAILED_SYNCS: '10', SOURCE_SYNC_MINUTES: '60',
    EVENTS_REDIS_URL: 'redis://user:password@redis.internal:6379', MAX_SOCKETS: '50', MAX_SOCKETS_OF_KEY: '10',
    WEBHOOK_URL: 'https://example.com/hook', WEBHOOK_SECRET: 'sixteen-letters!',
    STORE_TIMEOUT_SECONDS: '5', STORE_WRITE_MIB_PER_SECOND: '20', STORE_READ_MIB_PER_SECOND: '50', COMPRESSION: 'brotli',
    S3_ACCESS_KEY_ID: 'AKIA1', S3_SECRET_ACCESS_KEY: 'secret', S3_SESSION_TOKEN: 'token',
  };
  /** What is only taken together with another one. */
  const WITH: Readonly<Record<string, readonly string[]>> = {
    OIDC_ISSUER: ['OIDC_AUDIENCE'], OIDC_AUDIENCE: ['OIDC_ISSUER'], OIDC_ROLE_CLAIM: ['OIDC_ISSUER', 'OIDC_AUDIENCE'], OIDC_ROLES: ['OIDC_ISSUER', 'OIDC_AUDIENCE'], OIDC_PROJECT: ['OIDC_ISSUER', 'OIDC_AUDIENCE'], OIDC_PROJECT_CLAIM: ['OIDC_ISSUER', 'OIDC_AUDIENCE'],
    WEBHOOK_URL: ['WEBHOOK_SECRET'], WEBHOOK_SECRET: ['WEBHOOK_URL'], ROLE: ['DATABASE_URL'],
    REPLICATION_TLS_CERT: ['REPLICATION_TLS_KEY'], REPLICATION_TLS_KEY: ['REPLICATION_TLS_CERT'], REPLICATION_TLS_CA: ['REPLICATION_TLS_CERT', 'REPLICATION_TLS_KEY'],
    S3_ACCESS_KEY_ID: ['S3_SECRET_ACCESS_KEY'], S3_SECRET_ACCESS_KEY: ['S3_ACCESS_KEY_ID'], S3_SESSION_TOKEN: ['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'],
  };
  /** What has to be so for a variable to be of any use. */
  const under = (name: string): Record<string, string> => (name.startsWith('S3_') ? { STORE_URL: 's3://bucket' } : {});
  const settingOf = (name: string, value: string): Record<string, string> =>
    ({ ...under(name), ...Object.fromEntries((WITH[name] ?? []).map((also) => [also, OTHER[also] ?? ''])), [name]: value });
  const shown = (config: Config): string => JSON.stringify(config, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  const leaves = (value: unknown, path = ''): [string, unknown][] =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && !('from' in value)
      ? Object.entries(value).flatMap(([key, inner]) => leaves(inner, `${path}.${key}`)) : [[path, value]];
  const standards = readConfig({});

  it('has exactly the variables that are read', () => {
    const asked = new Set<string>();
    readConfig(new Proxy({}, { get: (_target, name) => void asked.add(String(name)) }));
    expect(rows.map(({ name }) => name).sort()).toEqual([...asked].sort());
    expect(Object.keys(OTHER).sort()).toEqual([...asked].sort());
  });

  it.each(rows)('says the default of $name', ({ name, standard }) => {
    const other = OTHER[name] ?? '';
    expect(shown(readConfig(settingOf(name, other)))).not.toBe(shown(standards));
    if (standard === undefined) {
      // Where nothing is the default, what the variable changes is nothing before.
      const changed = readConfig({ SAMPLE_REDIS: 'true', ...settingOf(name, other) });
      const standing = new Map(leaves(readConfig(under(name))));
      // What is nothing as a whole has no parts.
      const before = (path: string): unknown => (standing.has(path) ? standing.get(path) : standing.get(path.slice(0, path.lastIndexOf('.'))));
      const differs = leaves(changed).filter(([path, value]) => JSON.stringify(String(value)) !== JSON.stringify(String(before(path))));
      expect(differs.length).toBeGreaterThan(0);
      expect(differs.map(([path]) => before(path))).toEqual(differs.map(() => expect.toSatisfy((was: unknown) => was === null || (Array.isArray(was) && was.length === 0)) as unknown));
      return;
    }
    const path = standard.replace('$DATA_DIR', resolve('data'));
    expect(shown(readConfig({ [name]: name === 'STORE_URL' ? `file://${path}` : path }))).toBe(shown(standards));
  });

  it.each(rows)('says what $name takes', ({ name, values }) => {
    let message = '';
    try {
      readConfig({ [name]: 'no\u0000value' });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      message = error.mistakes.join(' ');
    }
    const range = /from (-?[\d.]+) to (\d+)/.exec(message);
    const choice = /one of ([\w, ]+),/.exec(message);
    if (range) expect(values).toBe(`${String(range[1])} to ${String(range[2])}`);
    else if (choice) expect(values).toBe(choice[1]);
    else if (message.includes('true or false')) expect(values).toBe('true, false');
    else expect(values).not.toBe('');
  });
});

describe('the lists of names', () => {
  const source = (path: string): string => readFileSync(fileURLToPath(new URL(`../../server/${path}`, import.meta.url)), 'utf8');
  const findings = source('engine/target/findings.ts') + source('engine/target/pipeline/findings.ts');
  const matches = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map((found) => found.slice(1).join(' '));

  it('of errors is complete and in order', () => {
    expect(readTable(DOC, 'Error codes').map(first)).toEqual([...ERROR_CODES]);
  });
  it('of blockers is complete', () => {
    const known = [...matches(findings, /blocker\(\s*'([A-Z_]+)'/g), ...matches(source('engine/target/check.ts') + source('services/restore-plan.ts'), /name: '([A-Z_]+)', code/g)];
    expect(known.length).toBeGreaterThan(10);
    expect(readTable(DOC, 'Blockers').map(first).sort()).toEqual([...new Set(known)].sort());
  });
  it('of warnings is complete and says which must be accepted', () => {
    const known = [...matches(findings, /warning\('([A-Z_]+)', (true|false)/g), ...matches(source('services/restore-plan.ts'), /name: '([A-Z_]+)', mustAccept: (true|false)/g)];
    expect(known.length).toBeGreaterThan(8);
    expect(readTable(DOC, 'Warnings').map((row) => `${first(row)} ${String(row[1] === 'yes')}`).sort()).toEqual([...new Set(known)].sort());
  });
  it('of losses is complete', () => {
    expect(readTable(DOC, 'Losses').map(first)).toEqual([...LOSS_NAMES]);
  });
  it('of what a job says of a delay is complete', () => {
    const known = matches(source('engine/source/sync-delay/skip.ts') + source('jobs/upkeep/settle-sync-delays.ts'), /'(SYNC_DELAY_[A-Z_]+)'/g);
    expect(readTable(DOC, 'What the job says of it').map(first).sort()).toEqual([...new Set(known)].sort());
  });
  it('of folders of the code is complete', () => {
    const folders = readdirSync(fileURLToPath(new URL('../../server', import.meta.url)), { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name);
    const named = readTable(DOC, 'The code').flatMap((row) => codeIn(row[0] ?? '')).filter((name) => /^\w+\/$/.test(name)).map((name) => name.slice(0, -1));
    expect(named.sort()).toEqual(folders.sort());
  });
});

describe('a running service', () => {
  let service: TestService;
  let source: RedisServer;
  let target: RedisServer;
  beforeAll(async () => {
    [service, source, target] = await Promise.all([startService(), startRedis({ password: 'owner' }), startRedis({ password: 'owner' })]);
    await seedAllTypes(source, { keysPerType: 3 });
    await target.cli('SET', 'old', 'data');
    for (const line of redisCommands(block('backup-user').code)) expect(await source.cli(...line)).toBe('OK');
    for (const line of redisCommands(block('restore-user').code)) expect(await target.cli(...line)).toBe('OK');
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop(), target?.stop()]);
  });

  it('answers its probes, with the metrics that the table has', async () => {
    const folder = makeTempDir('probes');
    const shell = startReaderShell(folder, { SNAPBACK_URL: service.url });
    try {
      const said = await shell.run(block('probes'));
      expect(said).toContain('"status":"up"');
      expect(said).toContain('"status":"ready"');
      const metrics = [...said.matchAll(/^# TYPE (snapback_\w+) /gm)].map(([, name = '']) => name);
      expect(readTable(DOC, 'What to watch').map(first).sort()).toEqual(metrics.sort());
    } finally {
      await shell.stop();
      await removeTempDir(folder);
    }
  });

  it('names the entries of its data folder', () => {
    const named = readTable(DOC, 'The data folder').map((row) => first(row).replace('/', ''));
    mkdirSync(service.dataDir, { recursive: true });
    const found = readdirSync(service.dataDir);
    expect(found).toEqual(expect.arrayContaining(['master.key', 'store', 'spill']));
    expect(named).toEqual(expect.arrayContaining(found));
  });

  it('backs up and restores with users of the least rights', async () => {
    const { sdk } = service;
    const from = await sdk.instances.register({ name: 'from', host: source.host, port: source.port, username: 'snapback-backup', password: 'change-this-1' });
    const to = await sdk.instances.register({ name: 'to', host: target.host, port: target.port, username: 'snapback-restore', password: 'change-this-2' });
    const backup = await sdk.backups.wait(await sdk.backups.create({ instanceId: from.id, name: 'with least rights' }));
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: to.id });
    expect([plan.blockers, plan.warnings.filter(({ mustAccept }) => mustAccept)]).toEqual([[], []]);
    expect(plan.warnings.find(({ name }) => name === 'WRITES_NOT_IN_SAFETY_BACKUP')?.message).toContain('held back');
    const restore = await sdk.restores.wait(await sdk.restores.run({ planId: plan.id, confirmation: 'to' }));
    expect(restore).toMatchObject({ dataNow: 'NEW', report: { promoted: true }, safetyBackup: { name: 'Before restore into to' } });
    expect(await digest(target)).toBe(await digest(source));
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    expect(metrics).toContain(`snapback_captured_bytes_total ${String(BigInt(backup.sizeBytes ?? 0) + BigInt((await sdk.backups.get(restore.safetyBackup?.id ?? ''))?.sizeBytes ?? 0))}\n`);
    expect(metrics).toContain(`snapback_restored_bytes_total ${String(backup.sizeBytes)}\n`);
    expect(metrics).toMatch(/snapback_job_duration_seconds_count\{kind="RESTORE",conclusion="SUCCEEDED"\} 1/);
  });

  it('restores key by key with a user of the least rights, and says which of them a restore lacks', async () => {
    const { sdk } = service;
    for (const line of redisCommands(block('restore-keys-user').code)) expect(await target.cli(...line)).toBe('OK');
    const [instance] = await sdk.instances.list({ nameContains: 'to' }).toArray({ limit: 1 });
    const [backup] = await sdk.backups.list({ nameContains: 'least rights' }).toArray({ limit: 1 });
    const instanceId = instance?.id ?? '';
    await sdk.instances.update({ instanceId, username: 'snapback-restore-keys', password: 'change-this-3' });
    for (const options of [{}, { onConflict: 'SKIP' as const }, { method: 'LOGICAL_COMMANDS' as const, acceptedLosses: ['STREAM_METADATA'] }]) {
      const plan = await sdk.restores.plan({ backupId: backup?.id ?? '', instanceId, safetyBackup: false, ...options });
      expect([plan.blockers, plan.warnings.filter(({ mustAccept }) => mustAccept)]).toEqual([[], []]);
      expect(plan.method).toBe('method' in options ? 'LOGICAL_COMMANDS' : 'RESTORE_PIPELINE');
      expect(await sdk.restores.wait(await sdk.restores.run({ planId: plan.id, confirmation: 'to' }))).toMatchObject({ dataNow: 'NEW', report: { keys: { failed: '0' } } });
      expect(await digest(target)).toBe(await digest(source));
    }
    await sdk.instances.update({ instanceId, username: 'snapback-restore', password: 'change-this-2' });
  });

  it('skips the delay of a server with the rights that this needs', async () => {
    const { sdk } = service;
    for (const line of redisCommands(block('skip-user').code)) expect(await source.cli(...line)).toBe('OK');
    await source.cli('CONFIG', 'SET', 'repl-diskless-sync-delay', '5');
    const [from] = await sdk.instances.list({ nameContains: 'from' }).toArray({ limit: 1 });
    const instanceId = from?.id ?? '';
    await sdk.instances.update({ instanceId, skipSyncDelay: true });
    const started = await sdk.backups.create({ instanceId, name: 'without delay' });
    await sdk.backups.wait(started);
    expect((await sdk.jobs.get(started.job))?.notices.map(({ code }) => code)).toEqual(['SYNC_DELAY_SKIPPED']);
    await sdk.instances.update({ instanceId, skipSyncDelay: false });
    await source.cli('CONFIG', 'SET', 'repl-diskless-sync-delay', '0');
  });

  it('says beforehand which right is missing, where the user may ask', async () => {
    const { sdk } = service;
    await source.cli('ACL', 'SETUSER', 'asker', 'on', '>secret', '-@all', '+info', '+replconf', '+acl|dryrun');
    const [known] = await sdk.instances.list({ nameContains: 'from' }).toArray({ limit: 1 });
    const { capabilities } = await sdk.instances.update({ instanceId: known?.id ?? '', username: 'asker', password: 'secret' });
    expect(capabilities.backup).toMatchObject({ possible: false, reason: expect.stringContaining('grant +psync') as string });
  });

  it.each(['info', 'psync', 'replconf'])('needs +%s for a backup', async (right) => {
    const { sdk } = service;
    const name = `without-${right}`;
    await source.cli('ACL', 'SETUSER', name, 'on', '>secret', '-@all', ...['info', 'psync', 'replconf'].filter((other) => other !== right).map((other) => `+${other}`));
    const attempt = async (): Promise<void> => {
      const [known] = await sdk.instances.list({ nameContains: 'from' }).toArray({ limit: 1 });
      const instanceId = known?.id ?? '';
      await sdk.instances.update({ instanceId, username: name, password: 'secret' });
      await sdk.backups.wait(await sdk.backups.create({ instanceId, name }));
    };
    await expect(attempt()).rejects.toMatchObject({ code: 'PERMISSION_MISSING' });
  });

  it.each([
    ['psync', { safetyBackup: true }, undefined], ['replicaof', { method: 'REPLICATION_LINK' as const }, 'NO_RIGHT_TO_REPLICAOF'], ['config|get', {}, 'UNCHECKED_CONFIG'],
    ['client|list', {}, 'UNCHECKED_SENTINEL'], ['client|pause', {}, 'WRITES_NOT_IN_SAFETY_BACKUP'],
  ])('says what is amiss on a target without +%s', async (right, options, finding) => {
    const { sdk } = service;
    const rules = redisCommands(block('restore-user').code)[0]?.slice(3).filter((rule) => rule !== `+${right}`) ?? [];
    const name = `without-${right.replace('|', '-')}`;
    await target.cli('ACL', 'SETUSER', name, ...rules);
    const [instance] = await sdk.instances.list({ nameContains: 'to' }).toArray({ limit: 1 });
    const [backup] = await sdk.backups.list({ nameContains: 'least rights' }).toArray({ limit: 1 });
    const instanceId = instance?.id ?? '';
    await sdk.instances.update({ instanceId, username: name, password: 'change-this-2' });
    const plan = await sdk.restores.plan({ backupId: backup?.id ?? '', instanceId, ...options });
    const found = [...plan.blockers, ...plan.warnings.filter(({ mustAccept, message }) => mustAccept || message.includes('cannot bring them back'))].map((one) => one.name);
    if (finding !== undefined) {
      expect(found).toEqual([finding]);
      return;
    }
    const started = await sdk.restores.run({ planId: plan.id, confirmation: 'to' });
    await expect(sdk.restores.wait(started)).rejects.toMatchObject({ code: 'PERMISSION_MISSING' });
    const without = await sdk.restores.plan({ backupId: backup?.id ?? '', instanceId, safetyBackup: false });
    expect(await sdk.restores.wait(await sdk.restores.run({ planId: without.id, confirmation: 'to' }))).toMatchObject({ dataNow: 'NEW' });
  });
});
