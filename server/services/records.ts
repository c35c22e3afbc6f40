import {
  type BackupState, type CaptureMethod, type Coverage, type DatabaseCount, type Engine, type Integrity, type SlotRange,
  type Trigger, type TypeCount, type VerificationLevel, type VerificationResult,
} from '../domain/backup.js';
import { type AuditAction, type AuditOutcome } from '../domain/audit.js';
import { type ErrorCode } from '../domain/errors.js';
import { type InspectedKey, type InspectionRequest, type InspectionSummary, type KeyFilter } from '../domain/inspection.js';
import { type JobConclusion, type JobFailure, type JobKind, type JobProgress, type JobState, type Phase, type PhaseRecord } from '../domain/job.js';
import { type CredentialKind, type Role } from '../domain/principal.js';
import { type RecoveryStatus } from '../domain/recovery.js';
import { type RestoreMethod } from '../domain/restore-method.js';
import { type HostPort, type SourceNode, type SourcePreference } from '../domain/source.js';
import { type Weekday } from '../domain/schedule.js';
import { type SlotStarter, type SlotState } from '../domain/slot.js';

export type * from './restore-records.js';

/*
 * What the services hand out: plain data, free of secrets, one record per noun of the schema. Related objects are named by id and
 * fetched through the loaders of a request.
 */

export interface ProjectRecord {
  id: string;
  name: string;
  createdAt: Date;
}

export interface ViewerRecord {
  credential: CredentialKind;
  keyId: string;
  keyName: string;
  role: Role;
  serviceWide: boolean;
  instanceIds: readonly string[] | null;
  expiresAt: Date | null;
  project: ProjectRecord;
}

/** Everything of a key but itself. */
export interface ApiKeyRecord {
  id: string;
  projectId: string;
  name: string;
  role: Role;
  serviceWide: boolean;
  /** null: all of the project. */
  instanceIds: readonly string[] | null;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
  /** To the minute. */
  lastUsedAt: Date | null;
}

export interface ApiKeyFilter {
  /** Only those that let somebody in at that instant. */
  validAt?: Date | null | undefined;
}

/** Something that somebody did, or was refused. */
export interface AuditEventRecord {
  id: string;
  projectId: string;
  /** Its place in the project's chain, from 1 on. */
  sequence: bigint;
  createdAt: Date;
  credential: CredentialKind | null;
  actorId: string | null;
  actorName: string | null;
  /** The address it came from. */
  address: string | null;
  action: AuditAction;
  outcome: AuditOutcome;
  code: ErrorCode | null;
  objectId: string | null;
  instanceId: string | null;
  details: Readonly<Record<string, string | number | boolean>>;
  /** Over it and the event before it. */
  hash: Buffer;
}

export interface AuditFilter {
  actions?: readonly AuditAction[] | null | undefined;
  outcomes?: readonly AuditOutcome[] | null | undefined;
  actorId?: string | null | undefined;
  objectId?: string | null | undefined;
  instanceId?: string | null | undefined;
  createdFrom?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
}

export interface ServerFactsRecord {
  probedAt: Date;
  engine: Engine;
  version: string;
  runId: string;
  role: 'MASTER' | 'REPLICA';
  mode: 'STANDALONE' | 'CLUSTER' | 'SENTINEL';
  usedMemoryBytes: bigint;
  maxMemoryBytes: bigint | null;
  maxMemoryPolicy: string | null;
  keys: bigint;
  databases: readonly DatabaseCount[];
  persistence: { appendOnly: boolean; saveRules: string | null; rdbChecksum: boolean | null };
  rdbVersion: number;
  connectedReplicas: number;
  slots: readonly SlotRange[];
  rights: readonly { command: string; allowed: boolean | null }[];
}

export interface CapabilitiesRecord {
  backup: { possible: boolean; method: CaptureMethod | null; reason: string | null };
  restore: { possible: boolean; methods: readonly RestoreMethod[]; reason: string | null };
}

export interface InstanceTlsRecord {
  serverName: string | null;
  hasCa: boolean;
  hasClientCertificate: boolean;
  insecureSkipVerify: boolean;
}

export interface InstanceRecord {
  id: string;
  projectId: string;
  name: string;
  host: string;
  port: number;
  username: string | null;
  hasPassword: boolean;
  tls: InstanceTlsRecord | null;
  acceptPartial: boolean;
  sourcePreference: SourcePreference;
  /** The replica that is preferred; null: those that the server announces. */
  replica: HostPort | null;
  skipSyncDelay: boolean;
  createdAt: Date;
  updatedAt: Date;
  removedAt: Date | null;
  server: ServerFactsRecord;
  capabilities: CapabilitiesRecord;
}

export type { Weekday } from '../domain/schedule.js';

export interface PolicyRecord {
  id: string;
  projectId: string;
  instanceId: string;
  enabled: boolean;
  weekdays: readonly Weekday[];
  startTime: string;
  windowMinutes: number;
  timeZone: string;
  retentionDays: number;
  nextRunAt: Date | null;
  updatedAt: Date;
}

export interface PlannedRunRecord {
  plannedAt: Date;
  windowStart: Date;
  windowEnd: Date;
  weekday: Weekday;
}

/** A planned run whose instant has come. */
export interface SlotRecord {
  id: string;
  projectId: string;
  policyId: string;
  instanceId: string;
  plannedAt: Date;
  weekday: Weekday | null;
  state: SlotState;
  startedBy: SlotStarter | null;
  jobId: string | null;
  reason: string | null;
}

export interface RecoveryRecord {
  instanceId: string;
  lastAvailableBackupId: string | null;
  ageSeconds: number | null;
  nextRunAt: Date | null;
  status: RecoveryStatus;
}

export interface SlotFilter {
  states?: readonly SlotState[] | null | undefined;
}

export interface LoadTargetRecord {
  engine: Engine;
  minVersion: string;
  maxVersion: string | null;
}

/** What is wrong with a DAMAGED backup. NOT_FOUND: its archive is not in the store. */
export interface DamageRecord {
  code: ErrorCode;
  message: string;
  noticedAt: Date;
}

/** How a verification of a backup ended that came to a result. */
export interface VerificationRecord {
  level: VerificationLevel;
  result: VerificationResult;
  verifiedAt: Date;
  /** Null: read through when its archive was adopted. */
  jobId: string | null;
}

export interface BackupRecord {
  id: string;
  projectId: string;
  instanceId: string;
  jobId: string | null;
  name: string;
  state: BackupState;
  trigger: Trigger;
  captureMethod: CaptureMethod;
  coverage: Coverage;
  /** Who it was read from; null until then, and for those from before 0.2. */
  source: SourceNode | null;
  engine: Engine;
  engineVersion: string;
  integrity: Integrity | null;
  unknownContent: { what: string; offset: bigint } | null;
  rdbVersion: number | null;
  sizeBytes: bigint | null;
  storedBytes: bigint | null;
  sha256: string | null;
  keys: bigint | null;
  expiringKeys: bigint | null;
  databases: readonly DatabaseCount[] | null;
  types: readonly TypeCount[] | null;
  functions: number | null;
  loadsOn: readonly LoadTargetRecord[] | null;
  createdAt: Date;
  startedAt: Date | null;
  completedAt: Date | null;
  durationMs: number | null;
  expiresAt: Date | null;
  retainedBecause: 'NEWEST_GOOD' | 'IN_USE' | null;
  /** Only for DAMAGED. */
  damage: DamageRecord | null;
  /** Hexadecimal, of the archive's manifest as it was sealed; null before that, and for archives that were sealed before 0.2. */
  manifestSha256: string | null;
  /** The newest of each level, newest first. */
  verifications: readonly VerificationRecord[];
  /** When it was last found good, at whatever level. */
  lastVerifiedAt: Date | null;
}

export interface InspectedKeyRecord extends Omit<InspectedKey, 'expiresAtMs' | 'offset'> {
  /** Within the years that a DateTime has. */
  expiresAt: Date | null;
  /** Left of its life when the backup was begun. */
  ttlSeconds: bigint | null;
}

/** What the newest inspection of a backup found that succeeded. Holds names of keys. */
export interface InspectionRecord extends Omit<InspectionSummary, 'largest'>, Pick<InspectionRequest, 'delimiter' | 'prefixDepth'> {
  projectId: string;
  backupId: string;
  jobId: string;
  inspectedAt: Date;
  /** null: all keys. */
  filter: KeyFilter | null;
  largest: readonly InspectedKeyRecord[];
}

/** What the next pass of retention does with a backup, and why. */
export interface RetentionVerdictRecord {
  backup: BackupRecord;
  action: 'DELETE' | 'KEEP';
  because: 'EXPIRED' | 'DELETING' | 'NOT_EXPIRED' | 'NEWEST_GOOD' | 'IN_USE' | 'STOPPED';
}

export interface RetentionStatusRecord {
  lastPassAt: Date | null;
  nextPassAt: Date | null;
  maxDeletions: number;
  stoppedBecause: string | null;
}

/** Something to know about a job that does not end it. */
export interface JobNoticeRecord {
  code: string;
  message: string;
}

export interface JobRecord {
  id: string;
  projectId: string;
  kind: JobKind;
  state: JobState;
  conclusion: JobConclusion | null;
  phase: Phase | null;
  phases: readonly PhaseRecord[];
  progress: (JobProgress & { fraction: number | null }) | null;
  failure: JobFailure | null;
  /** Of its NOTICE events, oldest first. */
  notices: readonly JobNoticeRecord[];
  attempt: number;
  sequence: number;
  createdAt: Date;
  startedAt: Date | null;
  completedAt: Date | null;
  cancelRequestedAt: Date | null;
  cancellable: boolean;
  instanceId: string | null;
  backupId: string | null;
  restoreId: string | null;
  /** Only of VERIFY. */
  verificationLevel: VerificationLevel | null;
}

export type JobEventKind = 'SNAPSHOT' | 'STATE' | 'PHASE' | 'PROGRESS' | 'NOTICE';

export interface JobEventRecord {
  /** Opaque feed cursor. */
  cursor: string;
  sequence: number;
  kind: JobEventKind;
  at: Date;
  /** As it was right after the change. */
  job: JobRecord;
  notice: JobNoticeRecord | null;
}

export interface DownloadLinkRecord {
  id: string;
  url: string;
  expiresAt: Date;
  singleUse: boolean;
  fileName: string;
  sizeBytes: bigint;
  sha256: string;
}

export interface ServiceRecord {
  version: string;
  sdkMajors: readonly number[];
  defaultTimeZone: string;
  retentionDays: number;
  /** `location` is null for those whom it does not concern. */
  store: { kind: 'FILE_SYSTEM' | 'S3'; location: string | null; writable: boolean; freeBytes: bigint | null };
  limits: {
    maxPageSize: number;
    maxNameLength: number;
    minDownloadLinkSeconds: number;
    maxDownloadLinkSeconds: number;
    restorePlanSeconds: number;
    idempotencyKeySeconds: number;
    concurrentJobs: number;
  };
  engines: readonly { engine: Engine; minVersion: string; disabledVersions: readonly string[] }[];
}

/** Relay arguments as they came in; the services check them. */
export interface PageArgs {
  first?: number | null | undefined;
  after?: string | null | undefined;
  last?: number | null | undefined;
  before?: string | null | undefined;
  order?: 'NEWEST_FIRST' | 'OLDEST_FIRST' | null | undefined;
}

/** One page. `totalCount` costs a query of its own, so it is fetched only when asked for. */
export interface Page<T> {
  items: readonly { cursor: string; item: T }[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
  totalCount(): Promise<number>;
}

/** A page of jobs, and where the feed stood before it was read. */
export interface JobPage extends Page<JobRecord> {
  feedCursor: string | null;
}

export interface InstanceFilter {
  nameContains?: string | null | undefined;
  engine?: Engine | null | undefined;
}

export interface BackupFilter {
  instanceId?: string | null | undefined;
  states?: readonly BackupState[] | null | undefined;
  triggers?: readonly Trigger[] | null | undefined;
  nameContains?: string | null | undefined;
  createdFrom?: Date | null | undefined;
  createdBefore?: Date | null | undefined;
}

export interface JobFilter {
  instanceIds?: readonly string[] | null | undefined;
  kinds?: readonly JobKind[] | null | undefined;
  states?: readonly JobState[] | null | undefined;
}
