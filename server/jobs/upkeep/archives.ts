import {
  listArchives, parseArchiveKey, readManifest, removeArchive, removeUnsealed, rotateBackupKey, type ArchiveEntry, type KeyRing, type Manifest,
} from '../../engine/archive/archive.js';
import { archivePrefix, attemptSuffix, manifestKey } from '../../engine/archive/layout.js';
import { type Store } from '../../engine/store/store.js';
import { verifyArchive } from '../../engine/verify.js';
import { type ArchiveRef } from '../../services/ports.js';

/** The archives as the upkeep handles them. */
export interface UpkeepArchives {
  list(signal: AbortSignal): AsyncIterable<ArchiveEntry>;
  isSealed(backupId: string): Promise<boolean>;
  manifest(backupId: string, signal: AbortSignal): Promise<Manifest>;
  /** A verification of the content. CORRUPT, TRUNCATED or NOT_FOUND when it is not what the manifest says, or not what is known of it. */
  verify(archive: ArchiveRef, signal: AbortSignal): Promise<Manifest>;
  /** Manifest first; may be repeated. */
  remove(backupId: string): Promise<void>;
  /** What an unsealed attempt left; false when it has been sealed meanwhile. */
  removeUnsealed(backupId: string): Promise<boolean>;
  /** Data and keys of attempts that were cut off, beside those of the one that the manifest names. Returns how many objects. */
  removeStrays(backupId: string, signal: AbortSignal): Promise<number>;
  /** Puts an archive's key under the current master key alone; false when it was. */
  rekey(backupId: string, signal: AbortSignal): Promise<boolean>;
  /** Files under construction that were last written to before `olderThan`, but for those of backups that are kept. Returns their keys. */
  sweep(olderThan: Date, isKept: (backupId: string) => boolean): Promise<string[]>;
}

export const createUpkeepArchives = (store: Store, keys: KeyRing): UpkeepArchives => ({
  list: (signal) => listArchives(store, { signal }),
  isSealed: async (backupId) => (await store.stat(manifestKey(backupId))) !== null,
  manifest: (backupId, signal) => readManifest(store, backupId, { keys, signal }),
  verify: (archive, signal) => verifyArchive({ ...archive, level: 'CONTENT' }, { store, keys }, signal, () => undefined),
  remove: (backupId) => removeArchive(store, backupId),
  rekey: (backupId, signal) => rotateBackupKey(store, keys, backupId, signal),
  removeUnsealed: (backupId) => removeUnsealed(store, backupId),
  async removeStrays(backupId, signal) {
    const { artifacts } = await readManifest(store, backupId, { keys, signal });
    const named = new Set(artifacts.map(({ object }) => attemptSuffix(object)));
    const strays: string[] = [];
    for await (const { key } of store.list(archivePrefix(backupId), { signal })) {
      const attempt = attemptSuffix(parseArchiveKey(key)?.object ?? '');
      if (attempt !== undefined && !named.has(attempt)) strays.push(key);
    }
    for (const key of strays) await store.remove(key);
    return strays.length;
  },
  sweep: (olderThan, isKept) =>
    store.sweep({
      olderThan,
      keep: (key) => {
        const parsed = parseArchiveKey(key);
        return parsed !== undefined && isKept(parsed.backupId);
      },
    }),
});
