import { type Scope } from './scope.js';

/** A part of an inspection, sealed: all of them hold names of keys, or patterns of them. */
export interface InspectionPart {
  jobId: string;
  /** `request`, `summary`, or the place of some listed keys. */
  name: string;
  sealed: Buffer;
}

export interface InspectionRow extends Scope {
  backupId: string;
  jobId: string;
  inspectedAt: Date;
  request: Buffer;
  summary: Buffer;
}

/**
 * What inspections look for and find, one for each job. It lives as long as its backup is neither DELETING nor DELETED (`BackupRepository.change`
 * sees to that), and until a later one of that backup succeeds.
 */
export interface InspectionRepository {
  insert(scope: Scope, inspection: { jobId: string; backupId: string; request: Buffer }): Promise<void>;
  request(scope: Scope, jobId: string): Promise<Buffer | null>;
  /** What an earlier attempt of the job has left goes. */
  dropKeys(scope: Scope, jobId: string): Promise<void>;
  /** @param fromOffset where the first key of the part stands in the file */
  putKeys(scope: Scope, part: InspectionPart & { fromOffset: number }): Promise<void>;
  /** From now on this is the backup's inspection; others of it go, but for those that are still to be made. */
  complete(scope: Scope, inspection: { jobId: string; backupId: string; summary: Buffer; at: Date }): Promise<void>;
  remove(scope: Scope, jobId: string): Promise<void>;
  latestByBackup(scope: Scope, backupIds: readonly string[]): Promise<InspectionRow[]>;
  /** Two parts of the listed keys of each: the one in which the offset lies, and the next one. Null: the first two. */
  keys(scope: Scope, jobIds: readonly string[], fromOffset: number | null): Promise<InspectionPart[]>;
  /** Parts under another master key, over all tenants, in the order of `(jobId, name)`. */
  notUnder(keyId: string, after: Pick<InspectionPart, 'jobId' | 'name'> | null, limit: number): Promise<(InspectionPart & Scope)[]>;
  /** false: the part is gone or has been replaced meanwhile. */
  reseal(part: InspectionPart, sealed: Buffer): Promise<boolean>;
}
