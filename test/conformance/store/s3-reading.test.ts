import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { withRetry } from '../../../server/engine/store/retry.js';
import { type Store } from '../../../server/engine/store/store.js';
import { startS3, type S3Double } from '../../kit/s3/server.js';
import { waitFor } from '../../kit/wait.js';
import { listAll, put, readAll } from './suite.js';
import { BACKOFF, longAgo, openOn, PART, thrownBy, tomorrow } from './s3-scene.js';

const CONTENT = randomBytes(8 * PART);
const GONE = { kind: 'error', status: 403, code: 'AccessDenied' } as const;

describe('reading from S3', () => {
  let s3: S3Double;
  let store: Store;
  let prefix: string;
  let opened = 0;
  beforeAll(async () => {
    s3 = await startS3({ minPartBytes: PART, pageSize: 3 });
  });
  afterAll(() => s3.stop());
  beforeEach(async () => {
    prefix = `r${String((opened += 1))}/`;
    store = await openOn(s3, prefix);
    await put(store, 'backups/b1/rdb', CONTENT);
  });
  afterEach(async () => {
    s3.heal();
    await store.close();
    s3.bucket.uploads.clear();
  });

  /** Only where a server is silent: a busy machine is at times, too. */
  const waitBriefly = async (): Promise<void> => {
    await store.close();
    store = await openOn(s3, prefix, { idleMs: 300 });
  };
  const waitAsEver = async (): Promise<void> => {
    await store.close();
    store = await openOn(s3, prefix);
  };
  const marker = (): string => `${prefix}.snapback-store`;

  it('says at which byte an answer broke off, and goes on there under a retry', async () => {
    s3.fail({ operation: 'GetObject', times: 1 }, { kind: 'cut body', bytes: 100_000 });
    const broken = await thrownBy(() => readAll(store, 'backups/b1/rdb'));
    expect(broken).toMatchObject({ code: 'STORAGE_IO', retryable: true });
    const at = Number(/from byte (\d+) of backups\/b1\/rdb/.exec(broken.message)?.[1]);
    expect(at).toBeGreaterThan(0);
    expect(at).toBeLessThanOrEqual(100_000);

    // More faults than attempts: what comes in between makes the next one the first again.
    s3.fail({ operation: 'GetObject', times: 9 }, { kind: 'cut body', bytes: 40_000 });
    const from = s3.requests.length;
    const part = await readAll(withRetry(store, BACKOFF), 'backups/b1/rdb', { offset: 1_000n, length: 500_000n });
    expect(part.equals(CONTENT.subarray(1_000, 501_000))).toBe(true);
    const ranges = s3.requests.slice(from).map(({ headers }) => String(headers['range']));
    expect(ranges).toHaveLength(10);
    expect(ranges[0]).toBe('bytes=1000-500999');
    const starts = ranges.map((range) => Number(/=(\d+)-500999$/.exec(range)?.[1]));
    expect([...starts].sort((a, b) => a - b)).toEqual(starts);
  });

  it('gives up when nothing comes any more', async () => {
    s3.fail({ operation: 'GetObject', after: 1 }, { kind: 'cut' });
    s3.fail({ operation: 'GetObject', times: 1 }, { kind: 'cut body', bytes: 40_000 });
    const from = s3.requests.length;
    expect(await thrownBy(() => readAll(withRetry(store, BACKOFF), 'backups/b1/rdb'))).toMatchObject({ code: 'STORAGE_IO' });
    expect(s3.requests.length - from).toBeLessThanOrEqual(BACKOFF.attempts + 1);
  });

  it('notices a silent answer, one that ignores the range, and one that is a page of a proxy', async () => {
    await waitBriefly();
    s3.fail({ operation: 'GetObject', times: 1 }, { kind: 'silent' });
    expect(await thrownBy(() => readAll(store, 'backups/b1/rdb'))).toMatchObject({ code: 'STORAGE_IO', retryable: true });
    await waitAsEver();
    s3.fail({ operation: 'GetObject', times: 1 }, { kind: 'no range' });
    expect((await thrownBy(() => readAll(store, 'backups/b1/rdb', { offset: 5n }))).message).toContain('not the part that was asked for');
    s3.fail({ operation: 'ListObjectsV2', times: 1 }, { kind: 'html' });
    expect((await thrownBy(() => listAll(store))).message).toContain('no list');
  });

  it('lets a reader take its time', async () => {
    await waitBriefly();
    const parts: Buffer[] = [];
    for await (const part of withRetry(store, BACKOFF).read('backups/b1/rdb')) {
      // Longer than the longest silence.
      if (parts.length === 0) await new Promise((resolve) => setTimeout(resolve, 500));
      parts.push(Buffer.from(part));
    }
    expect(Buffer.concat(parts).equals(CONTENT)).toBe(true);
  });

  it('goes on with a list behind the last key', async () => {
    for (const name of ['b2', 'b3', 'b4', 'b5', 'b6', 'b7', 'b8']) await put(store, `backups/${name}/manifest`, Buffer.from(name));
    s3.fail({ operation: 'ListObjectsV2', every: 2 }, { kind: 'error', status: 503, code: 'SlowDown' });
    const found = await listAll(withRetry(store, BACKOFF));
    expect(found.map(({ key }) => key)).toEqual(['backups/b1/rdb', ...['b2', 'b3', 'b4', 'b5', 'b6', 'b7', 'b8'].map((name) => `backups/${name}/manifest`)]);
  });

  it('shows nothing that is not an object of the store', async () => {
    for (const foreign of ['.hidden', 'a b', 'x//y', 'ä']) s3.bucket.put(`${prefix}${foreign}`, Buffer.from('x'), {}, { ifNoneMatch: false, ifMatch: undefined });
    s3.bucket.put('elsewhere', Buffer.from('x'), {}, { ifNoneMatch: false, ifMatch: undefined });
    expect((await listAll(store)).map(({ key }) => key)).toEqual(['backups/b1/rdb']);
  });

  it('notices in every call that the marker is gone, or another\'s', async () => {
    const held = s3.bucket.get(marker());
    s3.bucket.objects.delete(marker());
    const calls: (() => Promise<unknown>)[] = [
      () => store.create('backups/b2/rdb'), () => store.stat('backups/b2/rdb'), () => readAll(store, 'backups/b2/rdb'), () => store.remove('backups/b1/rdb'), () => listAll(store),
      () => store.sweep({ olderThan: tomorrow(), keep: () => false }), () => store.owner(), () => store.claim('one', null),
    ];
    for (const call of calls) {
      const error = await thrownBy(call);
      expect(error.code).toBe('STORAGE_IO');
      expect(error.message).toContain('lost its marker');
    }
    expect(await store.check()).toMatchObject({ writable: false, problem: { code: 'STORAGE_IO' } });
    s3.bucket.put(marker(), Buffer.from('{"format":1,"storeId":"stranger"}'), {}, { ifNoneMatch: false, ifMatch: undefined });
    expect((await thrownBy(() => listAll(store))).message).toContain('stranger');
    s3.bucket.put(marker(), Buffer.from('{"format":2,"storeId":"later"}'), {}, { ifNoneMatch: false, ifMatch: undefined });
    expect(await thrownBy(() => listAll(store))).toMatchObject({ code: 'UNSUPPORTED_FORMAT' });
    s3.bucket.objects.set(marker(), held);
    expect(await listAll(store)).toHaveLength(1);
  });

  it('takes a bucket that is gone for a fault, not for an empty one', async () => {
    s3.fail({}, { kind: 'error', status: 404, code: 'NoSuchBucket' });
    for (const call of [() => store.stat('backups/b2/rdb'), () => readAll(store, 'backups/b1/rdb'), () => listAll(store), () => store.remove('backups/b1/rdb'), () => store.owner()]) {
      const error = await thrownBy(call);
      expect(error).toMatchObject({ code: 'STORAGE_IO', retryable: false });
      expect(error.message).toContain('NoSuchBucket');
    }
  });

  it('says what may not be read', async () => {
    s3.fail({ operation: ['GetObject', 'HeadObject'] }, GONE);
    for (const call of [() => readAll(store, 'backups/b1/rdb'), () => store.stat('backups/b1/rdb'), () => listAll(store)]) expect(await thrownBy(call)).toMatchObject({ code: 'STORAGE_PERMISSION' });
  });

  it('proves that it takes data, not more often than is needed', async () => {
    const from = s3.requests.length;
    const results = await Promise.all([store.check(), store.check(), store.check()]);
    results.push(await store.check());
    for (const health of results) expect(health).toEqual({ writable: true, freeBytes: null, problem: null });
    expect(s3.requests.slice(from).map(({ operation }) => operation)).toEqual(['GetObject', 'CreateMultipartUpload', 'UploadPart', 'AbortMultipartUpload']);
    expect(s3.bucket.objects.size).toBe(s3.bucket.list('', '', 1e6).keys.length);

    const other = await openOn(s3, `${prefix}other/`);
    s3.fail({ operation: 'UploadPart', times: 1 }, { kind: 'error', status: 507, code: 'XMinioStorageFull' });
    expect(await other.check()).toMatchObject({ writable: false, freeBytes: null, problem: { code: 'STORAGE_FULL' } });
    s3.fail({ operation: 'CreateMultipartUpload', times: 1 }, { kind: 'error', status: 503, code: 'SlowDown' });
    expect(await other.check()).toMatchObject({ writable: true });
    await other.close();
  });

  it('sweeps by the time of the last part, page by page, and probes that were cut off', async () => {
    // Nothing here is about waiting, and seven at once take their time on a busy machine.
    await store.close();
    store = await openOn(s3, prefix);
    const writers = await Promise.all(Array.from({ length: 7 }, (_, at) => store.create(`backups/s${String(at)}/rdb`)));
    for (const writer of writers) await writer.write(randomBytes(2 * PART + 1));
    await waitFor(() => [...s3.bucket.uploads.values()].every(({ parts }) => parts.size === 2));
    for (const upload of s3.bucket.uploads.values()) {
      upload.initiatedAt = new Date(Date.now() - 7_200_000);
      // One has a part that has come in just now.
      if (!upload.key.includes('/s3/')) for (const part of upload.parts.values()) part.modifiedAt = upload.initiatedAt;
    }
    const probe = `${prefix}.snapback-probe.old`;
    s3.bucket.put(probe, Buffer.from('x'), {}, { ifNoneMatch: false, ifMatch: undefined }).modifiedAt = new Date(0);
    s3.bucket.put(`${prefix}.snapback-probe.young`, Buffer.from('x'), {}, { ifNoneMatch: false, ifMatch: undefined });
    s3.bucket.createUpload('elsewhere/backups/x/rdb', {});
    const swept = await store.sweep({ olderThan: longAgo(), keep: (key) => key.startsWith('backups/s5/') });
    expect([...swept].sort()).toEqual(['s0', 's1', 's2', 's4', 's6'].map((name) => `backups/${name}/rdb`));
    expect([...s3.bucket.uploads.values()].map(({ key }) => key.replace(prefix, '')).sort()).toEqual(['backups/s3/rdb', 'backups/s5/rdb', 'elsewhere/backups/x/rdb']);
    expect([...s3.bucket.objects.keys()].filter((key) => key.includes(`${prefix}.snapback-probe`))).toEqual([`${prefix}.snapback-probe.young`]);
    await Promise.all(writers.map((writer) => writer.abort()));
  });

  it('sweeps page by page where the upload that ended a page is not taken back', async () => {
    const other = await startS3({ pageSize: 3, refuseUploadMarkers: true });
    try {
      const there = await openOn(other, '');
      const keys = Array.from({ length: 7 }, (_, at) => `backups/s${String(at)}/rdb`);
      for (const key of keys) other.bucket.createUpload(key, {});
      expect(await there.sweep({ olderThan: tomorrow(), keep: (key) => key.includes('/s2/') })).toEqual(keys.filter((key) => !key.includes('/s2/')));
      expect([...other.bucket.uploads.values()].map(({ key }) => key)).toEqual(['backups/s2/rdb']);
      await there.close();
    } finally {
      await other.stop();
    }
  });
});
