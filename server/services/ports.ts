import { type BackupState, type Coverage, type Engine, type Trigger, type VerificationLevel } from '../domain/backup.js';
import { type ErrorCode } from '../domain/errors.js';
import { type JobConclusion, type JobFailure, type JobKind, type JobProgress, type JobState, type Phase, type PhaseRecord } from '../domain/job.js';
import { type Notice, type NoticeKind } from '../domain/notice.js';
import { type Role } from '../domain/principal.js';
import { type RecoveryFacts } from '../domain/recovery.js';
import { type RetentionFacts, type RetentionInstance } from '../domain/retention.js';
import { type ProbeReport } from '../domain/server-report.js';
import { type KnownArchive } from '../engine/archive/archive.js';
import { type Endpoint } from '../engine/ports.js';
import { type TargetFindings } from '../engine/target/check.js';
import { type UndoRecord } from '../engine/target/undo-record.js';
import {
  type BackupFilter, type BackupRecord, type InstanceFilter, type InstanceRecord, type JobEventKind, type JobEventRecord, type JobFilter,
  type JobRecord, type PolicyRecord, type ProjectRecord, type RestoreFilter, type RestorePlanRecord, type RestoreRecord, type RetentionStatusRecord,
  type SlotFilter, type SlotRecord,
} from './records.js';

export type { UndoRecord } from '../engine/target/undo-record.js';

/* What the services need from the outside. Implemented by db/, security/, jobs/ and events/, wired in app.ts. */

/** The tenant. A required argument of every read and write of tenants' rows, so that forgetting it does not compile. */
export interface Scope {
  readonly projectId: string;
}

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

export interface LinkClaims {
  backupId: string;
  projectId: string;
  expiresAt: Date;
}

export interface LinkSigner {
  sign(claims: LinkClaims): string;
  /** undefined for anything forged, edited or expired, without telling which. */
  verify(token: string, now: Date): LinkClaims | undefined;
}

/** A page as the repositories take it: `limit` items, starting next to `from`, walking `forward` or backward through `order`. */
export interface PageQuery {
  order: 'NEWEST_FIRST' | 'OLDEST_FIRST';
  forward: boolean;
  limit: number;
  from: { createdAt: Date; id: string } | null;
}

/** `items` stand in the list's order; `more` says whether the walk's direction holds further ones. */
export interface PageResult<T> {
  items: T[];
  more: boolean;
}

export interface ApiKeyRow {
  id: string;
  projectId: string;
  name: string;
  role: Role;
  secretHash: Buffer;
  expiresAt: Date | null;
  revokedAt: Date | null;
}

export interface ApiKeyRepository {
  /** Across tenants: this is how a caller becomes somebody. */
  findForLogin(id: string): Promise<ApiKeyRow | null>;
  insert(key: ApiKeyRow & { createdAt: Date }): Promise<void>;
  count(): Promise<number>;
}

export interface ProjectRepository {
  get(id: string): Promise<ProjectRecord | null>;
  insert(project: ProjectRecord): Promise<void>;
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
  list(scope: Scope, instanceId: string, filter: SlotFilter, page: PageQuery): Promise<PageResult<SlotRecord>>;
  count(scope: Scope, instanceId: string, filter: SlotFilter): Promise<number>;
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
  list(scope: Scope, filter: BackupFilter, page: PageQuery): Promise<PageResult<BackupRecord>>;
  count(scope: Scope, filter: BackupFilter): Promise<number>;
  insert(backup: NewBackup): Promise<void>;
  /** Moves a backup from one of `from` and sets `change`; false when it is in another state. */
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

export interface NewJob {
  id: string;
  projectId: string;
  kind: JobKind;
  createdAt: Date;
  instanceId: string | null;
  backupId: string | null;
  restoreId: string | null;
  /** The server that a BACKUP or RESTORE works on: the lock. */
  serverRunId: string | null;
  cancellable: boolean;
  maxAttempts: number;
  /** Of a VERIFY. */
  verificationLevel?: VerificationLevel | undefined;
}

export interface JobChange {
  state?: JobState;
  conclusion?: JobConclusion | null;
  phase?: Phase | null;
  phases?: readonly PhaseRecord[];
  progress?: JobProgress | null;
  failure?: JobFailure | null;
  startedAt?: Date;
  completedAt?: Date;
  cancelRequestedAt?: Date;
  cancellable?: boolean;
  backupId?: string;
}

export interface JobEventDraft {
  kind: JobEventKind;
  at: Date;
  notice?: { code: string; message: string };
}

export interface JobRepository {
  get(scope: Scope, id: string): Promise<JobRecord | null>;
  getMany(scope: Scope, ids: readonly string[]): Promise<JobRecord[]>;
  runningByInstance(scope: Scope, instanceIds: readonly string[]): Promise<JobRecord[]>;
  list(scope: Scope, filter: JobFilter, page: PageQuery): Promise<PageResult<JobRecord>>;
  count(scope: Scope, filter: JobFilter): Promise<number>;
  /** Inserts the row and its first event. null when another unfinished job holds the server's lock. */
  insert(job: NewJob): Promise<JobRecord | null>;
  /** The unfinished backup or restore on a server, over all tenants. */
  runningOnServer(runId: string): Promise<JobRecord | null>;
  /**
   * Changes a job and appends the event that describes the change, in the caller's transaction. With `fence`, only while that run still
   * owns the job. null when the condition does not hold: then nothing is changed.
   */
  change(id: string, expected: { fence?: number; states?: readonly JobState[]; cancellable?: true; uncancelled?: true; neverRun?: true }, change: JobChange, event: JobEventDraft): Promise<JobRecord | null>;
}

/** An event as it is kept; `position` is its place in the feed of all projects. */
export interface JobEventRow extends Omit<JobEventRecord, 'cursor'> {
  position: string;
}

export interface JobEventRepository {
  /**
   * Appends an event in the transaction of the change it describes, and announces it to `topics` at the commit. Appending holds one lock
   * for all nodes until the commit: a transaction that has appended is short, and waits for no lock that another may hold who appends.
   * Progress that has been superseded goes: of a running job at most one PROGRESS event is kept, of an ended one none.
   */
  append(job: JobRecord, event: JobEventDraft, topics: readonly string[]): Promise<void>;
  ofJob(scope: Scope, jobId: string, afterSequence: number, limit: number): Promise<JobEventRow[]>;
  ofProject(scope: Scope, filter: JobFilter, afterPosition: string, limit: number): Promise<JobEventRow[]>;
  /** Of the project's newest event, or of a job's; `0` when there is none. */
  lastPosition(scope: Scope, jobId?: string): Promise<string>;
}

export interface PlanRow extends RestorePlanRecord {
  /** The caller that made it: only the same key may use it. */
  keyId: string;
  /** Digest of what the plan is bound to besides the fields of its own. */
  usedAt: Date | null;
}

export interface PlanRepository {
  get(scope: Scope, id: string): Promise<PlanRow | null>;
  insert(plan: PlanRow): Promise<void>;
  /** Marks a plan as used; false when it was used already. */
  use(scope: Scope, id: string, at: Date): Promise<boolean>;
}

export type RestoreChange = Partial<Pick<RestoreRecord, 'safetyBackupId' | 'dataNow' | 'unsavedWriteBytes' | 'report' | 'completedAt'>> & {
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
}

export interface IdempotencyRepository {
  /** What a committed first call stored, while it is kept. */
  find(scope: Scope, claim: { mutation: string; key: string; at: Date }): Promise<{ inputHash: string; result: Record<string, string> } | null>;
  /**
   * Claims a key in the caller's transaction. `null`: it is ours now, and `result` is stored with it. Otherwise what the first call
   * stored; a racing first call is waited for.
   */
  claim(scope: Scope, claim: { mutation: string; key: string; inputHash: string; result: Record<string, string>; at: Date }): Promise<{ inputHash: string; result: Record<string, string> } | null>;
  /** Removes at most `limit` keys past their time. */
  forgetOld(limit: number): Promise<void>;
}

/** A job as the run that owns it sees it. */
export interface ClaimedJob {
  job: JobRecord;
  fence: number;
  /** The server whose lock the job holds. */
  serverRunId: string | null;
  maxAttempts: number;
}

export interface Claim {
  worker: string;
  leaseMs: number;
  /** Most jobs that may run on all nodes together; null: no limit. */
  limit: number | null;
  at: Date;
}

export interface GivenBack {
  /** Nobody takes it before. */
  waitMs: number;
  /** Whether the attempt counts against those that the job has. */
  counts: boolean;
}

/** Who works on what: leases by the database's clock, and a fence that grows with each run. Over all tenants. */
export interface RunRepository {
  /**
   * QUEUED and not to be waited for → RUNNING, with its event. null: somebody else has it, it is over, or as many run as may; then it
   * stays QUEUED, and whoever ends a run looks for it. Comes first in its transaction.
   */
  claim(jobId: string, claim: Claim): Promise<ClaimedJob | null>;
  /** null: the lease is lost. */
  renew(jobId: string, fence: number, leaseMs: number): Promise<{ cancelRequested: boolean } | null>;
  /** Whether that run still owns the job. */
  owns(jobId: string, fence: number): Promise<boolean>;
  /** As `owns`, and nobody can take the job over until the transaction ends. */
  hold(jobId: string, fence: number): Promise<boolean>;
  /** Moves the job's lock to another server, after its restart say; false: that one is busy, or the lease is lost. A statement of its own, not for transactions. */
  bindServer(jobId: string, fence: number, runId: string): Promise<boolean>;
  /** Gives a run's job back to the queue, with its event; false: the lease is lost. */
  giveBack(jobId: string, fence: number, given: GivenBack, at: Date): Promise<boolean>;
  /** RUNNING jobs whose lease is over, with the fences of their dead runs. */
  expired(limit: number): Promise<{ id: string; fence: number; attempt: number }[]>;
  /** As `giveBack`, for a run whose lease is over. */
  takeBack(jobId: string, fence: number, waitMs: number, at: Date): Promise<boolean>;
  /** QUEUED jobs that may run, and for how long already. */
  waiting(limit: number): Promise<{ id: string; forMs: number }[]>;
}

/** The outbox: what the operator's webhook is told. */
export interface NoticeRepository {
  /** To be called in the transaction of the change it tells of. Waits for no lock. Without a webhook it does nothing. */
  append(notice: Notice): Promise<void>;
  /**
   * Takes notices that are due, the longest due first, each for one caller alone until `leaseMs` are over; then it is due again. Waits for
   * nobody: what another node is taking at this moment is left to it.
   */
  claim(limit: number, leaseMs: number): Promise<DueNotice[]>;
  /** What becomes of a notice after an attempt. false: another attempt has been made since, and nothing was changed. */
  settle(notice: Pick<DueNotice, 'id' | 'attempt'>, outcome: NoticeOutcome): Promise<boolean>;
  /** Notices that are to be delivered, now or later. */
  countPending(): Promise<number>;
  /** Removes at most so many that are older than 30 days, delivered or not. */
  forgetOld(limit: number): Promise<void>;
}

export interface DueNotice {
  id: string;
  kind: NoticeKind;
  /** As it is signed and sent. */
  body: string;
  /** 1 for the first. */
  attempt: number;
}

/** `PENDING`: due again after `waitMs`. */
export type NoticeOutcome = { state: 'DELIVERED' | 'GIVEN_UP' } | { state: 'PENDING'; waitMs: number };

/** The operator's receiver. */
export interface Webhook {
  /** Where it is, without anything that may be a secret. */
  readonly host: string;
  /** Resolves when the receiver has taken the notice, and otherwise rejects with a DomainError, within the time that is allowed or when `signal` fires. */
  send(notice: DueNotice, signal: AbortSignal): Promise<void>;
  close(): void;
}

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

export interface Repositories {
  /** The database's clock: what schedules and leases of all nodes are judged by. */
  now(): Promise<Date>;
  settings: SettingRepository;
  locks: LockRepository;
  upkeep: UpkeepRepository;
  projects: ProjectRepository;
  apiKeys: ApiKeyRepository;
  instances: InstanceRepository;
  policies: PolicyRepository;
  slots: SlotRepository;
  recovery: RecoveryRepository;
  backups: BackupRepository;
  leases: LeaseRepository;
  jobs: JobRepository;
  runs: RunRepository;
  events: JobEventRepository;
  plans: PlanRepository;
  restores: RestoreRepository;
  idempotency: IdempotencyRepository;
  notices: NoticeRepository;
}

export interface Database {
  /** Each call its own transaction. */
  readonly read: Repositories;
  transaction<T>(work: (tx: Repositories) => Promise<T>): Promise<T>;
  /** Whether a transaction that failed like this may succeed when it is repeated: the connection was lost, the server restarts, two waited for each other. */
  isTransient(error: unknown): boolean;
}

/** Wakes workers; called after the commit. Losing a call is harmless: the reconcile pass finds the row. */
export interface WorkQueue {
  enqueueJob(jobId: string): Promise<void>;
  /** Replaces the policy's pending wake-up; null removes it. */
  schedulePolicy(policyId: string, at: Date | null): Promise<void>;
}

/** Reads job events since a position and waits for more. */
export interface EventFeed {
  job(scope: Scope, jobId: string, afterSequence: number): AsyncIterableIterator<JobEventRecord>;
  /** @param cursor null: from now on */
  project(scope: Scope, filter: JobFilter, cursor: string | null): Promise<AsyncIterableIterator<JobEventRecord>>;
}

/** What the services ask of the engine about servers and archives. Faults are DomainErrors. */
export interface EnginePort {
  probe(endpoint: Endpoint): Promise<ProbeReport>;
  /** Opens a control connection, looks, and closes it again. */
  inspectTarget(endpoint: Endpoint, archive: ArchiveRef, options: { safetyBackup: boolean; pauseWrites: boolean }): Promise<TargetFindings>;
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
  make(kind: 'instance' | 'policy' | 'slot' | 'backup' | 'restorePlan' | 'restore' | 'job' | 'project' | 'apiKey'): string;
}
