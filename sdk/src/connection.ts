import { emitter, type Emit } from './client-events.js';
import { operationHead, type TypedDocument } from './document.js';
import { SnapbackError } from './errors.js';
import { SDK_VERSION } from './generated/schema.js';
import { graphqlError, isTransientStatus, type GraphqlErrorBody } from './graphql-errors.js';
import type { CallOptions, ClientOptions } from './options.js';
import type { Socket } from './socket.js';
import { backoffMs, parseRetryAfter, pause, retryPolicy, startDeadline, unlessAborted } from './timing.js';
import { createTokenSource, type TokenSource } from './token.js';

/** What the nouns are built on: one service, one token, one shared socket that is opened when it is first needed. */
export interface Connection {
  readonly options: ClientOptions;
  readonly timeoutMs: number;
  readonly fetch: typeof fetch;
  readonly tokens: TokenSource;
  readonly emit: Emit;
  readonly endpoint: URL;
  /** A POST with everything that goes with every request to the service itself. Throws a TypeError for headers that cannot be. */
  request(body: string, token: string, options: { accept: string; headers?: Readonly<Record<string, string>> | undefined }): RequestInit;
  /** Sends a query or mutation; see `ClientOptions.retry` for when it is sent again. */
  execute<Result, Variables>(document: TypedDocument<Result, Variables>, variables: Variables, options?: CallOptions): Promise<Result>;
  /** The address of something on the service, such as a download link that came as a path. */
  resolve(url: string): URL;
  /** Headers for the service itself, without the token. */
  headers(options?: CallOptions): Record<string, string>;
  socket(): Promise<Socket>;
  /** What ends each stream that is followed, whichever way its events come, also while it waits for its next attempt. */
  readonly following: Set<() => void>;
  close(): void;
}

/** Built here, and not by fetch, whose error for an illegal header quotes its value. */
export const buildHeaders = (entries: Readonly<Record<string, string>>): Headers => {
  const headers = new Headers();
  for (const [name, value] of Object.entries(entries)) {
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) throw new TypeError(`The value of the header "${name}" holds characters that a header cannot hold.`);
    headers.set(name, value);
  }
  return headers;
};

const withIdempotencyKey = (variables: unknown, key: string | undefined): unknown => {
  if (key === undefined) return variables;
  const { input, ...others } = (variables ?? {}) as { input?: object };
  return { ...others, input: { ...input, idempotencyKey: key } };
};

const carriesIdempotencyKey = (variables: unknown): boolean => {
  const input = (variables as { input?: { idempotencyKey?: unknown } } | null | undefined)?.input;
  return typeof input?.idempotencyKey === 'string';
};

/** Whether the same request may be answered otherwise when it is sent again. */
export const isTransient = (error: SnapbackError): boolean =>
  error.kind === 'network' || error.kind === 'timeout' || error.code === 'RATE_LIMITED' || isTransientStatus(error.status);

const parseBody = (text: string): { data?: unknown; errors?: GraphqlErrorBody[] } | undefined => {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? body : undefined;
  } catch {
    return undefined; // The caller describes an answer that is no JSON, by its status and type.
  }
};

const requestIdOf = (response: Response): string | undefined => response.headers.get('x-request-id') ?? undefined;

/** What an answer brought, or the error that it is; also for answers that are no GraphQL at all. */
export const readAnswer = async (what: string, response: Response): Promise<unknown> => {
  const { status } = response;
  const requestId = requestIdOf(response);
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'));
  const body = parseBody(await response.text());
  if (Array.isArray(body?.errors) && body.errors.length > 0) throw graphqlError(what, body.errors, { status, requestId, retryAfterMs });
  if (response.ok && typeof body?.data === 'object' && body.data !== null) return body.data;
  const type = response.headers.get('content-type') ?? 'no content type';
  throw new SnapbackError('http', response.ok ? 'UNEXPECTED_ANSWER' : `HTTP_${String(status)}`, `${what} got no GraphQL answer, but status ${String(status)} with ${type}. Is this the service's address?`, {
    status, requestId, retryAfterMs, retryable: isTransientStatus(status),
  });
};

/** @param base the service's address, ending in a slash */
export const createConnection = (base: URL, options: ClientOptions): Connection => {
  const endpoint = new URL('graphql', base);
  const timeoutMs = options.timeoutMs ?? 30_000;
  const fetchOnce: typeof fetch = options.fetch ?? ((...args) => globalThis.fetch(...args));
  const emit = emitter(options.onEvent);
  const tokens = createTokenSource(options.token, () => {
    emit({ type: 'token' });
  });
  let socket: Promise<Socket> | undefined;
  const following = new Set<() => void>();

  const request: Connection['request'] = (body, token, { accept, headers }) => ({
    method: 'POST',
    headers: buildHeaders({
      ...options.headers, ...headers, 'content-type': 'application/json', accept, authorization: `Bearer ${token}`, 'x-snapback-sdk': SDK_VERSION,
    }),
    body,
  });

  /** One request, at most `timeoutMs` long with the wait for the token. What the token function throws is thrown as it is. */
  const attempt = async (what: string, body: string, call: CallOptions, count: number, used: { token?: string }): Promise<unknown> => {
    const begun = Date.now();
    const deadline = startDeadline(what, call.timeoutMs ?? timeoutMs, call.signal);
    const unreached = (cause: unknown): SnapbackError =>
      deadline.explain(cause, () => new SnapbackError('network', 'NETWORK', `${what} did not get through to ${base.host}.`, { cause, retryable: true }));
    let response: Response | undefined;
    let failure: SnapbackError | undefined;
    try {
      used.token = await unlessAborted(tokens.get(), deadline.signal, unreached);
      const init = request(body, used.token, { accept: 'application/graphql-response+json, application/json', headers: call.headers });
      try {
        response = await fetchOnce(endpoint, { ...init, signal: deadline.signal });
        return await readAnswer(what, response);
      } catch (error) {
        throw error instanceof SnapbackError ? error : unreached(error);
      }
    } catch (error) {
      if (error instanceof SnapbackError) failure = error;
      throw error;
    } finally {
      deadline.dispose();
      emit({
        type: 'request', operation: what, attempt: count, durationMs: Date.now() - begun,
        ...(response && { status: response.status, requestId: requestIdOf(response) }), ...(failure && { error: failure }),
      });
    }
  };

  return {
    options,
    timeoutMs,
    endpoint,
    fetch: fetchOnce,
    request,
    tokens,
    emit,
    execute: async <Result, Variables>(document: TypedDocument<Result, Variables>, variables: Variables, call: CallOptions = {}): Promise<Result> => {
      const query = document.toString();
      const { kind, name } = operationHead(query);
      if (kind === 'subscription') throw new TypeError('execute takes queries and mutations; use subscribe for a subscription.');
      const what = name ?? `The ${kind}`;
      const sent = kind === 'mutation' ? withIdempotencyKey(variables, call.idempotencyKey) : variables;
      const body = JSON.stringify({ query, variables: sent, operationName: name });
      const policy = retryPolicy(call.retry ?? options.retry);
      const mayRepeat = kind === 'query' || carriesIdempotencyKey(sent);
      let renewed = false;
      for (let count = 1, failures = 1; ; count += 1) {
        const used: { token?: string } = {};
        try {
          return (await attempt(what, body, call, count, used)) as Result;
        } catch (error) {
          if (!(error instanceof SnapbackError)) throw error;
          // Whoever is not let in has changed nothing: this is no repetition.
          if (error.code === 'UNAUTHENTICATED' && !renewed && used.token !== undefined && (await tokens.renew(used.token))) {
            renewed = true;
            continue;
          }
          if (!mayRepeat || !isTransient(error) || failures >= policy.attempts) throw error;
          const { retryAfterMs = 0 } = error;
          if (retryAfterMs > policy.maxRetryAfterMs) throw error;
          const delayMs = Math.max(retryAfterMs, backoffMs(policy, failures));
          failures += 1;
          emit({ type: 'retry', operation: what, attempt: count, delayMs, error });
          await pause(delayMs, what, call.signal);
        }
      }
    },
    resolve: (url) => new URL(url, base),
    headers: (call) => ({ ...options.headers, ...call?.headers }),
    socket: () => {
      socket ??= import('./socket.js').then(({ createSocket }) => {
        const url = new URL(endpoint);
        url.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';
        return createSocket({
          url: url.href,
          webSocket: options.webSocket,
          keepAliveMs: options.keepAliveMs ?? 10_000,
          connectTimeoutMs: timeoutMs,
          tokens,
          emit,
        });
      });
      return socket;
    },
    following,
    close: () => {
      for (const giveUp of [...following]) giveUp();
      void socket?.then((open) => {
        open.close();
      });
      socket = undefined;
    },
  };
};
