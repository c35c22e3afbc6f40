import { randomUUID } from 'node:crypto';
import { type Log } from '../../engine/ports.js';
import { type Store } from '../../engine/store/store.js';
import { type Database } from '../../services/ports.js';
import { listArchives } from '../../engine/archive/archive.js';

/** This catalogue's id, made at its first start. Of several nodes that start at once all get the same. */
export const catalogueIdOf = async (db: Database): Promise<string> => {
  const known = await db.read.settings.get('catalogue-id');
  return known ?? (await db.transaction((tx) => tx.settings.claim('catalogue-id', randomUUID()))).value;
};

/**
 * Why this catalogue and the store do not belong together, for people; null when each names the other. Until then nothing in the store is
 * swept, deleted by retention, adopted or missed: what lies there may be another catalogue's.
 */
export const detachedBecause = async (db: Database, store: Pick<Store, 'id' | 'location' | 'owner'>): Promise<string | null> => {
  const catalogueId = await catalogueIdOf(db);
  const [known, owner] = await Promise.all([db.read.settings.get('store-id'), store.owner()]);
  const adopt = 'Sweeping and retention are off until "npm run store:adopt" was run.';
  if (owner !== catalogueId) {
    return `The store ${store.location} belongs to ${owner === null ? 'no catalogue' : `catalogue ${owner}`}, and this database is catalogue ${catalogueId}. ${adopt}`;
  }
  if (known !== store.id) return `The store ${store.location} (${store.id}) is another one than this database has its backups in (${known ?? 'none yet'}). ${adopt}`;
  return null;
};

const isEmpty = async (store: Store): Promise<boolean> => {
  for await (const _entry of listArchives(store)) return false;
  return true;
};

/**
 * At the start: joins a store and a catalogue of which neither has belonged to another. A store that holds archives and a database that
 * has never seen it are left apart: one of the two was lost, and an operator has to say what becomes of the archives.
 */
export const attachStore = async (db: Database, store: Store, log: Log): Promise<void> => {
  const catalogueId = await catalogueIdOf(db);
  const [known, owner] = await Promise.all([db.read.settings.get('store-id'), store.owner()]);
  // A store made before stores named their catalogue is ours when our database says so.
  const unclaimed = owner === null && (known === store.id || (known === null && (await isEmpty(store))));
  const ours = unclaimed ? (await store.claim(catalogueId, null)) === catalogueId : owner === catalogueId;
  if (ours && known === null) await db.transaction((tx) => tx.settings.claim('store-id', store.id));
  const reason = await detachedBecause(db, store);
  if (reason !== null) log.warn(reason);
};
