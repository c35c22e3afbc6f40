import { type BackupRecord, type InstanceRecord, type JobRecord } from './records.js';

/**
 * What of the items of a list of backups will be looked at, by the names of the records' properties: the rest need not be read. Left out where a
 * whole record is wanted.
 */
export interface WantedOfBackups {
  readonly backup: ReadonlySet<string>;
  /** null: each backup is to come without its instance. */
  readonly instance: ReadonlySet<string> | null;
  readonly job: ReadonlySet<string> | null;
}

/** What an instance can do is shown under the operator's rules, which only the service of instances knows: it never comes with a list. */
export type JoinedInstance = Omit<InstanceRecord, 'capabilities'>;

/**
 * A backup of a list. With what was wanted given, reading anything else of it is a fault, and instance and job hang on it where they were wanted; they
 * are there for the caller wherever the backup is.
 */
export type ListedBackup = BackupRecord & {
  readonly instance?: JoinedInstance | undefined;
  readonly job?: JobRecord | null | undefined;
};
