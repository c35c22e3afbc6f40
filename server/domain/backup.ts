export const BACKUP_STATES = ['CREATING', 'AVAILABLE', 'FAILED', 'DELETING', 'DELETED', 'DAMAGED'] as const;
export type BackupState = (typeof BACKUP_STATES)[number];

export const BACKUP_TRANSITIONS: Readonly<Record<BackupState, readonly BackupState[]>> = {
  CREATING: ['AVAILABLE', 'FAILED', 'DAMAGED', 'DELETED'],
  AVAILABLE: ['DELETING', 'DAMAGED'],
  // An archive that was sealed by a run which then lost its job, or that has come back, is read through and taken.
  FAILED: ['DELETING', 'AVAILABLE', 'DAMAGED'],
  DAMAGED: ['DELETING', 'AVAILABLE'],
  DELETING: ['DELETED', 'DAMAGED'],
  DELETED: [],
};

export const TRIGGERS = ['MANUAL', 'SCHEDULED', 'PRE_RESTORE'] as const;
export type Trigger = (typeof TRIGGERS)[number];

export const INTEGRITIES = ['STRUCTURE_AND_CHECKSUM', 'STRUCTURE_ONLY', 'CHECKSUM_ONLY'] as const;
export type Integrity = (typeof INTEGRITIES)[number];

/** STRUCTURE: manifest, key, index and sizes. CONTENT: every byte, too. From less to more thorough. */
export const VERIFICATION_LEVELS = ['STRUCTURE', 'CONTENT'] as const;
export type VerificationLevel = (typeof VERIFICATION_LEVELS)[number];

export const VERIFICATION_RESULTS = ['PASSED', 'DAMAGED'] as const;
export type VerificationResult = (typeof VERIFICATION_RESULTS)[number];

export const CAPTURE_METHODS = ['REPLICATION', 'SCAN'] as const;
export type CaptureMethod = (typeof CAPTURE_METHODS)[number];

export const CONSISTENCIES = ['POINT_IN_TIME', 'FUZZY'] as const;
/** FUZZY: each key as it was when it was read, all of them over a while. */
export type Consistency = (typeof CONSISTENCIES)[number];
export const consistencyOf = (method: CaptureMethod): Consistency => (method === 'SCAN' ? 'FUZZY' : 'POINT_IN_TIME');

export const ENGINES = ['REDIS', 'VALKEY'] as const;
export type Engine = (typeof ENGINES)[number];

/** The types a user knows, whatever their encoding in the RDB. */
export const KEY_TYPES = ['STRING', 'LIST', 'SET', 'SORTED_SET', 'HASH', 'STREAM', 'MODULE'] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** Inclusive range of cluster slots. */
export interface SlotRange {
  start: number;
  end: number;
}

/** What one backup covers: the whole instance, or one node of a cluster with the slots it owned. */
export type Coverage = { kind: 'INSTANCE' } | { kind: 'SHARD'; slots: readonly SlotRange[] };

export interface DatabaseCount {
  database: number;
  keys: bigint;
  /** Keys that carry an expiry, expired ones included: replicas and RDB files keep them. */
  expiring: bigint;
}

export interface TypeCount {
  type: KeyType;
  keys: bigint;
}
