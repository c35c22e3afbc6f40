import { expect } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { type Dial } from '../../../server/engine/ports.js';
import { openS3Store, type S3StoreOptions } from '../../../server/engine/store/s3.js';
import { type Store } from '../../../server/engine/store/store.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';
import { type S3Double } from '../../kit/s3/server.js';

export const PART = 64 * 1024;
/** Real pauses, too short to wait for. */
export const BACKOFF = { attempts: 4, firstMs: 1, maxMs: 5 };

export const dial: Dial = createDial(ALLOW_EVERYTHING);

export interface Told {
  level: 'debug' | 'info' | 'warn' | 'error';
  message: string;
}

export const listeningLog = (told: Told[]): S3StoreOptions['log'] => {
  const say = (level: Told['level']) => (message: string): void => void told.push({ level, message });
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
};

/** Opens a prefix of a double with parts of 64 KiB; 'create' made true where nothing else is said. */
export const openOn = (s3: S3Double, prefix: string, options: Partial<S3StoreOptions> = {}): Promise<Store> =>
  openS3Store({
    place: { bucket: s3.bucketName, prefix, endpoint: s3.endpoint, region: 'us-east-1', pathStyle: true },
    credentials: { ...s3.keys, sessionToken: s3.keys.sessionToken ?? null }, dial, log: listeningLog([]), create: true, backoff: BACKOFF, sizeOf: () => PART, ...options,
  });

export const thrownBy = async (run: () => Promise<unknown>): Promise<DomainError> => {
  const error: unknown = await run().then(() => undefined, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DomainError);
  return error as DomainError;
};

export const longAgo = (): Date => new Date(Date.now() - 3_600_000);
export const tomorrow = (): Date => new Date(Date.now() + 86_400_000);
