import { resolve } from 'node:path';
import { type SettingsReader } from './reader.js';
import { s3Credentials, storePlace, type S3Credentials, type StorePlace } from './store.js';

/** Where archives are, and what opens them. */
export interface ArchiveSettings {
  readonly store: StorePlace;
  readonly s3Credentials: S3Credentials;
  readonly storeLimits: {
    /** Longest silence of an S3 store in the middle of a request. */
    readonly silenceMs: number;
    /** Of this process; null: as fast as it goes. */
    readonly writeBytesPerSecond: number | null;
    readonly readBytesPerSecond: number | null;
  };
  /** How new archives are compressed. */
  readonly compression: 'lz4' | 'brotli' | 'none';
  /** Keys of 64 hexadecimal digits, separated by commas, the current one first; null: the file. */
  readonly masterKey: string | null;
  readonly masterKeyFile: string;
}

const mibPerSecond = (settings: SettingsReader, name: string): number | null =>
  settings.text(name) === undefined ? null : settings.integer(name, 1, 1, 100_000) * 1024 * 1024;

export const archiveSettings = (settings: SettingsReader, dataDir: string): ArchiveSettings => {
  const store = storePlace(settings, dataDir);
  const masterKey = settings.text('MASTER_KEY') ?? null;
  if (masterKey !== null && !/^[0-9a-f]{64}(?:\s*,\s*[0-9a-f]{64})*$/i.test(masterKey)) settings.wrong('MASTER_KEY', 'must be 64 hexadecimal digits, or several such keys separated by commas', null);
  return {
    store,
    s3Credentials: s3Credentials(settings, store),
    storeLimits: {
      silenceMs: settings.seconds('STORE_TIMEOUT_SECONDS', 30_000, 1, 600),
      writeBytesPerSecond: mibPerSecond(settings, 'STORE_WRITE_MIB_PER_SECOND'),
      readBytesPerSecond: mibPerSecond(settings, 'STORE_READ_MIB_PER_SECOND'),
    },
    compression: settings.choice('COMPRESSION', ['lz4', 'brotli', 'none'], 'lz4'),
    masterKey,
    masterKeyFile: resolve(settings.text('MASTER_KEY_FILE') ?? `${dataDir}/master.key`),
  };
};
