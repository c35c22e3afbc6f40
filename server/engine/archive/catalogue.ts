import { type Store, type StoredObject } from '../store/store.js';
import { BACKUPS_PREFIX, archivePrefix, isManifestObject, manifestKey, parseArchiveKey } from './layout.js';

/** What lies in a store under one backup's id. */
export interface ArchiveEntry {
  backupId: string;
  /** Whether its manifest is there. Without it these are leftovers of a write or a removal that did not end. */
  sealed: boolean;
  /** Bytes of all its objects. */
  size: bigint;
  /** When the youngest of its objects was written. */
  modifiedAt: Date;
  keys: string[];
}

/** All archives in ascending order of their ids, one after the other: the store may hold many. Says nothing about their content. */
export async function* listArchives(store: Store, options: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<ArchiveEntry, void, undefined> {
  let entry: ArchiveEntry | undefined;
  for await (const object of store.list(BACKUPS_PREFIX, options)) {
    const parsed = parseArchiveKey(object.key);
    if (parsed === undefined) continue;
    if (entry !== undefined && entry.backupId !== parsed.backupId) {
      yield entry;
      entry = undefined;
    }
    entry = extend(entry, parsed, object);
  }
  if (entry !== undefined) yield entry;
}

const extend = (entry: ArchiveEntry | undefined, { backupId, object }: { backupId: string; object: string }, stored: StoredObject): ArchiveEntry => ({
  backupId,
  sealed: (entry?.sealed ?? false) || isManifestObject(object),
  size: (entry?.size ?? 0n) + stored.size,
  modifiedAt: entry !== undefined && entry.modifiedAt > stored.modifiedAt ? entry.modifiedAt : stored.modifiedAt,
  keys: [...(entry?.keys ?? []), stored.key],
});

/**
 * Removes an archive: the manifest first, durably, so that what is half removed is no archive any more; then the rest. Can be
 * repeated after any interruption, and clears what an unsealed attempt left (temporaries are the sweep's).
 */
export const removeArchive = async (store: Store, backupId: string, options: { signal?: AbortSignal | undefined } = {}): Promise<void> => {
  await store.remove(manifestKey(backupId));
  const keys: string[] = [];
  for await (const object of store.list(archivePrefix(backupId), options)) keys.push(object.key);
  for (const key of keys) await store.remove(key);
};

/**
 * Removes what an unsealed attempt left. An archive that has been sealed meanwhile is left as it is (false): the manifest is looked for
 * right before, and is not among what is removed.
 */
export const removeUnsealed = async (store: Store, backupId: string, options: { signal?: AbortSignal | undefined } = {}): Promise<boolean> => {
  const keys: string[] = [];
  for await (const object of store.list(archivePrefix(backupId), options)) keys.push(object.key);
  if (await store.stat(manifestKey(backupId)) !== null) return false;
  for (const key of keys.filter((one) => one !== manifestKey(backupId))) await store.remove(key);
  return true;
};
