import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type DatabaseCount } from '../../domain/backup.js';

/** As DatabaseCount, in a form that JSON keeps. */
export interface StoredKeyCount {
  database: number;
  keys: string;
  expiring: string;
}

/**
 * What any node needs to settle a restore whose own node died: plain JSON without secrets, written before the first command
 * that changes the target and again (`committed`) before the last bytes of the payload leave.
 */
export interface UndoRecord {
  format: 1;
  /** The target's process at the time; another id later means that it was restarted. */
  runId: string;
  /** What the target was told to follow, in the words that its `master_host` and `master_port` will show. */
  listenerHost: string;
  listenerPort: number;
  /** The target's own `master_replid` just before; null before Redis 4.0. */
  replidBefore: string | null;
  /** The replication id we announce. Whoever shows it as its own, or as its second one, has loaded our payload. */
  linkReplid: string;
  keysBefore: readonly StoredKeyCount[];
  /** What the target holds when it has loaded everything, expired keys included; null where the backup's content could not be counted. */
  keysAfter: readonly StoredKeyCount[] | null;
  /** Whether the target kept an append-only file, which has to be rewritten before it may be promoted. */
  appendOnly: boolean;
  /** SHA-256 of the one-time `masterauth` that was set on a server before 4.0; null when nothing was set. */
  oneTimeMasterauthSha256: string | null;
  /** What `repl-diskless-load` was, which is `swapdb` for the time of this restore; null when it is not changed. Absent in records from before 0.2. */
  disklessLoadBefore?: string | null;
  /** Whether the last bytes may have left: until then the target cannot have loaded, and nothing but its old data can be there. */
  committed: boolean;
  /** ISO 8601. */
  startedAt: string;
}

/** Where the record is kept. Both calls return only when it would survive a crash; a rejection stops the restore there. */
export interface UndoRecorder {
  /** Before `REPLICAOF`, and before a one-time `masterauth`. After a rejection nothing on the target has been touched. */
  beforeReplicaOf(record: UndoRecord): Promise<void>;
  /**
   * The point of no return: from its resolution on the restore cannot be cancelled. Called with the record as it is to be kept
   * from now on. A rejection (the job has been cancelled meanwhile) cuts the transfer; the target keeps its old data.
   */
  pointOfNoReturn(record: UndoRecord): Promise<void>;
}

export const storedCounts = (counts: readonly DatabaseCount[]): StoredKeyCount[] =>
  counts.map(({ database, keys, expiring }) => ({ database, keys: keys.toString(), expiring: expiring.toString() }));

export const keyCounts = (stored: readonly StoredKeyCount[]): DatabaseCount[] =>
  stored.map(({ database, keys, expiring }) => ({ database, keys: BigInt(keys), expiring: BigInt(expiring) }));

/** 40 hexadecimal characters, as replication ids have. */
export const randomReplicationId = (): string => randomBytes(20).toString('hex');

export const sha256Hex = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

/** Compares in a time that does not depend on where the first difference is. */
export const sameSecret = (one: string, other: string): boolean => timingSafeEqual(Buffer.from(sha256Hex(one)), Buffer.from(sha256Hex(other)));
