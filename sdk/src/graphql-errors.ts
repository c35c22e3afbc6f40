import { SnapbackError } from './errors.js';

/** The part of a GraphQL error that this package reads. */
export interface GraphqlErrorBody {
  message?: unknown;
  extensions?: Record<string, unknown>;
}

const asText = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
const asNumber = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

/** GraphQL libraries quote the offending value, a password perhaps, when a variable does not fit its type. */
const withoutValues = (message: string): string => {
  const [found, variable] = /^Variable "\$(\w+)" got invalid value /.exec(message) ?? [];
  if (found === undefined) return message;
  const [, path] = / at "([\w.[\]]+)"; /.exec(message) ?? [];
  return `The variable "$${variable ?? ''}" does not fit its type${path === undefined ? '' : ` at "${path}"`}.`;
};

/** The first of an answer's errors, as ours. */
export const graphqlError = (
  what: string,
  errors: readonly GraphqlErrorBody[],
  context: { status?: number; requestId?: string | undefined; retryAfterMs?: number | undefined } = {},
): SnapbackError => {
  const [{ message, extensions = {} } = {}] = errors;
  const code = asText(extensions['code']) ?? 'INTERNAL';
  return new SnapbackError('graphql', code, `${what} failed: ${withoutValues(asText(message) ?? code)}`, {
    requestId: asText(extensions['requestId']) ?? context.requestId,
    hint: asText(extensions['hint']),
    retryable: extensions['retryable'] === true || code === 'RATE_LIMITED' || isTransientStatus(context.status),
    retryAfterMs: asNumber(extensions['retryAfterMs']) ?? context.retryAfterMs,
    status: context.status,
  });
};

/** Whether an answer with this status says nothing about the call itself, so that it may be sent again. */
export const isTransientStatus = (status: number | undefined): boolean =>
  status === 429 || status === 502 || status === 503 || status === 504;
