import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Store } from '../../../server/engine/store/store.js';
import { startS3, type S3Double } from '../../kit/s3/server.js';
import { type S3Effect, type S3Match } from '../../kit/s3/faults.js';
import { listAll, put, readAll } from './suite.js';
import { BACKOFF, openOn, PART, thrownBy, tomorrow } from './s3-scene.js';

const KEY = 'backups/b1/rdb';
/** Five parts. */
const LARGE = randomBytes(4 * PART + 1000);
const SMALL = randomBytes(1000);

const error = (status: number, code: string, headers?: Record<string, string>): S3Effect => ({ kind: 'error', status, code, ...(headers ? { headers } : {}) });
const CUT: S3Effect = { kind: 'cut' };

describe('writing to S3', () => {
  let s3: S3Double;
  let store: Store;
  let prefix: string;
  let opened = 0;
  beforeAll(async () => {
    s3 = await startS3({ minPartBytes: PART });
  });
  afterAll(() => s3.stop());
  beforeEach(async () => {
    prefix = `w${String((opened += 1))}/`;
    store = await openOn(s3, prefix);
  });
  afterEach(async () => {
    s3.heal();
    await store.close();
    s3.bucket.uploads.clear();
  });

  /** Only where a server is silent: what is slow on a busy machine would be given up as well, and counted with what was meant to be. */
  const waitBriefly = async (attempts: number): Promise<void> => {
    await store.close();
    store = await openOn(s3, prefix, { idleMs: 500, backoff: { ...BACKOFF, attempts } });
  };
  const object = () => s3.bucket.objects.get(`${prefix}${KEY}`);
  const asked = (operation: string): number => s3.requests.filter((request) => request.operation === operation && request.key === `${prefix}${KEY}`).length;

  describe('ends with', () => {
    const lasting: [string, string, boolean, Buffer, S3Match, S3Effect][] = [
      ['500 at the beginning', 'STORAGE_IO', true, LARGE, { operation: 'CreateMultipartUpload' }, error(500, 'InternalError')],
      ['503 at a part', 'STORAGE_IO', true, LARGE, { operation: 'UploadPart', partNumber: 2 }, error(503, 'SlowDown')],
      ['503 at the completion', 'STORAGE_IO', true, LARGE, { operation: 'CompleteMultipartUpload' }, error(503, 'ServiceUnavailable')],
      ['500 at a small object', 'STORAGE_IO', true, SMALL, { operation: 'PutObject' }, error(500, 'InternalError')],
      ['silence at a part', 'STORAGE_IO', true, LARGE, { operation: 'UploadPart', partNumber: 4 }, { kind: 'silent' }],
      ['silence at a small object', 'STORAGE_IO', true, SMALL, { operation: 'PutObject' }, { kind: 'silent' }],
      ['a cut at part 3', 'STORAGE_IO', true, LARGE, { operation: 'UploadPart', partNumber: 3 }, CUT],
      ['a cut at the completion', 'STORAGE_IO', true, LARGE, { operation: 'CompleteMultipartUpload' }, CUT],
      ['200 with an error in it at the completion', 'STORAGE_IO', true, LARGE, { operation: 'CompleteMultipartUpload' }, { kind: 'error in a 200', code: 'InternalError' }],
      ['200 with an error in it at a part', 'STORAGE_IO', true, LARGE, { operation: 'UploadPart', partNumber: 5 }, { kind: 'error in a 200', code: 'InternalError' }],
      ['200 with an error in it at a small object', 'STORAGE_IO', true, SMALL, { operation: 'PutObject' }, { kind: 'error in a 200', code: 'InternalError' }],
      ['a page of a proxy at the beginning', 'STORAGE_IO', true, LARGE, { operation: 'CreateMultipartUpload' }, { kind: 'html' }],
      ['a page of a proxy at a part', 'STORAGE_IO', true, LARGE, { operation: 'UploadPart' }, { kind: 'html' }],
      ['a page of a proxy at the completion', 'STORAGE_IO', true, LARGE, { operation: 'CompleteMultipartUpload' }, { kind: 'html' }],
      ['a page of a proxy at a small object', 'STORAGE_IO', true, SMALL, { operation: 'PutObject' }, { kind: 'html' }],
      ['403 at a part', 'STORAGE_PERMISSION', false, LARGE, { operation: 'UploadPart', partNumber: 2 }, error(403, 'AccessDenied')],
      ['403 at the completion', 'STORAGE_PERMISSION', false, LARGE, { operation: 'CompleteMultipartUpload' }, error(403, 'AccessDenied')],
      ['403 at a small object', 'STORAGE_PERMISSION', false, SMALL, { operation: 'PutObject' }, error(403, 'AccessDenied')],
      ['credentials that expire', 'STORAGE_PERMISSION', false, LARGE, { operation: 'UploadPart', partNumber: 3 }, error(400, 'ExpiredToken')],
      ['507 at a part', 'STORAGE_FULL', false, LARGE, { operation: 'UploadPart', partNumber: 2 }, error(507, 'InsufficientStorage')],
      ['a quota, told as 403', 'STORAGE_FULL', false, SMALL, { operation: 'PutObject' }, error(403, 'QuotaExceeded')],
      ['checksums refused', 'STORAGE_IO', false, LARGE, { operation: 'UploadPart', partNumber: 1 }, error(501, 'NotImplemented')],
      ['a bucket that is gone', 'STORAGE_IO', false, LARGE, { operation: 'UploadPart', partNumber: 1 }, error(404, 'NoSuchBucket')],
    ];
    for (const [name, code, retryable, content, match, effect] of lasting) {
      it(`${name}: ${code}, final, nothing to be seen, nothing left`, async () => {
        if (effect.kind === 'silent') await waitBriefly(2);
        s3.fail(match, effect);
        const writer = await store.create(KEY);
        const thrown = await thrownBy(async () => {
          for (let at = 0; at < content.length; at += 10_000) await writer.write(content.subarray(at, at + 10_000));
          await writer.commit();
        });
        expect(thrown).toMatchObject({ code, retryable });
        expect(thrown.message).toContain(KEY);
        expect(thrown.message).toContain(s3.endpoint);
        expect(thrown.hint).toBeDefined();
        expect((await thrownBy(() => writer.commit())).message).toBe(thrown.message);
        await writer.abort();
        expect(object()).toBeUndefined();
        expect(s3.bucket.uploads.size).toBe(0);
        expect(await store.stat(KEY)).toBeNull();
        expect(await listAll(store)).toEqual([]);
      });
    }

    it.each<[string, S3Match['operation']]>([['a part', 'UploadPart'], ['the completion', 'CompleteMultipartUpload']])('a server that is gone at %s: one sweep takes what it kept', async (_what, operation) => {
      s3.fail({ operation }, CUT);
      s3.fail({ operation: 'AbortMultipartUpload' }, CUT);
      const writer = await store.create(KEY);
      expect((await thrownBy(async () => {
        await writer.write(LARGE);
        await writer.commit();
      })).message).toContain('a later sweep will');
      expect(s3.bucket.uploads.size).toBe(1);
      s3.heal();
      expect(await listAll(store)).toEqual([]);
      expect(await store.sweep({ olderThan: tomorrow(), keep: () => false })).toEqual([KEY]);
      expect(s3.bucket.uploads.size).toBe(0);
      expect(await listAll(store)).toEqual([]);
    });
  });

  describe('gets over', () => {
    const passing: [string, Buffer, S3Match, S3Effect][] = [
      ['500 at the beginning', LARGE, { operation: 'CreateMultipartUpload' }, error(500, 'InternalError')],
      ['503 at a part', LARGE, { operation: 'UploadPart', partNumber: 2 }, error(503, 'SlowDown', { 'retry-after': '0' })],
      ['429 at a part', LARGE, { operation: 'UploadPart', partNumber: 2 }, error(429, 'TooManyRequests')],
      ['a cut at a part', LARGE, { operation: 'UploadPart', partNumber: 3 }, CUT],
      ['a part whose answer is lost', LARGE, { operation: 'UploadPart', partNumber: 3 }, { kind: 'cut answer' }],
      ['silence at a part', LARGE, { operation: 'UploadPart', partNumber: 4 }, { kind: 'silent' }],
      ['500 at the completion', LARGE, { operation: 'CompleteMultipartUpload' }, error(500, 'InternalError')],
      ['an error inside a 200 at the completion', LARGE, { operation: 'CompleteMultipartUpload' }, { kind: 'error in a 200', code: 'InternalError' }],
      ['a conflict at the completion', LARGE, { operation: 'CompleteMultipartUpload' }, error(409, 'ConditionalRequestConflict')],
      ['a cut at the completion', LARGE, { operation: 'CompleteMultipartUpload' }, CUT],
      ['a cut at a small object', SMALL, { operation: 'PutObject' }, CUT],
      ['a wrong clock, whose time the answer tells', SMALL, { operation: 'PutObject' }, error(403, 'RequestTimeTooSkewed')],
      ['looking that fails after the completion', LARGE, { operation: 'HeadObject', after: 1 }, error(500, 'InternalError')],
    ];
    for (const [name, content, match, effect] of passing) {
      it(`${name}, twice`, async () => {
        if (effect.kind === 'silent') await waitBriefly(BACKOFF.attempts);
        const fault = s3.fail({ ...match, times: 2 }, effect);
        await put(store, KEY, content);
        expect(fault.met).toBe(2);
        expect((await readAll(store, KEY)).equals(content)).toBe(true);
        expect(s3.bucket.uploads.size).toBe(0);
      });
    }

    it('a completion whose answer is lost: it looks, and does not complete again', async () => {
      s3.fail({ operation: 'CompleteMultipartUpload', times: 1 }, { kind: 'cut answer' });
      await put(store, KEY, LARGE);
      expect(object()?.body.equals(LARGE)).toBe(true);
      expect(asked('CompleteMultipartUpload')).toBe(1);
    });

    it('a completion whose answer is lost while looking fails as long as it is tried: what is settled last counts', async () => {
      s3.fail({ operation: 'CompleteMultipartUpload' }, { kind: 'cut answer' });
      // The first look is that of `create`; three more belong to the attempts.
      s3.fail({ operation: 'HeadObject', after: 1, times: 3 }, CUT);
      await put(store, KEY, LARGE);
      expect(object()?.body.equals(LARGE)).toBe(true);
      expect(s3.bucket.uploads.size).toBe(0);
    });

    it('a small object whose answer is lost', async () => {
      s3.fail({ operation: 'PutObject', times: 1 }, { kind: 'cut answer' });
      await put(store, KEY, SMALL);
      expect(object()?.body.equals(SMALL)).toBe(true);
      expect(asked('PutObject')).toBe(1);
    });

    it('a small object whose answer is lost, and looking with it', async () => {
      s3.fail({ operation: 'PutObject' }, { kind: 'cut answer' });
      s3.fail({ operation: 'HeadObject', after: 1, times: 3 }, CUT);
      await put(store, KEY, SMALL);
      expect(object()?.body.equals(SMALL)).toBe(true);
    });
  });

  it('tells its own object from another\'s when an answer was lost', async () => {
    const writer = await store.create(KEY);
    await writer.write(SMALL);
    s3.fail({ operation: 'PutObject', times: 1 }, CUT);
    s3.bucket.put(`${prefix}${KEY}`, Buffer.from('another\'s'), { 'snapback-write': 'another' }, { ifNoneMatch: true, ifMatch: undefined });
    expect(await thrownBy(() => writer.commit())).toMatchObject({ code: 'CONFLICT' });
    expect(object()?.body.toString()).toBe('another\'s');
  });

  it('leaves open only what nobody can be asked about, and then it is whole', async () => {
    s3.fail({ operation: 'CompleteMultipartUpload' }, { kind: 'cut answer' });
    s3.fail({ operation: ['HeadObject', 'AbortMultipartUpload'] , after: 1 }, CUT);
    const writer = await store.create(KEY);
    await writer.write(LARGE);
    expect(await thrownBy(() => writer.commit())).toMatchObject({ code: 'STORAGE_IO', retryable: true });
    s3.heal();
    expect((await readAll(store, KEY)).equals(LARGE)).toBe(true);
  });

  it('takes parts of equal size side by side, a few at a time, and one PutObject for what fits into one', async () => {
    s3.underWay.most = 0;
    s3.fail({ operation: 'UploadPart' }, { kind: 'slow', ms: 20 });
    const content = randomBytes(20 * PART);
    const writer = await store.create(KEY);
    for (let at = 0; at < content.length; at += 7_001) await writer.write(content.subarray(at, at + 7_001));
    await writer.commit();
    expect(object()?.body.equals(content)).toBe(true);
    expect([asked('UploadPart'), asked('PutObject')]).toEqual([20, 0]);
    expect(s3.underWay.most).toBeGreaterThan(1);
    expect(s3.underWay.most).toBeLessThanOrEqual(4);
    await put(store, 'backups/b2/rdb', randomBytes(PART));
    expect(s3.requests.filter(({ key, operation }) => key === `${prefix}backups/b2/rdb` && operation !== 'HeadObject').map(({ operation }) => operation)).toEqual(['PutObject']);
  });

  it('ends requests under way when it is told to, and discards the upload', async () => {
    const stop = new AbortController();
    const writer = await store.create(KEY, { signal: stop.signal });
    await writer.write(LARGE.subarray(0, 2 * PART));
    s3.fail({ operation: 'UploadPart' }, { kind: 'slow', ms: 100 });
    const writing = writer.write(LARGE).then(() => writer.commit());
    stop.abort();
    expect(await thrownBy(() => writing)).toMatchObject({ code: 'INTERRUPTED' });
    expect(s3.bucket.uploads.size).toBe(0);
    expect(object()).toBeUndefined();
  });
});

describe('writing to an S3 server with conditions for single requests only', () => {
  it('looks before it completes', async () => {
    const s3 = await startS3({ minPartBytes: PART, conditions: 'HELD_FOR_PUTS' });
    try {
      const store = await openOn(s3, '');
      const late = await store.create(KEY);
      await late.write(LARGE);
      await put(store, KEY, SMALL);
      expect(await thrownBy(() => late.commit())).toMatchObject({ code: 'CONFLICT' });
      const writers = await Promise.all([1, 2, 3].map(() => store.create('backups/b2/rdb')));
      await Promise.all(writers.map((writer) => writer.write(LARGE)));
      const outcomes = await Promise.allSettled(writers.map((writer) => writer.commit()));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect(s3.bucket.uploads.size).toBe(0);
      await store.close();
    } finally {
      await s3.stop();
    }
  });
});
