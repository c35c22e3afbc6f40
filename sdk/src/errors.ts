import type { ErrorCode, JobFragment, UserErrorFragment } from './generated/operations.js';

/**
 * What went wrong, seen from where it can be handled:
 * - `user_input`: the service refused the input; `userErrors` says what to change.
 * - `job_failed`: the call went well, but the job it waited for did not succeed.
 * - `graphql`: the service answered with an error: missing rights, a fault of its own, a document it does not understand.
 * - `http`: something answered, but not with GraphQL (a proxy, a wrong URL).
 * - `network`: no answer, or one that was cut off.
 * - `timeout`: no answer within `timeoutMs`.
 * - `aborted`: the caller's `signal` was aborted, or the client was closed.
 * - `protocol`: the answer contradicts itself: a download with a wrong checksum, a page cursor that does not move.
 */
export type SnapbackErrorKind = 'user_input' | 'job_failed' | 'graphql' | 'http' | 'network' | 'timeout' | 'aborted' | 'protocol';

/** Codes that only this package gives, beside the service's own. `HTTP_<status>` comes on top, for kind `http`. */
export type ClientErrorCode =
  | 'NETWORK'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'NO_WEBSOCKET'
  | 'UNEXPECTED_ANSWER'
  | 'NOT_LOADED'
  | 'CURSOR_STUCK'
  | 'CHECKSUM_MISMATCH';

export interface SnapbackErrorOptions {
  /** The service's id of the request, to be found in its log. */
  requestId?: string | undefined;
  /** Whether the same call may succeed later without anybody changing anything. Default false. */
  retryable?: boolean | undefined;
  /** How long the service asks to wait, in milliseconds. */
  retryAfterMs?: number | undefined;
  /** HTTP status of the answer, when there was one. */
  status?: number | undefined;
  /** What to do about it, when the service says so. */
  hint?: string | undefined;
  userErrors?: readonly UserErrorFragment[] | undefined;
  /** The job that failed, or that is in the way. */
  jobId?: string | undefined;
  cause?: unknown;
}

/** Also found in errors of another copy of this package. */
const BRAND = Symbol.for('@snapback/sdk.error');

/**
 * The one error family of this package. Branch on `kind` and `code`, never on `message`. Neither variables nor headers nor tokens are
 * ever part of it.
 */
export class SnapbackError extends Error {
  readonly kind: SnapbackErrorKind;
  readonly code: ErrorCode | ClientErrorCode;
  readonly requestId: string | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly status: number | undefined;
  readonly hint: string | undefined;
  readonly userErrors: readonly UserErrorFragment[];
  readonly jobId: string | undefined;

  constructor(kind: SnapbackErrorKind, code: ErrorCode | ClientErrorCode, message: string, options: SnapbackErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SnapbackError';
    this.kind = kind;
    this.code = code;
    this.requestId = options.requestId;
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
    this.status = options.status;
    this.hint = options.hint;
    this.userErrors = options.userErrors ?? [];
    this.jobId = options.jobId;
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** The service refused the input. `code` is the first user error's; with `INSTANCE_BUSY`, `jobId` is the job in the way. */
export class UserInputError extends SnapbackError {
  declare readonly kind: 'user_input';

  constructor(operation: string, userErrors: readonly [UserErrorFragment, ...UserErrorFragment[]], jobId?: string) {
    const [{ code }] = userErrors;
    const reasons = userErrors.map(({ field, message }) => (field === null ? message : `${field.join('.')}: ${message}`));
    super('user_input', code, `${operation} was refused: ${reasons.join(' ')}`, {
      userErrors,
      jobId,
      retryable: code === 'INSTANCE_BUSY' || code === 'BACKUP_IN_USE',
    });
    this.name = 'UserInputError';
  }
}

/** A job that was waited for is over, and did not succeed. `code` is its failure's, or its conclusion when it was not a failure. */
export class JobFailedError extends SnapbackError {
  declare readonly kind: 'job_failed';
  declare readonly jobId: string;
  /** The job as it ended. */
  readonly job: JobFragment;

  constructor(job: JobFragment) {
    const { failure, conclusion } = job;
    const reason = failure?.message ?? `it ended as ${conclusion ?? 'unknown'}.`;
    super('job_failed', failure?.code ?? conclusion ?? 'INTERNAL', `${job.kind} job ${job.id} did not succeed: ${reason}`, {
      jobId: job.id,
      hint: failure?.hint ?? undefined,
      retryable: failure?.retryable ?? false,
      retryAfterMs: failure?.retryAt ? Math.max(0, Date.parse(failure.retryAt) - Date.now()) : undefined,
    });
    this.name = 'JobFailedError';
    this.job = job;
  }
}

/** Every error of this package, told apart by `kind`: `user_input` and `job_failed` have more to say than the others. */
export type AnySnapbackError =
  | UserInputError
  | JobFailedError
  | (SnapbackError & { readonly kind: Exclude<SnapbackErrorKind, 'user_input' | 'job_failed'> });

/** Whether this package made the error; also true for errors of another copy of it, which `instanceof` does not know. */
export const isSnapbackError = (error: unknown): error is AnySnapbackError =>
  typeof error === 'object' && error !== null && BRAND in error;

/** An abort, with the reason the caller gave as its cause. */
export const abortedError = (what: string, signal?: AbortSignal): SnapbackError =>
  new SnapbackError('aborted', 'ABORTED', `${what} was aborted.`, { cause: signal?.reason });
