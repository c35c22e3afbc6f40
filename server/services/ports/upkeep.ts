import { type BackupState } from '../../domain/backup.js';
import { type ErrorCode } from '../../domain/errors.js';
import { type RetentionFacts, type RetentionInstance } from '../../domain/retention.js';
import { type ProjectRecord, type RetentionStatusRecord, type SlotRecord } from '../records.js';

export type SettingName =
  | 'first-key' | 'sample-instance'
  /** What secrets and archives are sealed under, or are being put under; and what else some may still be under, separated by commas. */
  | 'master-key-id' | 'master-keys-retiring'
  /** This catalogue, and the store it belongs to: sweeping and retention need both to be the store's own words too. */
  | 'catalogue-id' | 'store-id'
  /** How the last pass of the upkeep went, as JSON. */
  | 'upkeep'
  /** The project that takes adopted backups of a project which this catalogue does not know. */
  | `adopt-into ${string}`;

/** Facts about this installation; all but `upkeep` and what an operator's adoption changes are set once. */
export interface SettingRepository {
  /** Sets a fact unless it is set already; the answer is what stands now. A racing second call waits for the first one's commit. */
  claim(name: SettingName, value: string): Promise<{ value: string; first: boolean }>;
  get(name: SettingName): Promise<string | null>;
  put(name: SettingName, value: string): Promise<void>;
}

/** Work that one node at a time does for all. Judged by the database's clock. */
export interface LockRepository {
  /** A fence of one's own, or null while another holds the lock. */
  take(name: string, holder: string, leaseMs: number): Promise<number | null>;
  /** false: the lock is lost. */
  renew(name: string, fence: number, leaseMs: number): Promise<boolean>;
  /** Whether that holder still has the lock; nobody can take it until the transaction ends. */
  hold(name: string, fence: number): Promise<boolean>;
  release(name: string, fence: number): Promise<void>;
}

/** A backup as the upkeep sees it, of whatever tenant. */
export interface UpkeepBackup {
  id: string;
  projectId: string;
  instanceId: string;
  /** null for one that came with its store. */
  jobId: string | null;
  state: BackupState;
  damageCode: ErrorCode | null;
  completedAt: Date | null;
  expiresAt: Date | null;
  /** Null until it was completed, and the first also for archives that were sealed before 0.2. */
  manifestSha256: string | null;
  sha256: string | null;
  /** Whether an unfinished job names it. */
  busy: boolean;
}

/** How the last pass of the upkeep went, on whatever node. */
export interface UpkeepStatus {
  /** By the database's clock; null before the first one. */
  lastPassAt: Date | null;
  /** Passes in a row that found the clocks agreeing. */
  agreed: number;
  /** Why sweeping and retention stood still in that pass, for people; null when they did not. */
  stoppedBecause: string | null;
  /** The part of it that the clocks were the reason for: holds until the next pass, while whether the store is ours can be seen at any time. */
  heldBecause: string | null;
  /** When the operator was last told that they do, and what of. */
  toldAt: Date | null;
  toldOf: 'STORE' | 'CLOCK' | null;
}

/** What keeps catalogue and store in accord, as others see it. */
export interface UpkeepPort {
  status(): Promise<RetentionStatusRecord>;
}

export interface RetentionView {
  backups: (RetentionFacts & { projectId: string })[];
  instances: RetentionInstance[];
}

/** What the upkeep asks, over all tenants. */
export interface UpkeepRepository {
  backups(ids: readonly string[]): Promise<UpkeepBackup[]>;
  /** Ids of backups that unfinished jobs name. */
  busyBackups(): Promise<string[]>;
  /** AVAILABLE ones in ascending order of their ids. */
  available(afterId: string, limit: number): Promise<UpkeepBackup[]>;
  /** In that state with no unfinished job, oldest first. */
  abandoned(state: 'CREATING' | 'DELETING', limit: number): Promise<UpkeepBackup[]>;
  /** Instances that have a backup past its time, in ascending order of their ids. */
  instancesWithExpired(now: Date, afterId: string, limit: number): Promise<string[]>;
  /** All backups of instances, but for those that are or will be gone. */
  retention(instanceIds: readonly string[]): Promise<RetentionView>;
  /** Locks all backups of an instance that are not gone, newest first, until the transaction ends: no reader begins meanwhile, and no state changes. */
  lockBackups(instanceId: string): Promise<void>;
  /** Whose the instance with this id is, removed ones too; null when there is none. */
  projectOfInstance(id: string): Promise<string | null>;
  projects(): Promise<ProjectRecord[]>;
  /**
   * Ended restores whose target was never settled: it may still follow a listener of ours that is gone. Those of registered targets, with
   * no job under way, and after each attempt after a longer pause.
   */
  unsettledRestores(limit: number): Promise<{ id: string; projectId: string; instanceId: string }[]>;
  /** Sealed secrets of instances, removed ones too, under another master key, in ascending order of the ids. */
  secretsNotUnder(keyId: string, afterId: string, limit: number): Promise<{ id: string; projectId: string; secrets: Buffer }[]>;
  /** false: they have been changed meanwhile. */
  replaceSecrets(instanceId: string, from: Buffer, to: Buffer): Promise<boolean>;
  /** Makes slots MISSED that say they were started and whose job is not there. */
  endSlotsWithoutJob(reason: string, limit: number): Promise<SlotRecord[]>;
}
