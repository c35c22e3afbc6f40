import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../../../server/config/config.js';
import { isTimeZone } from '../../../server/domain/schedule-zone.js';

const mistakesOf = (env: Record<string, string>): readonly string[] => {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes;
    throw error;
  }
  return [];
};

/** A value for each setting that is refused. */
const WRONG: Readonly<Record<string, string>> = {
  HOST: 'http://127.0.0.1', PORT: '65536', PUBLIC_URL: 'ftp://example.com', DATABASE_URL: 'mysql://user:canary-1@host/db', MONGODB_URL: 'http://user:canary-2@host/db',
  OIDC_ISSUER: 'https://canary-20:canary-20@id.example.com', OIDC_AUDIENCE: '', OIDC_ROLES: 'db-admins=ROOT',
  STORE_URL: 's3://key:canary-3@bucket', MASTER_KEY: 'canary-4', DEFAULT_TIME_ZONE: 'Mars/Olympus', CONCURRENT_JOBS: '0', DISABLED_ENGINES: 'redis four',
  REPLICATION_ADVERTISE_HOST: 'host:6379', REPLICATION_PORTS: '7009-7000', REPLICATION_PEER_CIDRS: '10.0.0.0/33', REPLICATION_LINK_SECONDS: '0.5', REPLICATION_TLS_CERT: '-----BEGIN CERTIFICATE-----', REPLICATION_TLS_KEY: '-----BEGIN PRIVATE KEY-----canary-10', REPLICATION_TLS_CA: '-----BEGIN CERTIFICATE-----',
  CONNECT_ALLOW: 'localhost', CONNECT_DENY: '10.0.0.0/33',
  ALLOWED_ORIGINS: 'https://example.com/', INTROSPECTION: 'perhaps', DOCUMENTS: 'some', RATE_LIMIT_POINTS: '-1', SAMPLE_REDIS: '2',
  LOG_LEVEL: 'loud', LOG_FORMAT: 'xml', LEASE_SECONDS: '0.5', LEASE_RENEW_SECONDS: '0.0001', LEASE_COLLECT_SECONDS: 'often', CONCURRENT_JOBS_TOTAL: '0', ROLE: 'boss', CATCH_UP_MINUTES: '1.5', NET_SECONDS: '61', DRAIN_SECONDS: '-1', MAX_BACKUP_GIB: 'all', MAX_BACKUP_MINUTES: '', SOURCE_IDLE_SECONDS: '1e9', SCAN_KEYS_PER_SECOND: '0', SOURCE_SYNCS: '0', SOURCE_FAILED_SYNCS: 'none', SOURCE_SYNC_MINUTES: '1441',
  EVENTS_REDIS_URL: 'redis://canary-21:canary-21@host/1', MAX_SOCKETS: '0', MAX_SOCKETS_OF_KEY: 'many',
  WEBHOOK_URL: 'ftp://canary-5.example', WEBHOOK_SECRET: 'canary-6',
  STORE_TIMEOUT_SECONDS: '0', STORE_WRITE_MIB_PER_SECOND: '0', STORE_READ_MIB_PER_SECOND: 'fast', COMPRESSION: 'gzip',
  S3_ACCESS_KEY_ID: 'canary 7', S3_SECRET_ACCESS_KEY: 'canary 8', S3_SESSION_TOKEN: 'canary 9',
};

describe('the configuration', () => {
  it('has a default for everything', () => {
    const config = readConfig({});
    expect(config).toMatchObject({
      host: '127.0.0.1', port: 4000, publicUrl: null, dataDir: resolve('data'), databaseUrl: null, mongodbUrl: null, store: { kind: 'FILE_SYSTEM', root: resolve('data/store') }, s3Credentials: null,
      compression: 'lz4', masterKey: null, masterKeyFile: resolve('data/master.key'), defaultTimeZone: 'UTC', disabledEngines: [], allowedOrigins: [], introspection: true,
      sampleRedis: true, replication: { advertiseHost: null, ports: null, peerCidrs: [], linkMs: 30_000, tls: null }, connect: { allow: [], deny: [], thisMachine: true },
    });
    expect(readConfig(Object.fromEntries(Object.keys(WRONG).map((name) => [name, ' '])))).toEqual(config);
    expect(config.lease.renewMs * 3).toBeLessThan(config.lease.lifeMs);
  });

  it('takes what operators write', () => {
    const config = readConfig({
      HOST: '::', PORT: '0', PUBLIC_URL: 'https://backup.example.com/snapback//', DATA_DIR: '/var/lib/snapback', DATABASE_URL: 'postgresql://u:p@db/x?sslmode=require',
      STORE_URL: 'file:///srv/a%20store', MASTER_KEY: 'AB'.repeat(32), DEFAULT_TIME_ZONE: 'Asia/Shanghai', DISABLED_ENGINES: 'Redis 4.0, valkey:9 ,redis',
      REPLICATION_ADVERTISE_HOST: 'bücher.example', REPLICATION_PORTS: '7000-7009', ALLOWED_ORIGINS: 'https://a.example, http://localhost:3000,chrome-extension://abcdef',
      INTROSPECTION: 'OFF', LOG_LEVEL: 'debug', MAX_BACKUP_GIB: '2',
    });
    expect(config).toMatchObject({
      host: '::', port: 0, publicUrl: 'https://backup.example.com/snapback', store: { kind: 'FILE_SYSTEM', root: '/srv/a store' }, masterKeyFile: '/var/lib/snapback/master.key',
      disabledEngines: ['redis 4.0', 'valkey 9', 'redis'], replication: { advertiseHost: 'bücher.example', ports: { from: 7000, to: 7009 } },
      allowedOrigins: ['https://a.example', 'http://localhost:3000', 'chrome-extension://abcdef'], introspection: false,
      // Somebody who brings a database of their own does not want to look around.
      sampleRedis: false, connect: { thisMachine: false }, limits: { maxBackupBytes: 2n * 1024n ** 3n },
    });
    expect(readConfig({ DATABASE_URL: 'postgres://db/x', SAMPLE_REDIS: 'true' })).toMatchObject({ sampleRedis: true, connect: { thisMachine: true } });
    expect(readConfig({ REPLICATION_PORTS: '7000' }).replication.ports).toEqual({ from: 7000, to: 7000 });
  });

  it('keeps the proportions of a lease, and refuses one that a single lost renewal would end', () => {
    expect(readConfig({}).lease).toEqual({ lifeMs: 30_000, renewMs: 8_000, collectMs: 5_000 });
    expect(readConfig({ LEASE_SECONDS: '3' }).lease).toEqual({ lifeMs: 3_000, renewMs: 800, collectMs: 500 });
    expect(readConfig({ LEASE_SECONDS: '3', LEASE_RENEW_SECONDS: '0.25', LEASE_COLLECT_SECONDS: '1' }).lease).toEqual({ lifeMs: 3_000, renewMs: 250, collectMs: 1_000 });
    expect(mistakesOf({ LEASE_SECONDS: '10', LEASE_RENEW_SECONDS: '5' })).toEqual(['LEASE_RENEW_SECONDS must be less than half of LEASE_SECONDS (10).']);
  });

  it('knows what a process with half the work cannot have', () => {
    expect(readConfig({ ROLE: 'worker', DATABASE_URL: 'postgresql://db/x' })).toMatchObject({ role: 'worker', sampleRedis: false });
    expect(mistakesOf({ ROLE: 'api' })).toEqual([expect.stringContaining('DATABASE_URL')]);
    expect(mistakesOf({ ROLE: 'api', DATABASE_URL: 'postgresql://db/x', SAMPLE_REDIS: 'yes' })).toEqual([expect.stringMatching(/^SAMPLE_REDIS .*"all"/)]);
  });

  it('names every mistake at once, each by its variable', () => {
    const { MAX_BACKUP_MINUTES: _empty, ...wrong } = WRONG;
    const mistakes = mistakesOf(wrong);
    for (const name of Object.keys(wrong)) expect(mistakes.filter((mistake) => mistake.startsWith(`${name} `)), name).toHaveLength(1);
    expect(mistakes).toHaveLength(Object.keys(wrong).length);
    expect(() => readConfig(wrong)).toThrow(new RegExp(`has ${mistakes.length} mistakes:\n  - `));
    expect(() => readConfig({ PORT: 'x' })).toThrow('has a mistake:\n  - PORT must be a whole number from 0 to 65535, not "x".');
  });

  it('keeps secrets out of its messages', () => {
    expect(mistakesOf(WRONG).join('\n')).not.toContain('canary');
    for (const url of ['https://user:canary@example.com', 'canary', 'https://example.com/?token=canary', 'https://example.com/#canary']) {
      expect(mistakesOf({ PUBLIC_URL: url })).toEqual([expect.not.stringContaining('canary')]);
      expect(mistakesOf({ DATABASE_URL: url })).toEqual([expect.not.stringContaining('canary')]);
    }
    expect(mistakesOf({ MASTER_KEY: `${'ab'.repeat(31)}canary` })).toEqual(['MASTER_KEY must be 64 hexadecimal digits, or several such keys separated by commas.']);
  });

  it.each([
    ['HOST', ['localhost', '0.0.0.0', '::1', 'fe80::1%eth0', 'my_host.internal'], ['a b', 'host/', '[::1]', 'host:80', 'user@host']],
    ['PORT', ['0', '65535', ' 80 '], ['-1', '65536', '4e3', '0x50', '80 81', '99999999999999999999']],
    ['DISABLED_ENGINES', ['redis', 'valkey 8.0.1', 'redis 4.0,,redis 5'], ['keydb', 'redis 4.x', 'redis 1.2.3.4', '4.0']],
    ['REPLICATION_PORTS', ['1-65535'], ['0', '70000', '7000-', '7000-65536', '7000,7001']],
    ['REPLICATION_PEER_CIDRS', ['10.0.0.0/8, fd00::/8', '192.0.2.1', '0.0.0.0/0', '::1'], ['10.0.0.0/33', '10.0.0/8', '10.0.0.0/8/8', 'fd00::/129', 'fe80::1%eth0', 'example.com', '10.0.0.0/']],
    ['CONNECT_ALLOW', ['127.0.0.1', '10.0.0.0/8,fd00::/8'], ['10.0.0.1-10.0.0.9', '*']],
    ['CONNECT_DENY', ['0.0.0.0/0, ::/0'], ['10.*', 'fe80::1%eth0']],
    ['ALLOWED_ORIGINS', ['http://[::1]:8080', 'https://example.com'], ['*', 'null', 'example.com', 'https://example.com/path', 'HTTPS://example.com', 'https://example.com:443']],
    [
      'STORE_URL',
      ['file:///a/b', 's3://bucket', 's3://my.bucket-1/', 's3://bucket/a/b.c?region=eu-central-1', 's3://b_1/x/?endpoint=http://[::1]:9000&pathStyle=true', 's3://bucket?endpoint=https%3A%2F%2Fs3.example.com%2F&pathStyle=false'],
      [
        '/a/b', 'file://host/share', 'file:a', 's3:bucket', 's3://', 's3:///prefix', 's3://ab', 's3://bucket:9000', 's3://key@bucket', 's3://bucket/a b', 's3://bucket/.hidden', 's3://bucket/a//b', `s3://bucket/${'a/'.repeat(129)}`,
        's3://bucket?endpoint=minio:9000', 's3://bucket?endpoint=https://u:p@h', 's3://bucket?endpoint=https://h/path', 's3://bucket?endpoint=http://10.0.0.1:9000&pathStyle=false', 's3://bucket?region=', 's3://bucket?region=a/b',
        's3://bucket?pathStyle=1', 's3://bucket?pathstyle=true', 's3://bucket?region=a&region=b', 's3://bucket#x', 's3://bucket?secret=x',
      ],
    ],
    ['MASTER_KEY', ['0'.repeat(64), `${'0'.repeat(64)},${'1'.repeat(64)}`], ['0'.repeat(63), `${'0'.repeat(64)},`, `${'0'.repeat(64)}0`, 'g'.repeat(64)]],
  ])('%s', (name, good, bad) => {
    for (const value of good) expect(mistakesOf({ [name]: value }), value).toEqual([]);
    for (const value of bad) expect(mistakesOf({ [name]: value }), value).toEqual([expect.stringMatching(`^${name} `)]);
  });

  it('takes the certificate of the restore listener with its key, or neither', () => {
    const both = { REPLICATION_TLS_CERT: 'tls/cert.pem', REPLICATION_TLS_KEY: '/run/tls/key.pem' };
    expect(readConfig(both).replication.tls).toEqual({ certFile: resolve('tls/cert.pem'), keyFile: '/run/tls/key.pem', caFile: null });
    expect(readConfig({ ...both, REPLICATION_TLS_CA: '/run/tls/ca.pem' }).replication.tls).toMatchObject({ caFile: '/run/tls/ca.pem' });
    expect(mistakesOf({ REPLICATION_TLS_CERT: 'a' })).toEqual([expect.stringMatching(/^REPLICATION_TLS_KEY must be set/)]);
    expect(mistakesOf({ REPLICATION_TLS_KEY: 'a' })).toEqual([expect.stringMatching(/^REPLICATION_TLS_CERT must be set/)]);
    expect(mistakesOf({ REPLICATION_TLS_CA: 'a' })).toEqual([expect.stringMatching(/^REPLICATION_TLS_CA is of no use/)]);
  });

  it('takes a Redis server for announcements', () => {
    expect(readConfig({ EVENTS_REDIS_URL: 'rediss://us%20er:p%40ss@[::1]:7000/' }).events.redis).toEqual({ host: '::1', port: 7000, tls: true, username: 'us er', password: 'p@ss' });
    expect(readConfig({ EVENTS_REDIS_URL: 'redis://redis.internal' }).events.redis).toEqual({ host: 'redis.internal', port: 6379, tls: false, username: null, password: null });
    for (const refused of ['redis://:canary@host/2', 'http://canary', 'canary:6379', 'redis://:can%ary@host', 'redis://:canary@host?db=1']) {
      expect(mistakesOf({ EVENTS_REDIS_URL: refused }), refused).toEqual([expect.stringMatching(/^EVENTS_REDIS_URL (?!.*canary)/)]);
    }
  });

  it('wants a webhook with a secret or none at all', () => {
    const url = 'https://example.com/hook?team=1';
    const secret = 'sixteen-letters!';
    expect(readConfig({ WEBHOOK_URL: url, WEBHOOK_SECRET: secret }).webhook).toEqual({ url, secret });
    expect(readConfig({}).webhook).toEqual({ url: null, secret: null });
    expect(mistakesOf({ WEBHOOK_URL: url })).toEqual([expect.stringMatching(/^WEBHOOK_SECRET must be set/)]);
    expect(mistakesOf({ WEBHOOK_SECRET: secret })).toEqual([expect.stringMatching(/^WEBHOOK_SECRET is of no use/)]);
    for (const refused of ['https://user:canary@example.com/', 'https://canary@example.com/', 'https://example.com/#canary', 'example.com/canary']) {
      expect(mistakesOf({ WEBHOOK_URL: refused, WEBHOOK_SECRET: secret }), refused).toEqual([expect.stringMatching(/^WEBHOOK_URL (?!.*canary)/)]);
    }
  });

  it('takes tokens of a provider for an audience only, and knows which role its values grant', () => {
    const both = { OIDC_ISSUER: 'https://id.example.com/realms/a/', OIDC_AUDIENCE: 'snapback' };
    expect(readConfig(both).oidc).toEqual({
      issuer: both.OIDC_ISSUER, audience: 'snapback', roleClaim: 'roles', project: null, projectClaim: 'snapback_project',
      roles: [{ value: 'viewer', role: 'VIEWER' }, { value: 'operator', role: 'OPERATOR' }, { value: 'admin', role: 'ADMIN' }],
    });
    expect(readConfig({ ...both, OIDC_ROLES: 'cn=dba a=ADMIN, ops team=OPERATOR' }).oidc?.roles).toEqual([{ value: 'cn=dba a', role: 'ADMIN' }, { value: 'ops team', role: 'OPERATOR' }]);
    for (const OIDC_ROLES of ['dba', 'dba=admin', '=ADMIN', 'a=ADMIN,a=VIEWER', '__proto__=ROOT']) expect(mistakesOf({ ...both, OIDC_ROLES }), OIDC_ROLES).toEqual([expect.stringMatching(/^OIDC_ROLES /)]);
    expect(mistakesOf({ OIDC_ISSUER: both.OIDC_ISSUER })).toEqual([expect.stringMatching(/^OIDC_AUDIENCE must be set/)]);
    for (const name of ['OIDC_AUDIENCE', 'OIDC_ROLE_CLAIM', 'OIDC_ROLES', 'OIDC_PROJECT', 'OIDC_PROJECT_CLAIM']) expect(mistakesOf({ [name]: 'a=ADMIN' }), name).toEqual([expect.stringMatching(`^${name} is of no use without OIDC_ISSUER`)]);
    expect(mistakesOf({ ...both, OIDC_PROJECT: 'a', OIDC_PROJECT_CLAIM: 'b' })).toEqual([expect.stringMatching(/^OIDC_PROJECT_CLAIM is of no use/)]);
  });

  it('takes S3 by a URL without secrets, and its credentials all or none', () => {
    const keys = { S3_ACCESS_KEY_ID: 'AKIA1', S3_SECRET_ACCESS_KEY: 'canary/+=' };
    expect(readConfig({ STORE_URL: 's3://bucket' })).toMatchObject({ store: { kind: 'S3', bucket: 'bucket', prefix: '', endpoint: null, region: null, pathStyle: false }, s3Credentials: null });
    expect(readConfig({ STORE_URL: 's3://Bucket/a/b/?endpoint=http://minio:9000', ...keys })).toMatchObject({
      store: { kind: 'S3', bucket: 'Bucket', prefix: 'a/b/', endpoint: 'http://minio:9000', region: 'us-east-1', pathStyle: true },
      s3Credentials: { accessKeyId: 'AKIA1', secretAccessKey: 'canary/+=', sessionToken: null },
    });
    expect(readConfig({ STORE_URL: 's3://b-1?endpoint=https://s3.example.com&region=eu-1&pathStyle=false', ...keys, S3_SESSION_TOKEN: 't' })).toMatchObject({
      store: { endpoint: 'https://s3.example.com', region: 'eu-1', pathStyle: false }, s3Credentials: { sessionToken: 't' },
    });
    const STORE_URL = 's3://bucket';
    expect(mistakesOf({ STORE_URL, S3_ACCESS_KEY_ID: 'AKIA1' })).toEqual([expect.stringMatching(/^S3_SECRET_ACCESS_KEY must be set/)]);
    expect(mistakesOf({ STORE_URL, S3_SECRET_ACCESS_KEY: 'canary' })).toEqual([expect.stringMatching(/^S3_ACCESS_KEY_ID must be set/)]);
    expect(mistakesOf({ STORE_URL, S3_SESSION_TOKEN: 'canary' })).toEqual([expect.stringMatching(/^S3_ACCESS_KEY_ID must be set/), expect.stringMatching(/^S3_SECRET_ACCESS_KEY must be set/)]);
    expect(mistakesOf({ STORE_URL, ...keys, S3_SECRET_ACCESS_KEY: 'can ary' })).toEqual(['S3_SECRET_ACCESS_KEY must be printable characters without blanks.']);
    expect(mistakesOf(keys)).toEqual([expect.stringMatching(/^S3_ACCESS_KEY_ID is of no use/), expect.stringMatching(/^S3_SECRET_ACCESS_KEY is of no use/)]);
    for (const place of ['s3://canary:canary@bucket', 's3://bucket?endpoint=https://canary@h', 's3://bucket?canary=canary']) expect(mistakesOf({ STORE_URL: place })).toEqual([expect.stringMatching(/^STORE_URL (?!.*canary)/)]);
  });

  it('takes exactly the zones that policies take', () => {
    for (const zone of ['UTC', 'utc', 'Europe/Berlin', 'europe/berlin', 'Etc/GMT+5', '+00:00', '-13:59', '+14:00', '-14:00', '+14:01', '+15:00', '+1:00', '+0100', '+01', 'Z', 'CET', 'Mars/Olympus', '٠٢']) {
      expect(mistakesOf({ DEFAULT_TIME_ZONE: zone }).length === 0, zone).toBe(isTimeZone(zone));
    }
  });

  it('cannot be changed afterwards, at any depth', () => {
    const config = readConfig({ DISABLED_ENGINES: 'redis 4.0', REPLICATION_PORTS: '7000' });
    const frozen = (value: unknown): boolean => typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen));
    expect(frozen(config)).toBe(true);
    expect(() => Object.assign(config.limits, { maxBackupMs: 1 })).toThrow(TypeError);
  });

  it('reads the environment that it is given, and nothing else', () => {
    process.env['PORT'] = '1';
    try {
      expect(readConfig({}).port).toBe(4000);
      expect(readConfig().port).toBe(1);
    } finally {
      delete process.env['PORT'];
    }
  });
});
