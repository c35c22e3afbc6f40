import { type BackupState, type Coverage, type Engine, type Trigger } from '../domain/backup.js';
import { type RecoveryFacts } from '../domain/recovery.js';
import { type ProbeReport } from '../domain/server-report.js';
import { type HostPort } from '../domain/source.js';
import { type KnownArchive } from '../engine/archive/archive.js';
import { type Endpoint } from '../engine/ports.js';
import { type TargetFindings } from '../engine/target/check.js';
import { type UndoRecord } from '../engine/target/undo-record.js';
import { type ApiKeyRepository, type ProjectRepository } from './ports/access.js';
import { type AuditRepository } from './ports/audit.js';
import { type InspectionRepository } from './ports/inspections.js';
import { type JobEventRepository, type JobRepository, type RunRepository } from './ports/jobs.js';
import { type LinkRepository } from './ports/links.js';
import { type NoticeRepository } from './ports/notices.js';
import { type RestoreDetailRepository } from './ports/restore-details.js';
import { type PageQuery, type PageResult, type Scope } from './ports/scope.js';
import { type SyncRepository } from './ports/syncs.js';
import { type SyncDelayRepository } from './ports/sync-delay.js';
import { type LockRepository, type SettingRepository, type UpkeepRepository } from './ports/upkeep.js';
import { type BackupFilter, type BackupRecord, type InstanceFilter, type InstanceRecord, type PolicyRecord, type RestoreFilter, type RestorePlanRecord, type RestoreRecord, type SlotFilter, type SlotRecord } from './records.js';
import { type ListedBackup, type WantedOfBackups } from './wanted.js';

export type { UndoRecord } from '../engine/target/undo-record.js';
export type * from './ports/access.js';
export type * from './ports/audit.js';
export type * from './ports/inspections.js';
export type * from './ports/jobs.js';
export type * from './ports/links.js';
export type * from './ports/notices.js';
export type * from './ports/restore-details.js';
export type * from './ports/scope.js';
export type * from './ports/syncs.js';
export type * from './ports/sync-delay.js';
export type * from './ports/upkeep.js';

/* What the services need from the outside. Implemented by db/, security/, jobs/ and events/, wired in app.ts. */

export interface SecretPlace {
  projectId: string;
  table: string;
  column: string;
  rowId: string;
}

/** Seals secrets for storage. `open` fails with KEY_UNAVAILABLE or CORRUPT, never with a wrong plaintext. */
export interface Vault {
  /** Id of the master key that `seal` uses. */
  readonly keyId: string;
  seal(place: SecretPlace, plain: string): Buffer;
  open(place: SecretPlace, sealed: Buffer): string;
}

/** What is sealed for an instance; never leaves the services. */
export interface InstanceSecrets {
  password: string | null;
  tls: { ca: string | null; cert: string | null; key: string | null } | null;
}

export interface InstanceRepository {
  /** Removed ones are found too. */
  get(scope: Scope, id: string): Promise<InstanceRecord | null>;
  getMany(scope: Scope, ids: readonly string[]): Promise<InstanceRecord[]>;
  list(scope: Scope, filter: InstanceFilter, page: PageQuery): Promise<PageResult<InstanceRecord>>;
  count(scope: Scope, filter: InstanceFilter): Promise<number>;
  /** Serialises changes of the project's instances until the transaction ends. */
  lockProject(scope: Scope): Promise<void>;
  /** Removed ones too; locked until the transaction ends. */
  lock(scope: Scope, id: string): Promise<InstanceRecord | null>;
  findProtectedByName(scope: Scope, name: string): Promise<InstanceRecord | null>;
  findProtectedByRunId(scope: Scope, runId: string): Promise<InstanceRecord | null>;
  /** In whatever case the host is written. */
  findProtectedByAddress(scope: Scope, address: Pick<InstanceRecord, 'host' | 'port'>): Promise<InstanceRecord | null>;
  sealedSecrets(scope: Scope, id: string): Promise<Buffer | null>;
  insert(instance: InstanceRecord, sealed: Buffer | null): Promise<void>;
  /** @param sealed undefined leaves the secrets as they are. */
  save(instance: InstanceRecord, sealed: Buffer | null | undefined): Promise<void>;
  /** What a probe found, and nothing else. false when the instance was changed (`updatedAt`) or removed since it was read. */
  saveFacts(instance: InstanceRecord, facts: Pick<InstanceRecord, 'server' | 'capabilities'>): Promise<boolean>;
  countAll(): Promise<number>;
}

/** A place in a list that is ordered by planned instants. */
export interface PlannedPlace {
  plannedAt: Date;
  id: string;
}

export interface PolicyRepository {
  get(scope: Scope, id: string): Promise<PolicyRecord | null>;
  getByInstances(scope: Scope, instanceIds: readonly string[]): Promise<PolicyRecord[]>;
  insert(policy: PolicyRecord): Promise<void>;
  save(policy: PolicyRecord): Promise<void>;
  /** Enabled policies of protected instances whose run is due, oldest first, over all tenants, next to `after`. */
  due(now: Date, after: PlannedPlace | null, limit: number): Promise<PlannedPlace[]>;
  /** One policy, over all tenants, locked until the transaction ends; waits for who holds it, or with `skipLocked` gives null. */
  lock(id: string, options?: { skipLocked: boolean }): Promise<PolicyRecord | null>;
  /** Enabled policies with a planned run, over all tenants: what the clock must know. With `within` only those whose run lies in there. */
  planned(within?: { from: Date; to: Date }): Promise<{ id: string; nextRunAt: Date }[]>;
}

export interface SlotRepository {
  get(scope: Scope, id: string): Promise<SlotRecord | null>;
  /** false when the slot is there already: somebody else has it. */
  insert(slot: SlotRecord): Promise<boolean>;
  /** Slots that wait for a busy server, over all tenants, oldest first, next to `after`. */
  waiting(after: PlannedPlace | null, limit: number): Promise<PlannedPlace[]>;
  /** Those of one policy. */
  waitingOf(policyId: string): Promise<string[]>;
  /** A slot that still waits, locked until the transaction ends; null when it is over or locked elsewhere. */
  lockWaiting(id: string): Promise<SlotRecord | null>;
  /** Ends all slots of a policy that wait, but the one named, as MISSED; answers those it ended, oldest first. */
  endWaiting(policyId: string, exceptId: string, reason: string): Promise<SlotRecord[]>;
  save(slot: SlotRecord): Promise<void>;
  /** The same page of each of these instances, in the order of the ids. */
  listByInstance(scope: Scope, instanceIds: readonly string[], filter: SlotFilter, page: PageQuery): Promise<PageResult<SlotRecord>[]>;
  countByInstance(scope: Scope, instanceIds: readonly string[], filter: SlotFilter): Promise<number[]>;
}

/** The facts of an instance's recovery point. */
export interface RecoveryRow extends RecoveryFacts {
  policyId: string;
  projectId: string;
  instanceId: string;
  nextRunAt: Date | null;
  lastGoodId: string | null;
  /** Since when it is known to be LATE. */
  lateSince: Date | null;
}

/** `dueBefore`: planned runs from before it have had their catch-up time. */
export interface RecoveryRepository {
  ofInstances(scope: Scope, instanceIds: readonly string[], dueBefore: Date): Promise<RecoveryRow[]>;
  ofPolicy(policyId: string, dueBefore: Date): Promise<RecoveryRow | null>;
  /** All for which backups are planned or which are known to be late, over all tenants, in the order of their policies' ids. */
  promised(afterPolicyId: string, dueBefore: Date, limit: number): Promise<RecoveryRow[]>;
  setLate(policyId: string, since: Date | null): Promise<void>;
  /** Of all protected instances, over all tenants: seconds since the newest good backup was completed; null when there is none. */
  ages(): Promise<{ id: string; name: string; seconds: number | null }[]>;
}

export interface NewBackup {
  id: string;
  projectId: string;
  instanceId: string;
  /** null: it came with its store. */
  jobId: string | null;
  name: string;
  trigger: Trigger;
  engine: Engine;
  engineVersion: string;
  coverage: Coverage;
  createdAt: Date;
}

export type BackupChange = Partial<Omit<BackupRecord, 'id' | 'projectId' | 'instanceId' | 'durationMs' | 'retainedBecause' | 'createdAt'>> & {
  replicationId?: string;
  replicationOffset?: bigint;
};

export interface BackupRepository {
  get(scope: Scope, id: string): Promise<BackupRecord | null>;
  getMany(scope: Scope, ids: readonly string[]): Promise<BackupRecord[]>;
  latestByInstance(scope: Scope, instanceIds: readonly string[]): Promise<BackupRecord[]>;
  list(scope: Scope, filter: BackupFilter, page: PageQuery, wanted?: WantedOfBackups): Promise<PageResult<ListedBackup>>;
  /** The same page of each of these instances, in the order of the ids. `filter.instanceId` is not looked at. */
  listByInstance(scope: Scope, instanceIds: readonly string[], filter: BackupFilter, page: PageQuery, wanted?: WantedOfBackups): Promise<PageResult<ListedBackup>[]>;
  /** Like every count of a list: up to 10,000. */
  count(scope: Scope, filter: BackupFilter): Promise<number>;
  countByInstance(scope: Scope, instanceIds: readonly string[], filter: BackupFilter): Promise<number[]>;
  insert(backup: NewBackup): Promise<void>;
  /** Moves a backup from one of `from` and sets `change`; false when it is in another state. What inspections found goes with DELETING and DELETED. */
  change(scope: Scope, id: string, from: readonly BackupState[], change: BackupChange): Promise<boolean>;
  /** Takes a row lock so that leases and deletion cannot pass each other; null when there is none. */
  lock(scope: Scope, id: string): Promise<BackupRecord | null>;
}

/** Readers of archives. A lease ends by itself, by the database's clock, when its holder dies. */
export interface LeaseRepository {
  add(scope: Scope, lease: { id: string; backupId: string; holder: string; seconds: number }): Promise<void>;
  /** false when the lease is over. */
  renew(id: string, seconds: number): Promise<boolean>;
  remove(id: string): Promise<void>;
  /** Removes at most `limit` that have ended by themselves. */
  forgetOld(limit: number): Promise<void>;
  isRead(scope: Scope, backupId: string): Promise<boolean>;
}

export interface PlanRow extends RestorePlanRecord {
  /** The caller that made it: only the same key may use it. */
  keyId: string;
  usedAt: Date | null;
}

export interface PlanRepository {
  get(scope: Scope, id: string): Promise<PlanRow | null>;
  getMany(scope: Scope, ids: readonly string[]): Promise<PlanRow[]>;
  /** The one that this job is to fill. */
  ofJob(scope: Scope, jobId: string): Promise<PlanRow | null>;
  insert(plan: PlanRow): Promise<void>;
  /** What its job has found out; nothing that it is bound to. */
  fill(plan: PlanRow): Promise<void>;
  /** Marks a plan as used; false when it was used already. */
  use(scope: Scope, id: string, at: Date): Promise<boolean>;
}

export type RestoreChange = Partial<Pick<RestoreRecord, 'method' | 'safetyBackupId' | 'dataNow' | 'unsavedWriteBytes' | 'report' | 'completedAt'>> & {
  undoRecord?: UndoRecord | null;
};

export interface RestoreRepository {
  get(scope: Scope, id: string): Promise<RestoreRecord | null>;
  getMany(scope: Scope, ids: readonly string[]): Promise<RestoreRecord[]>;
  list(scope: Scope, filter: RestoreFilter, page: PageQuery): Promise<PageResult<RestoreRecord>>;
  count(scope: Scope, filter: RestoreFilter): Promise<number>;
  insert(restore: RestoreRecord): Promise<void>;
  change(scope: Scope, id: string, change: RestoreChange): Promise<void>;
  undoRecord(scope: Scope, id: string): Promise<UndoRecord | null>;
  /** A restore that has ended and whose target, this instance, was not settled since. */
  unsettledInto(scope: Scope, instanceId: string): Promise<RestoreRecord | null>;
}

export interface IdempotencyRepository {
  /** What a committed first call stored, while it is kept. */
  find(scope: Scope, claim: { mutation: string; key: string; at: Date }): Promise<{ inputHash: string; result: Record<string, string> } | null>;
  /**
   * Claims a key in the caller's transaction. `null`: it is ours now, and `result` is stored with it. Otherwise what the first call
   * stored; a racing first call is waited for.
   */
  claim(scope: Scope, claim: { mutation: string; key: string; inputHash: string; result: Record<string, string>; at: Date }): Promise<{ inputHash: string; result: Record<string, string> } | null>;
  /** Stores another result with a key that was claimed in the same transaction. */
  keep(scope: Scope, claimed: { mutation: string; key: string; result: Record<string, string> }): Promise<void>;
  /** Removes at most `limit` keys past their time. */
  forgetOld(limit: number): Promise<void>;
}

export interface Repositories {
  /** The database's clock: what schedules and leases of all nodes are judged by. */
  now(): Promise<Date>;
  settings: SettingRepository;
  locks: LockRepository;
  upkeep: UpkeepRepository;
  projects: ProjectRepository;
  apiKeys: ApiKeyRepository;
  audit: AuditRepository;
  instances: InstanceRepository;
  policies: PolicyRepository;
  slots: SlotRepository;
  recovery: RecoveryRepository;
  backups: BackupRepository;
  leases: LeaseRepository;
  links: LinkRepository;
  inspections: InspectionRepository;
  jobs: JobRepository;
  runs: RunRepository;
  events: JobEventRepository;
  plans: PlanRepository;
  restores: RestoreRepository;
  restoreDetails: RestoreDetailRepository;
  idempotency: IdempotencyRepository;
  notices: NoticeRepository;
  syncs: SyncRepository;
  syncDelays: SyncDelayRepository;
}

export interface Database {
  /** Each call its own transaction. */
  readonly read: Repositories;
  transaction<T>(work: (tx: Repositories) => Promise<T>): Promise<T>;
  /** Whether a transaction that failed like this may succeed when it is repeated: the connection was lost, the server restarts, two waited for each other. */
  isTransient(error: unknown): boolean;
}

/** What the services ask of the engine about servers and archives. Faults are DomainErrors. */
export interface EnginePort {
  probe(endpoint: Endpoint): Promise<ProbeReport>;
  /** Proves that a server is a replica of the one that was just probed, and in step with it; rejects with the reason. */
  proveReplica(endpoint: Endpoint, replica: HostPort, master: ProbeReport): Promise<void>;
  /** Opens a control connection, looks, and closes it again. */
  inspectTarget(endpoint: Endpoint, archive: ArchiveRef, options: { safetyBackup: boolean; pauseWrites: boolean; disklessLoad: boolean }): Promise<TargetFindings>;
  /** Names of what a restore may have to leave behind. */
  readonly lossNames: readonly string[];
  storeHealth(): Promise<{ kind: 'FILE_SYSTEM' | 'S3'; location: string; writable: boolean; freeBytes: bigint | null }>;
  openArchive(archive: ArchiveRef): Promise<OpenArchive>;
}

/** The archive of a backup, and what the catalogue knows of it: another one in its place is CORRUPT. */
export interface ArchiveRef {
  backupId: string;
  known: KnownArchive;
}

/** The plain RDB of a sealed archive. */
export interface OpenArchive {
  /** @param range bytes, `end` not included. */
  read(range: { start: bigint; end: bigint }, signal: AbortSignal): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export interface Ids {
  make(kind: 'instance' | 'policy' | 'slot' | 'backup' | 'restorePlan' | 'restore' | 'job' | 'project' | 'apiKey' | 'downloadLink'): string;
}
