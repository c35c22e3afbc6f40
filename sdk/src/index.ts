export { createClient, type Client } from './client.js';
export {
  isSnapbackError, JobFailedError, SnapbackError, UserInputError,
  type ClientErrorCode, type SnapbackErrorKind,
} from './errors.js';
export { TypedDocumentString, type TypedDocument } from './document.js';
export { type CallOptions, type ClientOptions, type KeyedCallOptions, type WebSocketConstructor, type WebSocketLike } from './options.js';
export { type RetryOptions } from './timing.js';
export { type List, type ListOptions, type Page } from './list.js';
export { type Ref } from './payload.js';
export { type ApiKeyAndToken, type ApiKeys, type Audit, type Projects } from './access.js';
export { type Instances, type Recovery } from './instances.js';
export { type GetPolicyOptions, type Policies, type Policy } from './policies.js';
export { type BackupAndJob, type BackupRef, type Backups, type DownloadLink, type RetentionVerdict } from './backups.js';
export { type DownloadOptions, type DownloadSummary } from './download.js';
export { type RestoreAndJob, type RestoreRef, type Restores } from './restores.js';
export { type FeedOptions, type Jobs, type WaitOptions, type WatchOptions } from './jobs.js';
export { SCHEMA_SHA256, SDK_VERSION } from './generated/schema.js';
export {
  type ApiKeyFragment as ApiKey,
  type AuditEventFragment as AuditEvent,
  type BackupFragment as Backup,
  type InspectedKeyFragment as InspectedKey,
  type InspectionFragment as Inspection,
  type InstanceFragment as Instance,
  type JobFragment as Job,
  type JobEventFragment as JobEvent,
  type ProjectFragment as Project,
  type RestoreFragment as Restore,
  type RestorePlanFragment as RestorePlan,
  type SlotFragment as Slot,
  type UserErrorFragment as UserError,
  type ApiKeyFilter, type AuditEventFilter, type BackupFilter, type BackupNowInput, type CreateApiKeyInput, type CreateProjectInput, type CreateRestorePlanInput, type DeleteBackupInput, type InspectBackupInput, type InstanceFilter, type JobFilter,
  type KeyFilter,
  type RegisterInstanceInput, type RemoveInstanceInput, type RestoreBackupInput, type RestoreFilter, type SetBackupPolicyInput, type SlotFilter,
  type TlsInput, type UpdateInstanceInput, type VerifyBackupInput,
  type AuditAction, type AuditOutcome, type BackupState, type BackupTrigger, type ConflictRule, type CredentialKind, type DataNow, type Engine, type ErrorCode, type Integrity, type JobConclusion,
  type JobEventKind, type JobKind, type JobState, type KeyType, type ListOrder, type Phase, type RecoveryStatus, type RestoreMethod, type RestorePlanState, type Role, type TtlRule,
  type SlotStarter, type SlotState, type VerificationLevel, type VerificationResult, type Weekday,
} from './generated/operations.js';
