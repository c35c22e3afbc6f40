import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import { DomainError, ERROR_CODES, type ErrorCode } from '../domain/errors.js';

/** The part of the service's log that the edge uses. */
export interface EdgeLog {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** HTTP statuses of the errors that are about the request as a whole; all others travel with 200 beside the data. */
export const HTTP_STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  UNAUTHENTICATED: 401, FORBIDDEN: 403, DOCUMENT_NOT_TRUSTED: 403, RATE_LIMITED: 429, SDK_UNSUPPORTED: 400,
  // Not a failure: clients send the text next. Some look no further than the status.
  PERSISTED_QUERY_NOT_FOUND: 200,
};

/** What Apollo calls faults of the request itself. */
const REQUEST_FAULTS = new Set([
  'GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED', 'BAD_USER_INPUT', 'OPERATION_RESOLUTION_FAILURE', 'BAD_REQUEST',
  'PERSISTED_QUERY_NOT_SUPPORTED',
]);

const isErrorCode = (code: unknown): code is ErrorCode => (ERROR_CODES as readonly unknown[]).includes(code);

/** What was thrown, under the layers that graphql-js puts around it. */
const rootCause = (error: unknown): unknown => {
  let inner = error;
  while (inner instanceof GraphQLError && inner.originalError) inner = inner.originalError;
  return inner;
};

/**
 * The code of an error that graphql-js or Apollo made itself: BAD_INPUT for what is wrong with the request (it points into the document, or
 * was found before execution), undefined for a fault found while executing.
 */
const requestFault = (error: GraphQLError, outer: GraphQLError): ErrorCode | undefined => {
  const code = error.extensions['code'];
  if (isErrorCode(code)) return code;
  if (typeof code === 'string' && code !== 'INTERNAL_SERVER_ERROR') return REQUEST_FAULTS.has(code) ? 'BAD_INPUT' : undefined;
  return outer.path === undefined || error.nodes !== undefined ? 'BAD_INPUT' : undefined;
};

/** Names in a document may be as long as the body; an answer must not grow with them. */
const MAX_MESSAGE = 1_000;

/**
 * graphql-js quotes the value that it refused, up to a whole input object with a password in it. The caller knows what was sent, and
 * messages end in logs: so the place stays and the value goes.
 */
const withoutValues = (error: GraphQLError, suggestions: boolean): string => {
  const inner = error.originalError instanceof GraphQLError ? error.originalError.message : '';
  const variable = /^Variable "\$\w+" got invalid value/.exec(error.message)?.[0].replace('got', 'got an');
  const place = / at "([^"]*)"; $/.exec(error.message.slice(0, error.message.length - inner.length))?.[1];
  const whole = variable === undefined ? error.message : `${variable}${place === undefined ? '' : ` at "${place}"`}. ${inner}`;
  const message = suggestions ? whole : whole.replace(/ Did you mean [^?]*\?/g, '');
  const short = message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message;
  return short.replace(/( cannot represent [^:]{0,60}value): [^]*$/, '$1.');
};

export interface MaskedError extends GraphQLFormattedError {
  extensions: { code: ErrorCode; hint?: string; retryable?: true; retryAfterMs?: number; requestId?: string };
}

/** Whether a fault of the service goes away by itself, such as a connection to the database that was cut. */
export type FaultPasses = (cause: unknown) => boolean;

export interface Masking {
  /** Default: none passes. */
  faultPasses?: FaultPasses | undefined;
  /** Whether names of the schema are suggested for wrong ones. Default true. */
  suggestions?: boolean | undefined;
}

/**
 * What a caller gets to see of an error: message and code of what is meant for callers, "Internal error" for anything else. Builds the
 * answer from nothing, so that stack traces, input values and whatever libraries hang on an error never travel, in no environment.
 */
export const maskError = (error: unknown, requestId?: string, { faultPasses, suggestions = true }: Masking = {}): MaskedError => {
  const outer = error instanceof GraphQLError ? error : undefined;
  const cause = rootCause(error);
  const place = { ...(outer?.locations && { locations: outer.locations }), ...(outer?.path && { path: outer.path }) };
  const id = requestId === undefined ? {} : { requestId };
  if (cause instanceof DomainError) {
    const { retryAfterMs } = cause.details;
    return {
      message: cause.message, ...place,
      extensions: { code: cause.code, ...(cause.hint !== undefined && { hint: cause.hint }), ...(typeof retryAfterMs === 'number' && { retryAfterMs }), ...id },
    };
  }
  const code = outer && cause instanceof GraphQLError ? requestFault(cause, outer) : undefined;
  if (outer && code !== undefined) return { message: withoutValues(outer, suggestions), ...place, extensions: { code, ...id } };
  if (faultPasses?.(cause)) {
    return { message: 'The service has lost its database for a moment.', ...place, extensions: { code: 'INTERNAL', hint: 'Try again; with the same idempotency key nothing is done twice.', retryable: true, ...id } };
  }
  return { message: 'Internal error', ...place, extensions: { code: 'INTERNAL', ...id } };
};

/** Logs errors that are faults of ours, whole; the caller only gets the request id to point here. */
export const logFaults = (log: EdgeLog, errors: readonly unknown[], requestId: string, fields: Record<string, unknown> = {}): void => {
  for (const error of errors) {
    if (maskError(error).extensions.code !== 'INTERNAL') continue;
    const cause = rootCause(error);
    log.error('A request failed by a fault of the service', {
      requestId, ...fields, path: error instanceof GraphQLError ? error.path?.join('.') : undefined, error: cause,
    });
  }
};
