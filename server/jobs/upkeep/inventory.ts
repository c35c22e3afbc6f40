import { masterKeysAmong, parseArchiveKey } from '../../engine/archive/archive.js';
import { attemptSuffix } from '../../engine/archive/layout.js';
import { type Database, type UpkeepBackup } from '../../services/ports.js';
import { type UpkeepArchives } from './archives.js';

const BATCH = 500;

/** What lies in the store, beside what the catalogue says of it. */
export interface Inventory {
  /** Ids of all sealed archives. */
  sealed: ReadonlySet<string>;
  /** Sealed, and unknown to the catalogue. */
  strangers: string[];
  /** Sealed, and not yet or no more taken for good, although no job works on them. */
  unproven: UpkeepBackup[];
  /** Sealed, and deleted for the catalogue. */
  undead: UpkeepBackup[];
  /** Not sealed, and nothing that a job works on or a record still stands for. */
  leftovers: { backupId: string; modifiedAt: Date }[];
  /** Sealed, with data of more than one attempt. */
  untidy: { backupId: string; modifiedAt: Date }[];
  /** Sealed, with a key wrapped by another master key than the current one. */
  otherKeys: string[];
}

/** How many attempts have left objects. */
const attemptsIn = (keys: readonly string[]): number =>
  new Set(keys.map((key) => attemptSuffix(parseArchiveKey(key)?.object ?? '')).filter((suffix) => suffix !== undefined)).size;

const isUnproven = ({ state, damageCode, busy }: UpkeepBackup): boolean =>
  !busy && (state === 'CREATING' || state === 'FAILED' || (state === 'DAMAGED' && damageCode === 'NOT_FOUND'));

/** A damaged backup whose manifest is gone keeps its data until it expires: a person may still get something out of it. */
const isLeftover = (known: UpkeepBackup | undefined): boolean =>
  known === undefined || (!known.busy && (known.state === 'CREATING' || known.state === 'FAILED' || known.state === 'DELETED'));

/** Walks the whole store once, and asks the catalogue by the batch. */
export const takeInventory = async (deps: { db: Database; archives: UpkeepArchives; masterKeyId: string }, signal: AbortSignal): Promise<Inventory> => {
  const sealed = new Set<string>();
  const found: Omit<Inventory, 'sealed'> = { strangers: [], unproven: [], undead: [], leftovers: [], untidy: [], otherKeys: [] };
  let batch: { backupId: string; sealed: boolean; modifiedAt: Date; attempts: number }[] = [];
  const sort = async (): Promise<void> => {
    const rows = new Map((await deps.db.read.upkeep.backups(batch.map(({ backupId }) => backupId))).map((row) => [row.id, row]));
    for (const entry of batch) {
      const known = rows.get(entry.backupId);
      if (!entry.sealed) {
        if (isLeftover(known)) found.leftovers.push(entry);
        continue;
      }
      if (entry.attempts > 1) found.untidy.push(entry);
      if (!known) found.strangers.push(entry.backupId);
      else if (isUnproven(known)) found.unproven.push(known);
      else if (known.state === 'DELETED' && !known.busy) found.undead.push(known);
    }
    batch = [];
  };
  for await (const { backupId, sealed: isSealed, modifiedAt, keys } of deps.archives.list(signal)) {
    if (isSealed) sealed.add(backupId);
    if (isSealed && masterKeysAmong(keys).some((id) => id !== deps.masterKeyId)) found.otherKeys.push(backupId);
    batch.push({ backupId, sealed: isSealed, modifiedAt, attempts: attemptsIn(keys) });
    if (batch.length >= BATCH) await sort();
  }
  await sort();
  return { sealed, ...found };
};
