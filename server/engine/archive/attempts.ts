import { type Store } from '../store/store.js';
import { archivePrefix, attemptOf, manifestKey, parseArchiveKey } from './layout.js';
import { readWhole } from './whole-object.js';

/*
 * What one attempt at a backup may do to the objects of the others. Whoever calls may have slept since it was told that the work is its own,
 * while the next attempt did all of it: so each takes away only what attempts up to its own have written.
 */

/** A manifest has a few kilobytes; of what is larger the beginning says enough. */
const MANIFEST_BYTES = 4 * 1024 * 1024;

/** Which attempt sealed a manifest; 0 when that cannot be made out, so that anybody may take it away. */
const sealedBy = (manifest: Buffer): number => {
  try {
    const { artifacts } = JSON.parse(manifest.toString('utf8')) as { artifacts?: { object?: unknown }[] };
    const object = artifacts?.[0]?.object;
    return typeof object === 'string' ? (attemptOf(object) ?? 0) : 0;
  } catch (error) {
    if (error instanceof SyntaxError) return 0;
    throw error;
  }
};

/** Removes the manifest, so that there is no archive. False when a later attempt than `attempt` has sealed it: then it stays. */
export const removeManifestOf = async (store: Store, backupId: string, attempt: number): Promise<boolean> => {
  const key = manifestKey(backupId);
  const manifest = await readWhole(store, key, MANIFEST_BYTES);
  if (manifest !== null && sealedBy(manifest) > attempt) return false;
  await store.remove(key);
  return true;
};

/** Clears what attempts up to `attempt` have left, a manifest first; nothing when a later one has sealed. Temporaries are the sweep's. */
export const removeAttempts = async (store: Store, backupId: string, attempt: number): Promise<void> => {
  if (!(await removeManifestOf(store, backupId, attempt))) return;
  const keys: string[] = [];
  for await (const { key } of store.list(archivePrefix(backupId))) {
    if ((attemptOf(parseArchiveKey(key)?.object ?? '') ?? Infinity) <= attempt) keys.push(key);
  }
  for (const key of keys) await store.remove(key);
};
