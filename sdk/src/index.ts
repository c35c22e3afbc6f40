export { createClient, type Client } from './client.js';
export {
  isSnapbackError, JobFailedError, SnapbackError, UserInputError,
  type AnySnapbackError, type ClientErrorCode, type SnapbackErrorKind,
} from './errors.js';
export { TypedDocumentString, type TypedDocument } from './document.js';
export type { CallOptions, ClientOptions, KeyedCallOptions, WebSocketConstructor, WebSocketLike } from './options.js';
export type { ClientEvent, Transport } from './client-events.js';
export type { Outcome, Tries } from './outcome.js';
export type { RetryOptions } from './timing.js';
export type { List, ListOptions, Page } from './list.js';
export type { Ref } from './payload.js';
export type { ApiKeyAndToken, ApiKeyMutations, ApiKeys, Audit, ProjectMutations, Projects } from './access.js';
export type { InstanceMutations, Instances, Recovery } from './instances.js';
export type { GetPolicyOptions, Policies, Policy, PolicyMutations } from './policies.js';
export type { BackupAndJob, BackupMutations, BackupRef, Backups, DownloadLink, RetentionVerdict } from './backups.js';
export type { DownloadOptions, DownloadSummary } from './download.js';
export type { RestoreAndJob, RestoreMutations, RestoreRef, Restores, RunOptions } from './restores.js';
export type { FeedOptions, JobMutations, Jobs, WaitOptions, WatchOptions } from './jobs.js';
export type { Service, ServiceInfo, Viewer } from './service.js';
export { SCHEMA_SHA256, SDK_VERSION } from './generated/schema.js';
export type {
  ApiKeyFragment as ApiKey,
  AuditEventFragment as AuditEvent,
  BackupFragment as Backup,
  InspectedKeyFragment as InspectedKey,
  InspectionFragment as Inspection,
  InstanceFragment as Instance,
  JobFragment as Job,
  JobEventFragment as JobEvent,
  ProjectFragment as Project,
  RestoreFragment as Restore,
  RestorePlanFragment as RestorePlan,
  SlotFragment as Slot,
  UserErrorFragment as UserError,
  ApiKeyFilter, AuditEventFilter, BackupFilter, BackupNowInput, CreateApiKeyInput, CreateProjectInput, CreateRestorePlanInput, DeleteBackupInput, InspectBackupInput, InstanceFilter, JobFilter,
  KeyFilter,
  RegisterInstanceInput, RemoveInstanceInput, RestoreBackupInput, RestoreFilter, SetBackupPolicyInput, SlotFilter,
  TlsInput, UpdateInstanceInput, VerifyBackupInput,
  AuditAction, AuditOutcome, BackupState, BackupTrigger, ConflictRule, CredentialKind, DataNow, Engine, ErrorCode, Integrity, JobConclusion,
  JobEventKind, JobKind, JobState, KeyType, ListOrder, Phase, RecoveryStatus, RestoreMethod, RestorePlanState, Role, TtlRule,
  SlotStarter, SlotState, VerificationLevel, VerificationResult, Weekday,
} from './generated/operations.js';
