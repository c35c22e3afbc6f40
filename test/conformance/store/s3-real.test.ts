import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../server/config/config.js';
import { BACKOFF } from '../../../server/engine/store/backoff.js';
import { withRetry } from '../../../server/engine/store/retry.js';
import { openS3Store } from '../../../server/engine/store/s3.js';
import { type Store } from '../../../server/engine/store/store.js';
import { dial, listeningLog, tomorrow, type Told } from './s3-scene.js';
import { listAll, storeConformance } from './suite.js';

const url = process.env['S3_TEST_URL'];

if (url === undefined || url === '') {
  console.warn('\n!!! NOT RUN: the store on a real S3 server. Set S3_TEST_URL (as STORE_URL, with S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY or AWS_…) to run its conformance suite.\n');
  describe('the store on a real S3 server', () => {
    it('was not run: S3_TEST_URL is not set', () => { expect(url ?? '').toBe(''); });
  });
} else {
  const { S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN } = process.env;
  const { store: place, s3Credentials } = readConfig({ STORE_URL: url, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN });
  if (place.kind !== 'S3') throw new Error('S3_TEST_URL must begin with s3://');
  storeConformance(`S3 at ${place.endpoint ?? 'Amazon'}`, async () => {
    const prefix = `${place.prefix}conformance-${randomUUID()}/`;
    const told: Told[] = [];
    const open = async (create: boolean): Promise<Store> =>
      withRetry(await openS3Store({ place: { ...place, prefix }, credentials: s3Credentials, dial, log: listeningLog(told), create, sizeOf: () => 5 * 1024 * 1024 }), BACKOFF);
    const store = await open(true);
    for (const { message } of told) console.warn(message);
    return {
      store,
      tracedFrom: 5 * 1024 * 1024 + 1,
      reopen: () => open(false),
      dispose: async () => {
        for (const { key } of await listAll(store)) await store.remove(key);
        await store.sweep({ olderThan: tomorrow(), keep: () => false });
        await store.close();
      },
    };
  });
}
