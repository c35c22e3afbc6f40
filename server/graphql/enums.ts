import { registerEnumType } from 'type-graphql';
import { AUDIT_ACTIONS, AUDIT_OUTCOMES } from '../domain/audit.js';
import { BACKUP_STATES, CAPTURE_METHODS, CONSISTENCIES, ENGINES, INTEGRITIES, KEY_TYPES, TRIGGERS, VERIFICATION_LEVELS, VERIFICATION_RESULTS } from '../domain/backup.js';
import { ERROR_CODES } from '../domain/errors.js';
import { JOB_CONCLUSIONS, JOB_KINDS, JOB_STATES, PHASES } from '../domain/job.js';
import { CREDENTIAL_KINDS, ROLES } from '../domain/principal.js';
import { RECOVERY_STATUSES } from '../domain/recovery.js';
import { RESTORE_METHODS } from '../domain/restore-method.js';
import { CONFLICT_RULES, TTL_RULES } from '../domain/restore-options.js';
import { SLOT_STARTERS, SLOT_STATES } from '../domain/slot.js';
import { SOURCE_PREFERENCES } from '../domain/source.js';

/** An enum whose values are their own names, as everywhere in this service. Descriptions are the SDL's. */
const enumeration = <T extends string>(name: string, values: readonly T[]): Readonly<Record<T, T>> => {
  const members = Object.fromEntries(values.map((value) => [value, value])) as Record<T, T>;
  registerEnumType(members, { name });
  return members;
};

export const ErrorCodeEnum = enumeration('ErrorCode', ERROR_CODES);
export const ListOrderEnum = enumeration('ListOrder', ['NEWEST_FIRST', 'OLDEST_FIRST']);
export const RoleEnum = enumeration('Role', ROLES);
export const AuditActionEnum = enumeration('AuditAction', AUDIT_ACTIONS);
export const AuditOutcomeEnum = enumeration('AuditOutcome', AUDIT_OUTCOMES);
export const CredentialKindEnum = enumeration('CredentialKind', CREDENTIAL_KINDS);
export const StoreKindEnum = enumeration('StoreKind', ['FILE_SYSTEM', 'S3']);

export const EngineEnum = enumeration('Engine', ENGINES);
export const ServerRoleEnum = enumeration('ServerRole', ['MASTER', 'REPLICA']);
export const ServerModeEnum = enumeration('ServerMode', ['STANDALONE', 'CLUSTER', 'SENTINEL']);
export const CaptureMethodEnum = enumeration('CaptureMethod', CAPTURE_METHODS);
export const ConsistencyEnum = enumeration('Consistency', CONSISTENCIES);
export const SourcePreferenceEnum = enumeration('SourcePreference', SOURCE_PREFERENCES);
export const RestoreMethodEnum = enumeration('RestoreMethod', RESTORE_METHODS);

export const WeekdayEnum = enumeration('Weekday', ['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY']);

export const SlotStateEnum = enumeration('SlotState', SLOT_STATES);
export const SlotStarterEnum = enumeration('SlotStarter', SLOT_STARTERS);
export const RecoveryStatusEnum = enumeration('RecoveryStatus', RECOVERY_STATUSES);

export const BackupStateEnum = enumeration('BackupState', BACKUP_STATES);
export const BackupTriggerEnum = enumeration('BackupTrigger', TRIGGERS);
export const IntegrityEnum = enumeration('Integrity', INTEGRITIES);
export const CoverageKindEnum = enumeration('CoverageKind', ['INSTANCE', 'SHARD']);
export const RetainedBecauseEnum = enumeration('RetainedBecause', ['NEWEST_GOOD', 'IN_USE']);
export const RetentionActionEnum = enumeration('RetentionAction', ['DELETE', 'KEEP']);
export const RetentionReasonEnum = enumeration('RetentionReason', ['EXPIRED', 'DELETING', 'NOT_EXPIRED', 'NEWEST_GOOD', 'IN_USE', 'STOPPED']);
export const VerificationLevelEnum = enumeration('VerificationLevel', VERIFICATION_LEVELS);
export const VerificationResultEnum = enumeration('VerificationResult', VERIFICATION_RESULTS);
export const KeyTypeEnum = enumeration('KeyType', KEY_TYPES);

export const JobKindEnum = enumeration('JobKind', JOB_KINDS);
export const JobStateEnum = enumeration('JobState', JOB_STATES);
export const JobConclusionEnum = enumeration('JobConclusion', JOB_CONCLUSIONS);
export const PhaseEnum = enumeration('Phase', PHASES);
export const JobEventKindEnum = enumeration('JobEventKind', ['SNAPSHOT', 'STATE', 'PHASE', 'PROGRESS', 'NOTICE']);

export const RestorePlanStateEnum = enumeration('RestorePlanState', ['PREPARING', 'READY', 'USED', 'EXPIRED', 'FAILED']);
export const DataNowEnum = enumeration('DataNow', ['OLD', 'NEW', 'MIXED', 'UNKNOWN']);
export const TtlRuleEnum = enumeration('TtlRule', TTL_RULES);
export const ConflictRuleEnum = enumeration('ConflictRule', CONFLICT_RULES);
