import { afterAll, beforeAll, describe } from 'vitest';
import { openS3Store } from '../../../server/engine/store/s3.js';
import { withRateLimit } from '../../../server/engine/store/rate-limit.js';
import { withRetry } from '../../../server/engine/store/retry.js';
import { withTimeout } from '../../../server/engine/store/timeout.js';
import { type Store } from '../../../server/engine/store/store.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { startS3, type S3Double, type S3DoubleOptions } from '../../kit/s3/server.js';
import { storeConformance } from './suite.js';

const quiet = (): void => undefined;
const LOG = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const PART = 64 * 1024;
const BACKOFF = { attempts: 4, firstMs: 1, maxMs: 5 };
let prefixes = 0;

const onDouble = (name: string, options: S3DoubleOptions, wrap: (store: Store) => Store = (store) => store): void => {
  describe(name, () => {
    let s3: S3Double;
    beforeAll(async () => {
      s3 = await startS3({ minPartBytes: PART, ...options });
    });
    afterAll(() => s3.stop());
    storeConformance(name, async () => {
      const place = { bucket: s3.bucketName, prefix: `p${String((prefixes += 1))}/`, endpoint: s3.endpoint, region: 'us-east-1', pathStyle: true };
      const open = async (create: boolean): Promise<Store> =>
        wrap(await openS3Store({ place, credentials: { ...s3.keys, sessionToken: null }, dial: createDial(ALLOW_EVERYTHING), log: LOG, create, backoff: BACKOFF, sizeOf: () => PART }));
      const store = await open(true);
      const opened = [store];
      return {
        store,
        tracedFrom: PART + 1,
        reopen: async () => {
          const another = await open(false);
          opened.push(another);
          return another;
        },
        dispose: async () => {
          await Promise.all(opened.map((one) => one.close()));
        },
      };
    });
  });
};

onDouble('S3', {});
onDouble('S3 in pages of three', { pageSize: 3 });
onDouble('S3 without conditional writes', { conditions: 'IGNORED' });
onDouble('S3 that refuses conditional writes', { conditions: 'REFUSED' });
onDouble('S3 under all wrappers', {}, (store) =>
  withRateLimit(withRetry(withTimeout(store, { callMs: 5_000, writeMs: 5_000, longMs: 5_000 }), BACKOFF), { writePerSecond: 1e9, readPerSecond: 1e9 }));
