import { type VerificationLevel } from '../domain/backup.js';
import { type KeyFilter } from '../domain/inspection.js';
import { type RestoreMethod } from '../domain/restore-method.js';
import { type ConflictRule, type DatabaseMapping, type TtlRule } from '../domain/restore-options.js';
import { type HostPort, type SourcePreference } from '../domain/source.js';
import { type Principal, type Role } from '../domain/principal.js';
import {
  type ApiKeyRecord, type AuditEventRecord, type AuditFilter, type BackupFilter, type BackupRecord, type DownloadLinkRecord, type InspectedKeyRecord, type InspectionRecord, type InstanceFilter, type InstanceRecord, type JobEventRecord,
  type JobFilter, type JobPage, type JobRecord, type KeyFailureRecord, type Page, type PageArgs, type PlanDetailRecord, type PlannedRunRecord, type PolicyRecord, type ProjectRecord, type RecoveryRecord,
  type RestoreFilter, type RestorePlanRecord, type RestoreRecord, type RetentionStatusRecord, type RetentionVerdictRecord, type ServiceRecord, type SlotFilter, type SlotRecord, type ViewerRecord, type Weekday,
} from './records.js';
import { type ListedBackup, type WantedOfBackups } from './wanted.js';

/*
 * What the edge (GraphQL, downloads) may ask of the services. Every method takes the caller first and authorises before it does
 * anything else; an undefined caller is UNAUTHENTICATED. Faults are DomainErrors. `get` answers null for what is not there or not the
 * caller's; `getMany` answers in the order of the ids (null for what is missing), and serves the loaders.
 */
export type Caller = Principal | undefined;

export interface TlsChange {
  ca?: string | null | undefined;
  cert?: string | null | undefined;
  key?: string | null | undefined;
  serverName?: string | null | undefined;
  insecureSkipVerify: boolean;
}

export interface RegisterInstance {
  name: string;
  host: string;
  port: number;
  username?: string | null | undefined;
  password?: string | null | undefined;
  tls?: TlsChange | null | undefined;
  acceptPartial: boolean;
  sourcePreference: SourcePreference;
  replica?: HostPort | null | undefined;
  skipSyncDelay: boolean;
  idempotencyKey?: string | null | undefined;
}

/** `undefined` leaves a field as it is; `null` removes it where that is possible. */
export interface UpdateInstance {
  instanceId: string;
  name?: string | null | undefined;
  host?: string | null | undefined;
  port?: number | null | undefined;
  username?: string | null | undefined;
  password?: string | null | undefined;
  tls?: TlsChange | null | undefined;
  acceptPartial?: boolean | null | undefined;
  sourcePreference?: SourcePreference | null | undefined;
  replica?: HostPort | null | undefined;
  skipSyncDelay?: boolean | null | undefined;
  idempotencyKey?: string | null | undefined;
}

export interface InstanceApi {
  get(caller: Caller, id: string): Promise<InstanceRecord | null>;
  getMany(caller: Caller, ids: readonly string[]): Promise<(InstanceRecord | null)[]>;
  list(caller: Caller, filter: InstanceFilter, page: PageArgs): Promise<Page<InstanceRecord>>;
  register(caller: Caller, input: RegisterInstance): Promise<InstanceRecord>;
  update(caller: Caller, input: UpdateInstance): Promise<InstanceRecord>;
  remove(caller: Caller, input: { instanceId: string; deleteBackups: boolean; abandonTarget: boolean; idempotencyKey?: string | null | undefined }): Promise<InstanceRecord>;
  probe(caller: Caller, input: { instanceId: string; idempotencyKey?: string | null | undefined }): Promise<InstanceRecord>;
}

export interface SetBackupPolicy {
  instanceId: string;
  enabled?: boolean | null | undefined;
  weekdays?: readonly Weekday[] | null | undefined;
  startTime?: string | null | undefined;
  windowMinutes?: number | null | undefined;
  timeZone?: string | null | undefined;
  idempotencyKey?: string | null | undefined;
}

export interface PolicyApi {
  get(caller: Caller, id: string): Promise<PolicyRecord | null>;
  /** By instance ids, for the loader. */
  getManyByInstance(caller: Caller, instanceIds: readonly string[]): Promise<(PolicyRecord | null)[]>;
  set(caller: Caller, input: SetBackupPolicy): Promise<PolicyRecord>;
  /** @param first 1 to 100 */
  upcomingRuns(caller: Caller, policy: PolicyRecord, first: number): PlannedRunRecord[];
}

export interface SlotApi {
  get(caller: Caller, id: string): Promise<SlotRecord | null>;
  /** The same page of each of these instances, in the order of the ids; slots in the order of their planned instants. */
  listByInstance(caller: Caller, instanceIds: readonly string[], filter: SlotFilter, page: PageArgs): Promise<Page<SlotRecord>[]>;
}

export interface RecoveryApi {
  /** By instance ids, for the loader. */
  getManyByInstance(caller: Caller, instanceIds: readonly string[]): Promise<(RecoveryRecord | null)[]>;
}

export interface CreateDownloadLink {
  backupId: string;
  expiresInSeconds: number;
  singleUse: boolean;
  idempotencyKey?: string | null | undefined;
}

export interface BackupApi {
  get(caller: Caller, id: string): Promise<BackupRecord | null>;
  getMany(caller: Caller, ids: readonly string[]): Promise<(BackupRecord | null)[]>;
  /** Newest AVAILABLE backup per instance, safety copies apart; for the loader. */
  latestByInstance(caller: Caller, instanceIds: readonly string[]): Promise<(BackupRecord | null)[]>;
  /** @param wanted what will be looked at of the backups; all of them, without what hangs on them, when it is left out */
  list(caller: Caller, filter: BackupFilter, page: PageArgs, wanted?: WantedOfBackups): Promise<Page<ListedBackup>>;
  /** The same page of each of these instances, in the order of the ids. */
  listByInstance(caller: Caller, instanceIds: readonly string[], filter: BackupFilter, page: PageArgs, wanted?: WantedOfBackups): Promise<Page<ListedBackup>[]>;
  backupNow(caller: Caller, input: { instanceId: string; name: string; idempotencyKey?: string | null | undefined }): Promise<{ backup: BackupRecord; job: JobRecord }>;
  verify(caller: Caller, input: { backupId: string; level: VerificationLevel; idempotencyKey?: string | null | undefined }): Promise<{ backup: BackupRecord; job: JobRecord }>;
  delete(caller: Caller, input: { backupId: string; force: boolean; idempotencyKey?: string | null | undefined }): Promise<{ backup: BackupRecord; job: JobRecord }>;
  createDownloadLink(caller: Caller, input: CreateDownloadLink): Promise<DownloadLinkRecord>;
  /** Answers with how many links that could still be used have been revoked. */
  revokeDownloadLinks(caller: Caller, input: { backupId: string; linkId?: string | null | undefined; idempotencyKey?: string | null | undefined }): Promise<number>;
}

export interface InspectBackup {
  backupId: string;
  filter?: Partial<KeyFilter> | null | undefined;
  delimiter: string;
  prefixDepth: number;
  idempotencyKey?: string | null | undefined;
}

/** Names of keys are data: reading them takes what downloading does. */
export interface InspectionApi {
  start(caller: Caller, input: InspectBackup): Promise<{ backup: BackupRecord; job: JobRecord }>;
  /** By backup ids, for the loader. */
  latestByBackup(caller: Caller, backupIds: readonly string[]): Promise<(InspectionRecord | null)[]>;
  /** The listed keys, in the order of the file, forward only. */
  keys(caller: Caller, inspection: InspectionRecord, page: Pick<PageArgs, 'first' | 'after'>): Promise<Page<InspectedKeyRecord>>;
  /** The first page of each of these inspections, in their order. */
  firstKeys(caller: Caller, inspections: readonly InspectionRecord[], first: number | null | undefined): Promise<Page<InspectedKeyRecord>[]>;
}

export interface CreatePlan {
  backupId: string;
  instanceId: string;
  safetyBackup: boolean;
  pauseWrites: boolean;
  disklessLoad: boolean;
  /** Null: ours to choose. */
  method?: RestoreMethod | null | undefined;
  keys?: Partial<KeyFilter> | null | undefined;
  databaseMap: readonly DatabaseMapping[];
  keyPrefix?: { replace?: string | null | undefined; by: string } | null | undefined;
  ttl: TtlRule;
  onConflict?: ConflictRule | null | undefined;
  flushFirst?: boolean | null | undefined;
  acceptedLosses: readonly string[];
  idempotencyKey?: string | null | undefined;
}

export interface RestoreApi {
  getPlan(caller: Caller, id: string): Promise<RestorePlanRecord | null>;
  getPlans(caller: Caller, ids: readonly string[]): Promise<(RestorePlanRecord | null)[]>;
  get(caller: Caller, id: string): Promise<RestoreRecord | null>;
  getMany(caller: Caller, ids: readonly string[]): Promise<(RestoreRecord | null)[]>;
  list(caller: Caller, filter: RestoreFilter, page: PageArgs): Promise<Page<RestoreRecord>>;
  /** What of plans tells of data; null for those who may not read data. */
  planDetails(caller: Caller, planIds: readonly string[]): Promise<(PlanDetailRecord | null)[]>;
  /** The first keys that failed in restores; null where there are none, and for those who may not read data. */
  keyFailures(caller: Caller, restoreIds: readonly string[]): Promise<(readonly KeyFailureRecord[] | null)[]>;
  createPlan(caller: Caller, input: CreatePlan): Promise<RestorePlanRecord>;
  restoreBackup(caller: Caller, input: { planId: string; confirmation: string; acceptedWarnings: readonly string[]; idempotencyKey?: string | null | undefined }): Promise<{ restore: RestoreRecord; job: JobRecord }>;
}

export interface JobApi {
  get(caller: Caller, id: string): Promise<JobRecord | null>;
  getMany(caller: Caller, ids: readonly string[]): Promise<(JobRecord | null)[]>;
  /** The unfinished backup or restore per instance; for the loader. */
  runningByInstance(caller: Caller, instanceIds: readonly string[]): Promise<(JobRecord | null)[]>;
  /** @param wanted whether the page is to say from where the feed goes on; else its `feedCursor` is null */
  list(caller: Caller, filter: JobFilter, page: PageArgs, wanted?: { feedCursor: boolean }): Promise<JobPage>;
  cancel(caller: Caller, input: { jobId: string; idempotencyKey?: string | null | undefined }): Promise<JobRecord>;
  /** See `Subscription.jobProgress`. Ends by itself; ends early when `return()` is called. */
  progress(caller: Caller, input: { jobId: string; afterSequence?: number | null | undefined }): Promise<AsyncIterableIterator<JobEventRecord>>;
  /** See `Subscription.jobEvents`. */
  events(caller: Caller, input: { filter: JobFilter; after?: string | null | undefined }): Promise<AsyncIterableIterator<JobEventRecord>>;
}

export interface RetentionApi {
  /** Of the whole service, the same for all projects. */
  status(caller: Caller): Promise<RetentionStatusRecord>;
  /** See `Query.retentionPreview`. */
  preview(caller: Caller, filter: { instanceId?: string | null | undefined }, page: PageArgs): Promise<Page<RetentionVerdictRecord>>;
}

/** A caller's own project; all of them for service-wide keys. */
export interface ProjectApi {
  get(caller: Caller, id: string): Promise<ProjectRecord | null>;
  list(caller: Caller, page: PageArgs): Promise<Page<ProjectRecord>>;
  create(caller: Caller, input: { name: string; idempotencyKey?: string | null | undefined }): Promise<ProjectRecord>;
}

export interface CreateApiKey {
  name: string;
  role: Role;
  serviceWide: boolean;
  projectId?: string | null | undefined;
  instanceIds?: readonly string[] | null | undefined;
  expiresAt?: Date | null | undefined;
  idempotencyKey?: string | null | undefined;
}

/** Keys of the caller's project; of any for service-wide administrators. */
export interface ApiKeyApi {
  get(caller: Caller, id: string): Promise<ApiKeyRecord | null>;
  list(caller: Caller, filter: { projectId?: string | null | undefined; validOnly?: boolean | null | undefined }, page: PageArgs): Promise<Page<ApiKeyRecord>>;
  /** @returns the key's text too: here, and never again but to the same caller that repeats it with its idempotency key */
  create(caller: Caller, input: CreateApiKey): Promise<{ apiKey: ApiKeyRecord; token: string }>;
  revoke(caller: Caller, input: { apiKeyId: string; idempotencyKey?: string | null | undefined }): Promise<ApiKeyRecord>;
}

/** Who did what in the caller's project; in any for service-wide administrators. */
export interface AuditApi {
  get(caller: Caller, id: string): Promise<AuditEventRecord | null>;
  list(caller: Caller, filter: AuditFilter & { projectId?: string | null | undefined }, page: PageArgs): Promise<Page<AuditEventRecord>>;
}

export interface ServiceApi {
  viewer(caller: Caller): Promise<ViewerRecord>;
  service(caller: Caller): Promise<ServiceRecord>;
}

/** All of them; what `graphql/` and `http/` are built on. */
export interface Services {
  instances: InstanceApi;
  policies: PolicyApi;
  slots: SlotApi;
  recovery: RecoveryApi;
  backups: BackupApi;
  inspections: InspectionApi;
  restores: RestoreApi;
  jobs: JobApi;
  retention: RetentionApi;
  projects: ProjectApi;
  apiKeys: ApiKeyApi;
  audit: AuditApi;
  service: ServiceApi;
}
