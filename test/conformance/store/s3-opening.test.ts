import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Dial } from '../../../server/engine/ports.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { readPem, tlsFiles } from '../../kit/redis-tls.js';
import { startS3, type S3Double } from '../../kit/s3/server.js';
import { waitFor } from '../../kit/wait.js';
import { listAll, put, readAll } from './suite.js';
import { dial, listeningLog, longAgo, openOn, PART, thrownBy, tomorrow, type Told } from './s3-scene.js';

const DENIED = { kind: 'error', status: 403, code: 'AccessDenied' } as const;

describe('opening a store in S3', () => {
  let s3: S3Double;
  beforeAll(async () => {
    s3 = await startS3();
  });
  afterAll(() => s3.stop());
  afterEach(() => {
    s3.heal();
    s3.bucket.objects.clear();
    s3.bucket.uploads.clear();
  });

  const lay = (key: string, text = 'x'): void => void s3.bucket.put(key, Buffer.from(text), {}, { ifNoneMatch: false, ifMatch: undefined });
  const asked = (from: number): string[] => s3.requests.slice(from).map(({ operation }) => operation);

  it('makes one, finds it again, and leaves nothing but its marker', async () => {
    const store = await openOn(s3, 'a/', { storeId: 'store-1', catalogueId: 'c-1' });
    expect([store.kind, store.id, store.location, await store.owner()]).toEqual(['S3', 'store-1', `s3://archives/a/ at ${s3.endpoint}`, 'c-1']);
    expect([...s3.bucket.objects.keys()]).toEqual(['a/.snapback-store']);
    expect(s3.bucket.uploads.size).toBe(0);
    const again = await openOn(s3, 'a/', { storeId: 'other', catalogueId: 'c-2' });
    expect([again.id, await again.owner()]).toEqual(['store-1', 'c-1']);
    expect((await openOn(s3, 'a/', { create: false })).id).toBe('store-1');
    expect((await openOn(s3, 'a/b/')).id).not.toBe('store-1');
  });

  it('is one store for all who make it at once', async () => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => openOn(s3, 'race/')));
    expect(new Set(stores.map(({ id }) => id)).size).toBe(1);
  });

  it('makes none where none is to be made, where other things lie, or where archives lie and that is not meant', async () => {
    const from = s3.requests.length;
    expect((await thrownBy(() => openOn(s3, 'none/', { create: false }))).message).toContain('no marker');
    expect(asked(from)).toEqual(['GetObject']);
    lay('photos/holiday.jpg');
    expect(await thrownBy(() => openOn(s3, 'photos/'))).toMatchObject({ code: 'STORAGE_IO' });
    expect(await thrownBy(() => openOn(s3, ''))).toMatchObject({ code: 'STORAGE_IO' });
    lay('old/backups/b1/rdb');
    expect((await thrownBy(() => openOn(s3, 'old/'))).hint).toContain('store:adopt');
    const adopted = await openOn(s3, 'old/', { create: 'overContent', catalogueId: 'c-3' });
    expect([await adopted.owner(), (await listAll(adopted)).length]).toEqual(['c-3', 1]);
    lay('mixed/backups/b1/rdb');
    lay('mixed/holiday.jpg');
    expect(await thrownBy(() => openOn(s3, 'mixed/', { create: 'overContent' }))).toMatchObject({ code: 'STORAGE_IO' });
    expect([...s3.bucket.objects.keys()].sort()).toEqual(['mixed/backups/b1/rdb', 'mixed/holiday.jpg', 'old/.snapback-store', 'old/backups/b1/rdb', 'photos/holiday.jpg']);
    lay('console/');
    expect((await openOn(s3, 'console/')).kind).toBe('S3');
  });

  it.each([
    ['reading', 'GetObject', 1], ['looking', 'HeadObject', 0], ['writing', 'PutObject', 0], ['uploads', 'CreateMultipartUpload', 0], ['parts', 'UploadPart', 0], ['discarding', 'AbortMultipartUpload', 0],
    ['removing', 'DeleteObject', 0], ['listing', 'ListObjectsV2', 0], ['listing uploads', 'ListMultipartUploads', 0],
  ] as const)('refuses a store where %s is forbidden, before anybody relies on it', async (_what, operation, after) => {
    s3.fail({ operation, after }, DENIED);
    const error = await thrownBy(() => openOn(s3, 'rights/'));
    expect(error.code).toBe('STORAGE_PERMISSION');
    expect(error.hint).toContain('Archives in S3');
    expect([...s3.bucket.objects.keys()].filter((key) => !key.includes('probe'))).toEqual([]);
  });

  it('refuses a store that gives back something else than it was given', async () => {
    s3.fail({ operation: 'GetObject', after: 1 }, { kind: 'no range' });
    expect(await thrownBy(() => openOn(s3, 'x/'))).toMatchObject({ code: 'STORAGE_IO' });
    s3.heal();
    s3.fail({ operation: 'PutObject' }, { kind: 'html' });
    expect(await thrownBy(() => openOn(s3, 'x/'))).toMatchObject({ code: 'STORAGE_IO' });
    expect(s3.bucket.objects.size).toBe(0);
  });

  it('says what is wrong with credentials, bucket, region and address', async () => {
    const place = { bucket: s3.bucketName, prefix: '', endpoint: s3.endpoint, region: 'us-east-1', pathStyle: true };
    const keys = { ...s3.keys, sessionToken: null };
    const cases: [string, string, Parameters<typeof openOn>[2]][] = [
      ['SignatureDoesNotMatch', 'STORAGE_PERMISSION', { credentials: { ...keys, secretAccessKey: 'canary-secret' } }],
      ['InvalidAccessKeyId', 'STORAGE_PERMISSION', { credentials: { ...keys, accessKeyId: 'AKIAOTHER' } }],
      ['InvalidToken', 'STORAGE_PERMISSION', { credentials: { ...keys, sessionToken: 'canary-token' } }],
      ['NoSuchBucket', 'STORAGE_IO', { place: { ...place, bucket: 'nowhere' } }],
      ['answered ECONNREFUSED', 'STORAGE_IO', { place: { ...place, endpoint: 'http://127.0.0.1:1' } }],
      ['could not be resolved', 'STORAGE_IO', { place: { ...place, endpoint: 'http://no-such-host.invalid' } }],
    ];
    for (const [what, code, options] of cases) {
      const error = await thrownBy(() => openOn(s3, '', options));
      expect(error.code, what).toBe(code);
      expect(error.message).toContain(what);
      expect(error.hint).toMatch(/\w+ \w+/);
      expect(JSON.stringify([error.message, error.hint, error.details])).not.toContain('canary');
    }
    s3.fail({}, { kind: 'error', status: 301, code: 'PermanentRedirect' });
    expect((await thrownBy(() => openOn(s3, ''))).hint).toContain('region=');
  });

  it('takes credentials and region from the usual chain, and says so when it has none', async () => {
    const place = { bucket: s3.bucketName, prefix: 'chain/', endpoint: s3.endpoint, region: null, pathStyle: true };
    const names = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_REGION', 'AWS_EC2_METADATA_DISABLED', 'AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_PROFILE', 'AWS_DEFAULT_REGION'];
    const before = names.map((name) => [name, process.env[name]] as const);
    for (const name of names) Reflect.deleteProperty(process.env, name);
    Object.assign(process.env, { AWS_EC2_METADATA_DISABLED: 'true', AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' });
    try {
      expect((await thrownBy(() => openOn(s3, '', { place, credentials: null }))).hint).toContain('AWS_REGION');
      process.env['AWS_REGION'] = 'eu-central-1';
      expect(await thrownBy(() => openOn(s3, '', { place, credentials: null }))).toMatchObject({ code: 'STORAGE_PERMISSION' });
      Object.assign(process.env, { AWS_ACCESS_KEY_ID: s3.keys.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.keys.secretAccessKey });
      expect((await openOn(s3, '', { place, credentials: null })).location).toContain('chain/');
      expect(String(s3.requests.at(-1)?.headers['authorization'])).toContain('/eu-central-1/s3/');
    } finally {
      for (const [name, value] of before) if (value === undefined) Reflect.deleteProperty(process.env, name); else process.env[name] = value;
    }
  });

  it('needs no right to write where it is only read', async () => {
    const writer = await openOn(s3, 'ro/');
    await put(writer, 'backups/b1/rdb', Buffer.from('x'));
    s3.fail({ operation: ['PutObject', 'CreateMultipartUpload', 'DeleteObject'] }, DENIED);
    const from = s3.requests.length;
    const reader = await openOn(s3, 'ro/', { create: false, readOnly: true });
    expect((await readAll(reader, 'backups/b1/rdb')).toString()).toBe('x');
    expect(await listAll(reader)).toHaveLength(1);
    expect(new Set(asked(from))).toEqual(new Set(['GetObject', 'ListObjectsV2']));
  });

  it('gets over a server that is slow to come up', async () => {
    s3.fail({ every: 2 }, { kind: 'error', status: 503, code: 'SlowDown' });
    expect((await openOn(s3, 'flaky/')).kind).toBe('S3');
    expect([...s3.bucket.objects.keys()]).toEqual(['flaky/.snapback-store']);
  });

  it('sends no checksum that an older server refuses, and signs every body', async () => {
    const from = s3.requests.length;
    const store = await openOn(s3, 'sums/');
    await put(store, 'backups/b1/rdb', Buffer.alloc(100));
    const headers = s3.requests.slice(from).flatMap((request) => Object.keys(request.headers));
    expect(headers.filter((name) => /checksum|trailer/.test(name))).toEqual([]);
    expect(s3.requests.slice(from).map((request) => request.headers['x-amz-content-sha256']).filter((digest) => !/^[0-9a-f]{64}$/.test(String(digest)))).toEqual([]);
    expect(s3.requests.slice(from).filter((request) => request.headers['expect'] !== undefined)).toEqual([]);
  });

  it('opens every connection by the dial it was given, with the bucket in the host name where that is wanted', async () => {
    const dialled: string[] = [];
    const spy: Dial = (to, options) => {
      dialled.push(`${to.host}:${String(to.port)}`);
      return dial({ ...to, host: '127.0.0.1' }, options);
    };
    const endpoint = `http://s3.example.com:${String(s3.port)}`;
    const store = await openOn(s3, 'v/', { dial: spy, place: { bucket: s3.bucketName, prefix: 'v/', endpoint, region: 'us-east-1', pathStyle: false } });
    await put(store, 'backups/b1/rdb', Buffer.from('x'));
    expect((await readAll(store, 'backups/b1/rdb')).toString()).toBe('x');
    expect([...new Set(dialled)]).toEqual([`archives.s3.example.com:${String(s3.port)}`]);
    // They are kept and used again.
    expect(dialled.length).toBeLessThan(4);
    await store.close();

    const refusing = createDial({ allows: () => false });
    const refused = await thrownBy(() => openOn(s3, 'v/', { dial: refusing }));
    expect(refused).toMatchObject({ code: 'STORAGE_IO', retryable: false });
    expect(refused.message).toContain('may not be dialled');
  });

  it('speaks TLS, and trusts only whom it should', async () => {
    const { caFile, certFile, keyFile } = await tlsFiles();
    const secure = await startS3({ tls: { cert: readPem(certFile), key: readPem(keyFile) }, sessionToken: 'token', minPartBytes: PART });
    try {
      const trusting: Dial = (to, options) => createDial(ALLOW_EVERYTHING)({ ...to, tls: { ...to.tls, ca: readPem(caFile) } }, options);
      const store = await openOn(secure, '', { dial: trusting });
      await put(store, 'backups/b1/rdb', Buffer.alloc(200_000, 7));
      expect((await readAll(store, 'backups/b1/rdb')).length).toBe(200_000);
      await store.close();
      expect((await thrownBy(() => openOn(secure, ''))).message).toContain('TLS');
    } finally {
      await secure.stop();
    }
  });

  it.each([
    ['HELD', []], ['HELD_FOR_PUTS', ['conditional']], ['IGNORED', ['conditional']], ['REFUSED', ['conditional']],
  ] as const)('finds out that conditions are %s, and warns where they are not held', async (conditions, warned) => {
    const other = await startS3({ conditions });
    try {
      const told: Told[] = [];
      const store = await openOn(other, '', { log: listeningLog(told) });
      expect(told.filter(({ level }) => level === 'warn').map(({ message }) => /conditional|unfinished/.exec(message)?.[0])).toEqual(warned);
      expect([...other.bucket.objects.keys()]).toEqual(['.snapback-store']);
      expect(other.bucket.uploads.size).toBe(0);
      await store.close();
    } finally {
      await other.stop();
    }
  });

  it('notes its uploads where they are listed by exact keys only, and sweeps by its notes', async () => {
    const other = await startS3({ listsUploads: 'BY_KEY', minPartBytes: PART });
    try {
      const told: Told[] = [];
      const store = await openOn(other, 'n/', { log: listeningLog(told) });
      expect(told).toEqual([]);
      await put(store, 'backups/b1/rdb', Buffer.alloc(3 * PART));
      expect([...other.bucket.objects.keys()]).toEqual(['n/.snapback-store', 'n/backups/b1/rdb']);
      const aborted = await store.create('backups/b2/rdb');
      await aborted.write(Buffer.alloc(3 * PART));
      await aborted.abort();
      expect([...other.bucket.objects.keys()]).toEqual(['n/.snapback-store', 'n/backups/b1/rdb']);
      // Of two that write the same key and die, one is younger than the sweep looks for.
      const dead = await Promise.all([1, 2].map(() => store.create('backups/b3/rdb')));
      for (const writer of dead) await writer.write(Buffer.alloc(2 * PART));
      await waitFor(() => [...other.bucket.uploads.values()].every(({ parts }) => parts.size === 1) && other.bucket.uploads.size === 2);
      const notes = [...other.bucket.objects.keys()].filter((key) => key.includes('.snapback-upload.backups+b3+rdb~'));
      expect(notes).toHaveLength(2);
      const [old] = other.bucket.uploads.values();
      for (const held of [old!, ...old!.parts.values(), ...notes.map((key) => other.bucket.get(key))]) Object.assign(held, { initiatedAt: new Date(0), modifiedAt: new Date(0) });
      expect(await listAll(store)).toHaveLength(1);
      expect(await store.sweep({ olderThan: longAgo(), keep: () => true })).toEqual([]);
      expect(await store.sweep({ olderThan: longAgo(), keep: () => false })).toEqual(['backups/b3/rdb']);
      expect([...other.bucket.objects.keys()].filter((key) => notes.includes(key))).toEqual(notes);
      expect(await store.sweep({ olderThan: tomorrow(), keep: () => false })).toEqual(['backups/b3/rdb']);
      expect([...other.bucket.objects.keys()]).toEqual(['n/.snapback-store', 'n/backups/b1/rdb']);
      expect(other.bucket.uploads.size).toBe(0);
      await store.close();
    } finally {
      await other.stop();
    }
  });

  it('warns where unfinished uploads are not listed', async () => {
    const other = await startS3({ listsUploads: 'NOT' });
    try {
      const told: Told[] = [];
      await (await openOn(other, '', { log: listeningLog(told) })).close();
      expect(told.map(({ message }) => message)).toEqual([expect.stringContaining('does not list unfinished uploads')]);
    } finally {
      await other.stop();
    }
  });
});
