import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { withRateLimit } from '../../../server/engine/store/rate-limit.js';
import { withRetry } from '../../../server/engine/store/retry.js';
import { type Store } from '../../../server/engine/store/store.js';
import { withTimeout } from '../../../server/engine/store/timeout.js';
import { startS3, type S3Double, type S3DoubleOptions } from '../../kit/s3/server.js';
import { openOn, PART } from './s3-scene.js';
import { storeConformance } from './suite.js';

/** With a quarter of all requests failing, four attempts would not be enough now and then. */
const PATIENT = { attempts: 12, firstMs: 1, maxMs: 5 };
let prefixes = 0;

const onDouble = (name: string, options: S3DoubleOptions, { wrap = (store) => store, trouble }: { wrap?: (store: Store) => Store; trouble?: (s3: S3Double) => void } = {}): void => {
  describe(name, () => {
    let s3: S3Double;
    beforeAll(async () => {
      s3 = await startS3({ minPartBytes: PART, ...options });
      trouble?.(s3);
    });
    afterAll(() => s3.stop());
    storeConformance(name, async () => {
      const prefix = `p${String((prefixes += 1))}/`;
      const opened: Store[] = [];
      const open = async (create: boolean): Promise<Store> => {
        const store = wrap(await openOn(s3, prefix, { create, backoff: PATIENT }));
        opened.push(store);
        return store;
      };
      return {
        store: await open(true),
        tracedFrom: PART + 1,
        reopen: () => open(false),
        dispose: async () => {
          await Promise.all(opened.map((store) => store.close()));
        },
      };
    });
  });
};

const underAll = (store: Store): Store =>
  withRateLimit(withRetry(withTimeout(store, { callMs: 10_000, writeMs: 10_000, longMs: 10_000 }), PATIENT), { writePerSecond: 1e9, readPerSecond: 1e9 });

onDouble('S3', {});
onDouble('S3 without conditional writes, that lists uploads by exact keys only', { conditions: 'IGNORED', listsUploads: 'BY_KEY' });
onDouble('S3 in short pages and with trouble all the time, under all wrappers', { pageSize: 3 }, {
  wrap: underAll,
  trouble: (s3) => {
    s3.fail({ every: 7 }, { kind: 'error', status: 503, code: 'SlowDown' });
    s3.fail({ every: 11 }, { kind: 'cut' });
    s3.fail({ every: 17, operation: ['PutObject', 'UploadPart', 'CompleteMultipartUpload', 'DeleteObject', 'AbortMultipartUpload'] }, { kind: 'cut answer' });
    s3.fail({ every: 5, operation: 'GetObject' }, { kind: 'cut body', bytes: 20_000 });
  },
});

storeConformance('file system under all wrappers', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'snapback-store-'));
  const open = async (create: boolean): Promise<Store> => underAll(await openFilesystemStore({ root: join(folder, 'store'), create }));
  return { store: await open(true), tracedFrom: 1, reopen: () => open(false), dispose: () => rm(folder, { recursive: true, force: true }) };
});
