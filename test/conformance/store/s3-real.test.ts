import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BACKOFF } from '../../../server/engine/store/backoff.js';
import { withRetry } from '../../../server/engine/store/retry.js';
import { openS3Store, type S3StoreOptions } from '../../../server/engine/store/s3.js';
import { type Store } from '../../../server/engine/store/store.js';
import { realS3, type RealS3 } from '../../kit/s3/real.js';
import { dial, listeningLog, thrownBy, tomorrow, type Told } from './s3-scene.js';
import { listAll, readAll, storeConformance } from './suite.js';

const url = process.env['S3_TEST_URL'] ?? '';
/** What a server of ours is known to lack; of others only the one who runs it knows. */
const lacks = process.env['S3_TEST_LACKS'];
/** Servers refuse smaller ones. */
const PART = 5 * 1024 * 1024;
/** More than the thousand of a page. */
const MANY = 1_003;

if (url === '') {
  console.warn('\n!!! NOT RUN: the store on a real S3 server. Set S3_TEST_URL (as STORE_URL, with S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY or AWS_…), or use `npm run test:s3`.\n');
  describe('the store on a real S3 server', () => {
    it('was not run: S3_TEST_URL is not set', () => { expect(url).toBe(''); });
  });
} else {
  const openOn = ({ place, credentials }: RealS3, options: Partial<S3StoreOptions> = {}): Promise<Store> =>
    openS3Store({ place, credentials, dial, log: listeningLog([]), create: true, sizeOf: () => PART, ...options });

  storeConformance('a real S3 server', async () => {
    const real = realS3(url, 'conformance');
    const opened: Store[] = [];
    const open = async (create: boolean): Promise<Store> => {
      const store = withRetry(await openOn(real, { create }), BACKOFF);
      opened.push(store);
      return store;
    };
    return {
      store: await open(true),
      tracedFrom: PART + 1,
      reopen: () => open(false),
      dispose: async () => {
        // Finds uploads that a list of all would not show.
        await opened[0]?.sweep({ olderThan: tomorrow(), keep: () => false });
        await Promise.all(opened.map((store) => store.close()));
        await real.clear();
      },
    };
  });

  describe('a real S3 server', () => {
    let real: RealS3;
    beforeEach(() => {
      real = realS3(url, 'store');
    });
    afterEach(() => real.clear());

    it('is opened without leaving anything but the marker, and whatever it lacks is told', async () => {
      const told: Told[] = [];
      const store = await openOn(real, { log: listeningLog(told) });
      if (lacks === undefined) for (const { message } of told) console.warn(message);
      else expect(told).toEqual(lacks.includes('conditional') ? [{ level: 'warn', message: expect.stringContaining('conditional writes') as string }] : []);
      expect(await store.check()).toMatchObject({ writable: true, problem: null });
      await store.close();
      expect(await real.content()).toEqual({ objects: ['.snapback-store'], uploads: [] });
    });

    it('keeps an object of several parts, which takes the place of none', async () => {
      const store = await openOn(real);
      const content = randomBytes(2 * PART + 12_345);
      const [first, late] = await Promise.all([store.create('backups/b1/rdb'), store.create('backups/b1/rdb')]);
      for (const writer of [first, late]) {
        for (let at = 0; at < content.length; at += 1_000_003) await writer.write(content.subarray(at, at + 1_000_003));
      }
      await first.commit();
      expect(await thrownBy(() => late.commit())).toMatchObject({ code: 'CONFLICT' });
      expect((await readAll(store, 'backups/b1/rdb')).equals(content)).toBe(true);
      const [offset, length] = [PART - 7, 20];
      expect((await readAll(store, 'backups/b1/rdb', { offset: BigInt(offset), length: BigInt(length) })).equals(content.subarray(offset, offset + length))).toBe(true);
      const racing = await Promise.all(Array.from({ length: 4 }, () => store.create('backups/b2/rdb')));
      for (const writer of racing) await writer.write(content.subarray(0, PART + 1));
      const outcomes = await Promise.allSettled(racing.map((writer) => writer.commit()));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'CONFLICT' });
      await store.close();
      expect(await real.content()).toEqual({ objects: ['.snapback-store', 'backups/b1/rdb', 'backups/b2/rdb'], uploads: [] });
    });

    it('lists all there is, and all that is unfinished, page by page', async () => {
      const store = await openOn(real);
      const calls = await real.calls();
      const keys = Array.from({ length: MANY }, (_, at) => `backups/${String(at).padStart(5, '0')}/manifest`);
      const ids: string[] = [];
      const forEach = async (run: (key: string, at: number) => Promise<unknown>): Promise<void> => {
        for (let from = 0; from < MANY; from += 20) await Promise.all(keys.slice(from, from + 20).map((key, at) => run(key, from + at)));
      };
      await forEach((key) => calls.put(key, Buffer.from('x'), { writeId: randomUUID(), onlyIfAbsent: false }));
      await forEach(async (key, at) => (ids[at] = await calls.createUpload(key, randomUUID())));
      const { uploads } = await real.content();
      // Some servers find unfinished uploads by whole keys only, so they are not left to `clear`.
      await forEach((key, at) => calls.abortUpload(key, ids[at] ?? ''));
      if (uploads.length > 0 || lacks !== undefined) expect(uploads).toEqual(keys);
      expect(await real.content()).toEqual({ objects: ['.snapback-store', ...keys], uploads: [] });
      expect((await listAll(store)).map(({ key }) => key)).toEqual(keys);
      const behind: string[] = [];
      for await (const { key } of store.list('backups/', { after: keys[1] })) behind.push(key);
      expect(behind).toEqual(keys.slice(2));
      calls.close();
      await store.close();
    }, 300_000);

    it('says what is wrong with credentials, and with a bucket that is not there', async () => {
      const wrong = { accessKeyId: real.credentials?.accessKeyId ?? 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'canary-secret', sessionToken: null };
      if (lacks?.includes('credentials') === true) {
        await (await openOn(real, { credentials: wrong })).close();
        return;
      }
      const denied = await thrownBy(() => openOn(real, { credentials: wrong }));
      expect(denied).toMatchObject({ code: 'STORAGE_PERMISSION', retryable: false });
      expect(JSON.stringify([denied.message, denied.hint, denied.details])).not.toContain('canary');
      const nowhere = await thrownBy(() => openOn(real, { place: { ...real.place, bucket: `snapback-${randomUUID()}` } }));
      // Amazon tells those without a right to other buckets no more.
      expect(['STORAGE_IO', 'STORAGE_PERMISSION']).toContain(nowhere.code);
      expect(nowhere.message).toMatch(/NoSuchBucket|AccessDenied/);
    });
  });
}
