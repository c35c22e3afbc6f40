import { type DatabaseCount, type Engine, type KeyType } from '../domain/backup.js';
import { type ErrorCode } from '../domain/errors.js';
import { type RestoreMethod } from '../domain/restore-method.js';
import { type RestoreOptions } from '../domain/restore-options.js';

/* As in records.js: what the services hand out about restores. */

export interface BlockerRecord {
  name: string;
  code: ErrorCode;
  message: string;
  hint: string | null;
}

export interface WarningRecord {
  name: string;
  message: string;
  hint: string | null;
  mustAccept: boolean;
}

export interface LossRecord {
  name: string;
  message: string;
  keys: bigint | null;
  accepted: boolean;
}

export interface RestorePlanRecord {
  id: string;
  projectId: string;
  state: 'PREPARING' | 'READY' | 'USED' | 'EXPIRED' | 'FAILED';
  backupId: string;
  instanceId: string;
  method: RestoreMethod | null;
  methodReason: string;
  mayFallBack: boolean;
  replacesEverything: boolean;
  losses: readonly LossRecord[];
  safetyBackup: boolean;
  pauseWrites: boolean;
  /** Whether the target is set to load while it receives. */
  disklessLoad: boolean;
  targetEngine: Engine;
  targetVersion: string;
  targetRunId: string;
  keysNow: readonly DatabaseCount[];
  keysAfter: readonly DatabaseCount[];
  compatibility: { loads: boolean; reason: string | null };
  memory: { usedBytes: bigint; maxBytes: bigint | null; estimatedBytes: bigint | null };
  blockers: readonly BlockerRecord[];
  warnings: readonly WarningRecord[];
  confirmationText: string;
  jobId: string | null;
  createdAt: Date;
  expiresAt: Date;
}

/** One of the keys that a plan would write. `expiresAtMs`: any 64-bit number, as servers keep them. */
export interface SelectedKeyRecord {
  database: number;
  into: number;
  key: string;
  type: KeyType;
  expiresAtMs: number | null;
  bytes: number;
}

/** What a restore key by key would write. Holds names of keys. Counts of keys and bytes are whole numbers. */
export interface SelectionRecord {
  keys: number;
  bytes: number;
  expired: number;
  byCommands: number;
  databases: readonly { database: number; into: number; keys: number; bytes: number; expired: number }[];
  types: readonly { type: KeyType; keys: number; bytes: number }[];
  functions: number;
  sample: readonly SelectedKeyRecord[];
  comparison: { new: number; sameType: number; otherType: number; equal: number; compared: number } | null;
  problems: readonly { blocker: string; keys: number; key: string }[];
}

/** What of a plan tells of data. */
export interface PlanDetailRecord {
  options: RestoreOptions;
  /** Null until the plan's job has ended, and over the replication link. */
  selected: SelectionRecord | null;
}

export interface RestoredKeysRecord {
  restored: bigint;
  replaced: bigint;
  skipped: bigint;
  expired: bigint;
  failed: bigint;
  uncertain: bigint;
  lost: readonly { name: string; count: bigint }[];
  functions: number;
  flushed: readonly number[];
  reconnects: number;
}

export interface RestoreReportRecord {
  keysBefore: readonly DatabaseCount[];
  keysAfter: readonly DatabaseCount[] | null;
  bytesSent: bigint;
  loadMs: number | null;
  promoted: boolean;
  bgsaveSuggested: boolean;
  notices: readonly string[];
  /** Null over the replication link; absent in what was written before 0.2. */
  keys?: RestoredKeysRecord | null;
}

/** A key that could not be restored. */
export interface KeyFailureRecord {
  key: string;
  reason: string;
}

export interface RestoreRecord {
  id: string;
  projectId: string;
  planId: string;
  backupId: string;
  instanceId: string;
  method: RestoreMethod;
  safetyBackupId: string | null;
  dataNow: 'OLD' | 'NEW' | 'MIXED' | 'UNKNOWN';
  unsavedWriteBytes: bigint | null;
  /** Names of the warnings that the caller accepted. */
  acceptedWarnings: readonly string[];
  report: RestoreReportRecord | null;
  jobId: string;
  createdAt: Date;
  completedAt: Date | null;
}

/** What to plan to get back what was there before a restore. */
export interface UndoRecordShown {
  backupId: string;
  instanceId: string;
  safetyBackup: boolean;
  message: string;
  possibleUntil: Date;
}

export interface RestoreFilter {
  instanceId?: string | null | undefined;
  backupId?: string | null | undefined;
}
