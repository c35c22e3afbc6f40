import { type ErrorCode } from './errors.js';
import { type CredentialKind } from './principal.js';

/** What is noted of who did what. Names are the API: never renamed. */
export const AUDIT_ACTIONS = [
  'PROJECT_CREATED', 'API_KEY_CREATED', 'API_KEY_REVOKED',
  'INSTANCE_REGISTERED', 'INSTANCE_UPDATED', 'INSTANCE_REMOVED', 'POLICY_SET',
  'BACKUP_STARTED', 'BACKUP_VERIFICATION_STARTED', 'BACKUP_INSPECTION_STARTED', 'BACKUP_DELETION_STARTED', 'DOWNLOAD_LINK_CREATED', 'DOWNLOAD_LINKS_REVOKED', 'BACKUP_DOWNLOADED',
  'RESTORE_PLANNED', 'RESTORE_STARTED', 'RESTORE_PEER_REFUSED', 'JOB_CANCELLED', 'LOGIN', 'ACCESS',
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** Whether it was done, or refused. */
export const AUDIT_OUTCOMES = ['DONE', 'REFUSED'] as const;
export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number];

/** Who did it, as far as it is known. */
export interface AuditActor {
  /** null: nobody who called; the service itself, or the bearer of a link. */
  readonly credential: CredentialKind | null;
  readonly keyId: string | null;
  readonly name: string | null;
  readonly from?: string | null | undefined;
}

/** What happened, before it has its place in the project's chain. */
export interface AuditDraft {
  readonly projectId: string;
  readonly actor: AuditActor;
  readonly action: AuditAction;
  readonly outcome: AuditOutcome;
  /** Of a refusal. */
  readonly code?: ErrorCode | null | undefined;
  /** What it was done to: the id of what was made, changed or asked for. */
  readonly objectId?: string | null | undefined;
  readonly instanceId?: string | null | undefined;
  /** Facts by name. Never secrets, never values that are data of the tenants. */
  readonly details?: Readonly<Record<string, string | number | boolean>> | undefined;
  readonly at: Date;
}
