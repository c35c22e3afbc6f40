import { afterAll, beforeAll, describe } from 'vitest';
import { type Store } from '../../../server/engine/store/store.js';
import { withRateLimit } from '../../../server/engine/store/rate-limit.js';
import { withRetry } from '../../../server/engine/store/retry.js';
import { withTimeout } from '../../../server/engine/store/timeout.js';
import { startS3, type S3Double, type S3DoubleOptions } from '../../kit/s3/server.js';
import { openOn, PART } from './s3-scene.js';
import { storeConformance } from './suite.js';

/** With a quarter of all requests failing, four attempts would not be enough now and then. */
const PATIENT = { attempts: 12, firstMs: 1, maxMs: 5 };
let prefixes = 0;

/** The suite on a double of its own. */
export const onDouble = (name: string, options: S3DoubleOptions, { wrap = (store) => store, trouble }: { wrap?: (store: Store) => Store; trouble?: (s3: S3Double) => void } = {}): void => {
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

export const underAll = (store: Store): Store =>
  withRateLimit(withRetry(withTimeout(store, { callMs: 10_000, writeMs: 10_000, longMs: 10_000 }), PATIENT), { writePerSecond: 1e9, readPerSecond: 1e9 });
