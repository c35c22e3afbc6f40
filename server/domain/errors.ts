/** Every code a caller can meet. Codes are the API: documented in `schema/common.graphql`, never renamed. */
export const ERROR_CODES = [
  'BAD_INPUT', 'NOT_FOUND', 'UNAUTHENTICATED', 'FORBIDDEN', 'CONFLICT', 'INSTANCE_BUSY', 'IDEMPOTENCY_CONFLICT',
  'CONFIRMATION_REQUIRED', 'NAME_TAKEN', 'QUOTA_EXCEEDED', 'RATE_LIMITED', 'TARGET_NOT_ALLOWED', 'CONNECT_FAILED',
  'AUTH_FAILED', 'PERMISSION_MISSING', 'ENGINE_UNSUPPORTED', 'VERSION_TOO_OLD', 'INSUFFICIENT_MEMORY',
  'SOURCE_DISCONNECTED', 'SOURCE_BUFFER_LIMIT', 'PROTOCOL_ERROR', 'LIMIT_EXCEEDED', 'TOO_SLOW', 'TRUNCATED', 'CORRUPT',
  'BACKUP_NOT_AVAILABLE', 'BACKUP_IN_USE', 'BACKUP_DAMAGED', 'STORAGE_FULL', 'STORAGE_IO', 'STORAGE_PERMISSION',
  'UNSUPPORTED_FORMAT', 'KEY_UNAVAILABLE', 'TARGET_BLOCKED', 'TARGET_UNREACHABLE_BACK', 'TARGET_STATE_UNKNOWN',
  'PERSISTED_QUERY_NOT_FOUND', 'DOCUMENT_NOT_TRUSTED', 'INTERRUPTED', 'SDK_UNSUPPORTED', 'INTERNAL',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** What reading an archive ends with when its bytes are not what they were. All else says nothing about the archive. */
const DAMAGE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CORRUPT', 'TRUNCATED', 'NOT_FOUND']);
export const isDamageCode = (code: ErrorCode): boolean => DAMAGE.has(code);

export interface DomainErrorOptions {
  /** What the reader can do about it, as one sentence. */
  hint?: string;
  /** Whether the same call may succeed later without anybody changing anything. */
  retryable?: boolean;
  /** Path into the mutation's input, when one field is at fault. */
  field?: readonly string[];
  /** Facts for programs: offsets, addresses, ids of the object in the way. Never secrets. */
  details?: Readonly<Record<string, string | number | boolean>>;
  cause?: unknown;
}

/**
 * The one error family. `message` says what happened and where (operation, address or object key, byte offset);
 * `hint` says what to do next. Neither ever contains a secret. Callers branch on `code`, never on text.
 */
export class DomainError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryable: boolean;
  readonly field: readonly string[] | undefined;
  readonly details: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, options: DomainErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DomainError';
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
    this.field = options.field;
    this.details = options.details ?? {};
  }
}

/** Codes that name something the caller's input can fix: they travel as `userErrors`, all others as GraphQL errors. */
const USER_ERRORS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'BAD_INPUT', 'NOT_FOUND', 'CONFLICT', 'INSTANCE_BUSY', 'IDEMPOTENCY_CONFLICT', 'CONFIRMATION_REQUIRED', 'NAME_TAKEN',
  'QUOTA_EXCEEDED', 'TARGET_NOT_ALLOWED', 'CONNECT_FAILED', 'AUTH_FAILED', 'PERMISSION_MISSING', 'ENGINE_UNSUPPORTED',
  'VERSION_TOO_OLD', 'INSUFFICIENT_MEMORY', 'SOURCE_DISCONNECTED', 'PROTOCOL_ERROR', 'TOO_SLOW', 'BACKUP_NOT_AVAILABLE',
  'BACKUP_IN_USE', 'BACKUP_DAMAGED', 'TARGET_BLOCKED', 'LIMIT_EXCEEDED',
]);
export const isUserError = (error: unknown): error is DomainError =>
  error instanceof DomainError && USER_ERRORS.has(error.code);

/** From when on the same may work (`details.retryAt`, ISO 8601); null where the error does not say. */
export const retryAtOf = ({ details: { retryAt } }: DomainError): Date | null => (typeof retryAt === 'string' ? new Date(retryAt) : null);

/** The reason an AbortSignal was aborted, as an error; a signal aborted without a DomainError gives INTERRUPTED. */
export const abortReason = (signal: AbortSignal): DomainError =>
  signal.reason instanceof DomainError
    ? signal.reason
    : new DomainError('INTERRUPTED', 'The work was interrupted before it finished.', { retryable: true, cause: signal.reason });
