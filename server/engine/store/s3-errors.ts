import { DomainError, abortReason } from '../../domain/errors.js';

interface Facts {
  /** S3's name of the fault, such as `SlowDown`, or Node's, such as ECONNRESET. */
  code: string;
  /** HTTP status, where there was an answer. */
  status: number | undefined;
  retryAfterMs: number | undefined;
}

const field = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined);

const retryAfterMs = (error: unknown): number | undefined => {
  const header = field(field(field(error, '$response'), 'headers'), 'retry-after');
  return typeof header === 'string' && /^\d{1,4}$/.test(header) ? Number(header) * 1000 : undefined;
};

const factsOf = (error: unknown): Facts => {
  const status = field(field(error, '$metadata'), 'httpStatusCode');
  const [name, code] = [field(error, 'name'), field(error, 'code')];
  // Faults of the connection have a code, and the SDK calls some of them timeouts; those of the protocol have a name.
  const named = typeof name === 'string' && !['Error', 'AggregateError'].includes(name) ? name : undefined;
  return {
    code: typeof code === 'string' && (named === undefined || named === 'TimeoutError') ? code : (named ?? 'unknown fault'),
    status: typeof status === 'number' ? status : undefined,
    retryAfterMs: retryAfterMs(error),
  };
};

export const statusOf = (error: unknown): number | undefined => factsOf(error).status;
export const codeOf = (error: unknown): string => factsOf(error).code;

/** What the SDK throws drags the whole exchange along, and S3 echoes what it was sent: only the words are kept. */
const wordsOf = (cause: unknown): unknown => {
  if (!(cause instanceof Error)) return cause;
  const words = new Error(cause.message);
  words.name = cause.name;
  if (cause.stack !== undefined) words.stack = cause.stack;
  return words;
};

/** Codes beside 507; several servers send them with a status of their own. */
const FULL: ReadonlySet<string> = new Set(['QuotaExceeded', 'InsufficientStorage', 'XMinioStorageFull', 'XMinioAdminBucketQuotaExceeded', 'ServiceQuotaExceeded']);
const FORBIDDEN: ReadonlySet<string> = new Set([
  'AccessDenied', 'AllAccessDisabled', 'AccountProblem', 'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'ExpiredToken', 'InvalidToken', 'TokenRefreshRequired', 'CredentialsProviderError',
]);
const WRONG_PLACE: ReadonlySet<string> = new Set(['PermanentRedirect', 'AuthorizationHeaderMalformed', 'IllegalLocationConstraintException', 'InvalidRegion']);
/** Of these the answer is no fault of the request's; what has no status never got an answer. */
const PASSING: ReadonlySet<string> = new Set([
  'SlowDown', 'RequestTimeout', 'RequestTimeTooSkewed', 'ConditionalRequestConflict', 'OperationAborted', 'InternalError', 'ServiceUnavailable', 'TimeoutError', 'RequestLimitExceeded', 'Throttling', 'ThrottlingException',
]);
/** A connection that broke, or that never came about. */
const BROKEN: ReadonlySet<string> = new Set(['ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ERR_STREAM_PREMATURE_CLOSE', 'HPE_INVALID_EOF_STATE']);

const passes = ({ code, status }: Facts): boolean => PASSING.has(code) || BROKEN.has(code) || (status !== undefined && (status === 429 || status === 408 || (status >= 500 && status !== 501)));

const hintFor = ({ code, status }: Facts): string => {
  if (code === 'NoSuchBucket') return 'Check the name of the bucket in STORE_URL, its region and endpoint; the bucket is not made by this service.';
  if (WRONG_PLACE.has(code) || status === 301) return 'The bucket is in another region: give it as region=… in STORE_URL.';
  if (code === 'RequestTimeTooSkewed') return 'Set this machine\'s clock: S3 refuses requests that are more than 15 minutes off.';
  if (status === undefined) return 'Check the endpoint in STORE_URL, and the network to it.';
  if (status === 429 || code === 'SlowDown') return 'The store is asked for too much at once; the work may be started again.';
  return 'Look at the server of the store; the work may be started again.';
};

/**
 * Translates what the SDK throws. A DomainError is kept, but for a connection that could not be opened.
 * @param operation what was being done, as the verb of a sentence: "write", "list"
 * @param subject object key, or what else is meant
 */
export const s3Error = (operation: string, subject: string, location: string, thrown: unknown, signal?: AbortSignal): DomainError => {
  if (signal?.aborted === true) return abortReason(signal);
  if (thrown instanceof DomainError) {
    if (thrown.code !== 'CONNECT_FAILED' && thrown.code !== 'TARGET_NOT_ALLOWED') return thrown;
    return new DomainError('STORAGE_IO', `Could not ${operation} ${subject} in ${location}: ${thrown.message}`, { hint: thrown.hint, retryable: thrown.retryable, cause: thrown });
  }
  const facts = factsOf(thrown);
  const cause = wordsOf(thrown);
  const { code, status } = facts;
  const message = `Could not ${operation} ${subject} in ${location}: ${code}${status === undefined ? '' : ` (status ${status})`}.`;
  const details = {
    operation, subject, location, s3Code: code, ...(status === undefined ? {} : { status }), ...(facts.retryAfterMs === undefined ? {} : { retryAfterMs: facts.retryAfterMs }),
  };
  if (FULL.has(code) || status === 507) {
    return new DomainError('STORAGE_FULL', message, { hint: 'Raise the quota of the bucket or free room, then start the work again.', details, cause });
  }
  if (FORBIDDEN.has(code) || ((status === 401 || status === 403) && !passes(facts))) {
    return new DomainError('STORAGE_PERMISSION', message, {
      hint: 'Check the credentials, and that the bucket\'s policy allows them what server/README.md lists under "Archives in S3".', details, cause,
    });
  }
  return new DomainError('STORAGE_IO', message, { hint: hintFor(facts), retryable: passes(facts), details, cause });
};

/** An answer that no S3 server gives. */
export const notS3 = (operation: string, subject: string, location: string, what: string): DomainError =>
  new DomainError('STORAGE_IO', `Could not ${operation} ${subject} in ${location}: ${what}.`, {
    hint: 'Something else than an S3 server answers, or something between changes its answers: check the endpoint in STORE_URL.', retryable: true, details: { operation, subject, location },
  });
