import { type Config } from './config/config.js';
import { DomainError } from './domain/errors.js';
import { type Dial, type Log } from './engine/ports.js';
import { openFilesystemStore } from './engine/store/filesystem.js';
import { type Store } from './engine/store/store.js';

export interface OpenStoreOptions {
  /** Make it a store where it is none yet; `overContent`: also where archives lie already. Without it a missing marker is STORAGE_IO. */
  create: boolean | 'overContent';
  /** Whose archives a store made now will hold. */
  catalogueId?: string | undefined;
}

/** Opens the store that STORE_URL names. */
export const openStoreAt = ({ store }: Pick<Config, 'store' | 's3Credentials'>, options: OpenStoreOptions, _deps: { dial: Dial; log: Log }): Promise<Store> => {
  if (store.kind === 'FILE_SYSTEM') return openFilesystemStore({ root: store.root, ...options });
  throw new DomainError('ENGINE_UNSUPPORTED', 'S3 is not there yet.');
};
