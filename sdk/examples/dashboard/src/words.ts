import { type Job } from '@snapback/sdk';

/** How something stands, as a colour; the words beside it say the same. */
export type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'idle';

/** Enums are open: a newer service may send what is not listed here. `SOME_NEW_VALUE` then reads `Some new value`. */
export const words = (value: string): string => value.charAt(0) + value.slice(1).toLowerCase().replaceAll('_', ' ');

export const BACKUP_STATE: Readonly<Record<string, [Tone, string]>> = {
  CREATING: ['busy', 'Being taken'], AVAILABLE: ['good', 'Available'], FAILED: ['bad', 'Failed'], DAMAGED: ['bad', 'Damaged'], DELETING: ['idle', 'Being deleted'], DELETED: ['idle', 'Deleted'],
};

export const TRIGGER: Readonly<Record<string, string>> = { MANUAL: 'Manual', SCHEDULED: 'Automatic', PRE_RESTORE: 'Safety copy' };

export const RECOVERY: Readonly<Record<string, [Tone, string]>> = {
  OK: ['good', 'Protected'], LATE: ['warn', 'Backup overdue'], NEVER: ['warn', 'No backup yet'], DISABLED: ['idle', 'Automatic backups off'],
};

export const CONCLUSION: Readonly<Record<string, [Tone, string]>> = {
  SUCCEEDED: ['good', 'Done'], FAILED: ['bad', 'Failed'], CANCELLED: ['idle', 'Cancelled'], INTERRUPTED: ['bad', 'Interrupted'], TIMED_OUT: ['bad', 'Took too long'],
};

export const DATA_NOW: Readonly<Record<string, [Tone, string]>> = {
  OLD: ['idle', 'Data as before'], NEW: ['good', 'Data of the backup'], MIXED: ['warn', 'Some of both'], UNKNOWN: ['bad', 'Unknown data'],
};

export const PHASE: Readonly<Record<string, string>> = {
  PREPARING: 'Getting ready', SNAPSHOTTING: 'Server is saving', TRANSFERRING: 'Transferring', VERIFYING: 'Checking', SEALING: 'Sealing', LOADING: 'Target is loading', FINALIZING: 'Finishing',
};

const KIND: Readonly<Record<string, string>> = { BACKUP: 'Backup', RESTORE: 'Restore', PLAN: 'Restore plan', VERIFY: 'Verification', INSPECT: 'Inspection', DELETE: 'Deletion' };

export const METHOD: Readonly<Record<string, string>> = {
  REPLICATION_LINK: 'by replication link', RESTORE_PIPELINE: 'key by key', LOGICAL_COMMANDS: 'key by key, by ordinary commands', REPLICATION: 'Point in time', SCAN: 'Key by key',
};

export const ENGINE: Readonly<Record<string, string>> = { REDIS: 'Redis', VALKEY: 'Valkey' };

export const pick = (table: Readonly<Record<string, [Tone, string]>>, value: string): [Tone, string] => table[value] ?? ['idle', words(value)];
export const say = (table: Readonly<Record<string, string>>, value: string): string => table[value] ?? words(value);

export const isRunning = (job: Pick<Job, 'state'>): boolean => job.state !== 'COMPLETED';

/** `Backup “nightly”`, `Restore of “nightly”`. */
export const jobTitle = (job: Pick<Job, 'kind' | 'backup'>): string => {
  const kind = say(KIND, job.kind);
  if (job.backup === null) return kind;
  return job.kind === 'BACKUP' ? `${kind} “${job.backup.name}”` : `${kind} of “${job.backup.name}”`;
};

export const jobState = (job: Pick<Job, 'state' | 'conclusion' | 'phase' | 'cancelRequestedAt'>): [Tone, string] => {
  if (job.state === 'COMPLETED') return pick(CONCLUSION, job.conclusion ?? 'FAILED');
  if (job.cancelRequestedAt !== null) return ['idle', 'Being cancelled'];
  if (job.state === 'QUEUED') return ['idle', 'Waiting for its turn'];
  return ['busy', job.phase === null ? 'Starting' : say(PHASE, job.phase)];
};
