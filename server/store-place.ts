import { type Config } from './config/config.js';
import { type Dial } from './engine/ports.js';
import { BACKOFF } from './engine/store/backoff.js';
import { openFilesystemStore } from './engine/store/filesystem.js';
import { readOnly } from './engine/store/read-only.js';
import { withRateLimit } from './engine/store/rate-limit.js';
import { withRetry } from './engine/store/retry.js';
import { openS3Store } from './engine/store/s3.js';
import { type Store } from './engine/store/store.js';
import { withTimeout } from './engine/store/timeout.js';
import { type Logger } from './telemetry/logger.js';

export interface OpenStoreOptions {
  /** Make it a store where it is none yet; `overContent`: also where archives lie already. Without it a missing marker is STORAGE_IO. */
  create: boolean | 'overContent';
  /** Whose archives a store made now will hold. */
  catalogueId?: string | undefined;
  /** Only to be read from: rights to write are neither needed nor looked for. */
  readOnly?: boolean | undefined;
}

export type StoreSettings = Pick<Config, 'store' | 's3Credentials' | 'storeLimits'>;

/** A call is more than one request, a write waits for those before it, and completing a large object is work for the server. */
const timeoutsFor = (silenceMs: number) => ({ callMs: silenceMs * 2, writeMs: silenceMs * 10, longMs: silenceMs * 15 });

/** Opens the store that STORE_URL names. To be closed by whoever opened it. */
export const openStoreAt = async (settings: StoreSettings, options: OpenStoreOptions, deps: { dial: Dial; log: Logger }): Promise<Store> => {
  const store = await open(settings, options, deps);
  return options.readOnly ? readOnly(store) : store;
};

const open = async ({ store: place, s3Credentials, storeLimits }: StoreSettings, options: OpenStoreOptions, { dial, log }: { dial: Dial; log: Logger }): Promise<Store> => {
  const { writeBytesPerSecond, readBytesPerSecond, silenceMs } = storeLimits;
  const rates = { writePerSecond: writeBytesPerSecond, readPerSecond: readBytesPerSecond };
  if (place.kind === 'FILE_SYSTEM') return withRateLimit(await openFilesystemStore({ root: place.root, ...options }), rates);
  for (const secret of [s3Credentials?.secretAccessKey, s3Credentials?.sessionToken]) if (secret) log.hide(secret);
  const store = await openS3Store({ place, credentials: s3Credentials, dial, log, idleMs: silenceMs, ...options });
  return withRateLimit(withRetry(withTimeout(store, timeoutsFor(silenceMs)), BACKOFF), rates);
};
