import { type DatabaseCount } from '../../domain/backup.js';
import { keyCounts, type UndoRecord } from './undo-record.js';

/** Which data a target holds. */
export type DataNow = 'OLD' | 'NEW' | 'UNKNOWN';

/** What INFO showed, when nothing was being loaded. */
export interface SeenData {
  runId: string;
  role: 'MASTER' | 'REPLICA';
  replid: string | null;
  replid2: string | null;
  keys: readonly DatabaseCount[];
}

export interface Judgement {
  dataNow: DataNow;
  /**
   * Whether the counts per database are the archive's to the last key; null when the archive's are not known. Meaningful on a
   * replica only: a master expires keys and takes writes.
   */
  exact: boolean | null;
  /** Whether the target's process is another one than the restore began with. */
  restarted: boolean;
  /** Whether it is proven that the target has loaded the payload whole, by an id or its acknowledgement. */
  loaded: boolean;
}

const byDatabase = (counts: readonly DatabaseCount[]): Map<number, DatabaseCount> =>
  new Map(counts.filter(({ keys }) => keys > 0n).map((count) => [count.database, count]));

/** Whether both have the same keys in every database; a database without keys is as good as none. */
export const sameCounts = (one: readonly DatabaseCount[], other: readonly DatabaseCount[]): boolean => {
  const [left, right] = [byDatabase(one), byDatabase(other)];
  return left.size === right.size && [...left].every(([database, { keys }]) => right.get(database)?.keys === keys);
};

/** Whether `seen` can be `expected` after some of its expiring keys have gone. */
const withinExpiry = (seen: readonly DatabaseCount[], expected: readonly DatabaseCount[]): boolean => {
  const now = byDatabase(seen);
  const then = byDatabase(expected);
  return [...now.keys()].every((database) => then.has(database))
    && [...then].every(([database, { keys, expiring }]) => {
      const left = now.get(database)?.keys ?? 0n;
      return left <= keys && left >= keys - expiring;
    });
};

/**
 * Which data is there, from most to least certain evidence:
 * 1. Our link's replication id, which a server takes over only once a full sync is loaded (`master_replid` while it follows us,
 *    `master_replid2` after its promotion): NEW; but on a replica, which cannot lose keys, only if the counts are the archive's.
 * 2. Before 4.0, which has no ids: the acknowledgement of our offset over the proven link, which a replica sends only once it has
 *    loaded; with the same care for the counts.
 * 3. The last bytes of the payload never left: nothing but OLD can be there; a restarted server shows by its counts that its own
 *    persistence has brought them back.
 * 4. Same process, other id: the payload was not loaded. A failed load may have emptied the target first, so OLD needs the old
 *    counts to be there.
 * 5. A restarted server, or one before 4.0 that has not acknowledged: the counts decide, if they fit exactly one of the two.
 * Everything else is UNKNOWN.
 *
 * @param acknowledged whether the target has acknowledged the announced offset
 */
export const judgeData = (record: UndoRecord, seen: SeenData, acknowledged = false): Judgement => {
  const before = keyCounts(record.keysBefore);
  const after = record.keysAfter === null ? null : keyCounts(record.keysAfter);
  const restarted = seen.runId !== record.runId;
  const exact = after === null ? null : sameCounts(seen.keys, after);
  const loaded = seen.replid === record.linkReplid || seen.replid2 === record.linkReplid || (acknowledged && !restarted);
  const answer = (dataNow: DataNow): Judgement => ({ dataNow, exact, restarted, loaded });

  if (seen.replid === record.linkReplid || (seen.replid === null && loaded)) return answer(seen.role === 'MASTER' || exact !== false ? 'NEW' : 'UNKNOWN');
  if (seen.replid2 === record.linkReplid) return answer('NEW');
  if (!record.committed) return answer(!restarted || withinExpiry(seen.keys, before) ? 'OLD' : 'UNKNOWN');
  if (!restarted && seen.replid !== null) return answer(sameCounts(seen.keys, before) ? 'OLD' : 'UNKNOWN');

  const fits = (expected: readonly DatabaseCount[]): boolean =>
    seen.role === 'REPLICA' && !restarted ? sameCounts(seen.keys, expected) : withinExpiry(seen.keys, expected);
  const [old, fresh] = [fits(before), after !== null && fits(after)];
  return answer(after === null || old === fresh ? 'UNKNOWN' : fresh ? 'NEW' : 'OLD');
};
