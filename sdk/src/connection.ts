import { operationHead, type TypedDocument } from './document.js';
import { SnapbackError } from './errors.js';
import { graphqlError, isTransientStatus, type GraphqlErrorBody } from './graphql-errors.js';
import { type CallOptions, type ClientOptions, type KeyedCallOptions } from './options.js';
import { type Socket } from './socket.js';
import { backoffMs, parseRetryAfter, pause, retryPolicy, startDeadline } from './timing.js';

/** What the nouns are built on: one service, one token, one shared socket that is opened when it is first needed. */
export interface Connection {
  readonly options: ClientOptions;
  readonly timeoutMs: number;
  fetch: typeof fetch;
  /** Sends a query or mutation; see `ClientOptions.retry` for when it is sent again. */
  execute<Result, Variables>(document: TypedDocument<Result, Variables>, variables: Variables, options?: KeyedCallOptions): Promise<Result>;
  /** The address of something on the service, such as a download link that came as a path. */
  resolve(url: string): URL;
  /** Headers for the service itself, without the token. */
  headers(options?: CallOptions): Record<string, string>;
  socket(): Promise<Socket>;
  close(): void;
}

const baseUrl = (url: string): URL => {
  const base = new URL(url.endsWith('/') ? url : `${url}/`);
  if (base.protocol !== 'http:' && base.protocol !== 'https:') throw new TypeError('url: must begin with http:// or https://.');
  if (base.username !== '' || base.password !== '') throw new TypeError('url: must not hold a user name or password; give the API key as token.');
  return base;
};

/** Built here, and not by fetch, whose error for an illegal header quotes its value. */
const buildHeaders = (entries: Readonly<Record<string, string>>): Headers => {
  const headers = new Headers();
  for (const [name, value] of Object.entries(entries)) {
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) throw new TypeError(`The value of the header "${name}" holds characters that a header cannot hold.`);
    headers.set(name, value);
  }
  return headers;
};

const readToken = async (token: ClientOptions['token']): Promise<string> => {
  const value = typeof token === 'function' ? await token() : token;
  if (!/^[\x21-\x7e]+$/.test(value)) throw new TypeError('token: must be a non-empty text of printable ASCII characters, without spaces.');
  return value;
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

const isTransient = (error: SnapbackError): boolean =>
  error.kind === 'network' || error.kind === 'timeout' || error.code === 'RATE_LIMITED' || isTransientStatus(error.status);

const parseBody = (text: string): { data?: unknown; errors?: GraphqlErrorBody[] } | undefined => {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? body : undefined;
  } catch {
    return undefined; // The caller describes an answer that is no JSON, by its status and type.
  }
};

const readAnswer = async (what: string, response: Response): Promise<unknown> => {
  const { status } = response;
  const requestId = response.headers.get('x-request-id') ?? undefined;
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'));
  const body = parseBody(await response.text());
  if (Array.isArray(body?.errors) && body.errors.length > 0) throw graphqlError(what, body.errors, { status, requestId, retryAfterMs });
  if (response.ok && typeof body?.data === 'object' && body.data !== null) return body.data;
  const type = response.headers.get('content-type') ?? 'no content type';
  throw new SnapbackError('http', response.ok ? 'UNEXPECTED_ANSWER' : `HTTP_${String(status)}`, `${what} got no GraphQL answer, but status ${String(status)} with ${type}. Is this the service's address?`, {
    status, requestId, retryAfterMs, retryable: isTransientStatus(status),
  });
};

export const createConnection = (options: ClientOptions): Connection => {
  const base = baseUrl(options.url);
  const endpoint = new URL('graphql', base);
  const timeoutMs = options.timeoutMs ?? 30_000;
  const send: typeof fetch = options.fetch ?? ((...args) => globalThis.fetch(...args));
  let socket: Promise<Socket> | undefined;

  const attempt = async (what: string, body: string, call: CallOptions): Promise<unknown> => {
    const token = await readToken(options.token);
    const headers = buildHeaders({
      ...options.headers,
      ...call.headers,
      'content-type': 'application/json',
      accept: 'application/graphql-response+json, application/json',
      authorization: `Bearer ${token}`,
    });
    const deadline = startDeadline(what, call.timeoutMs ?? timeoutMs, call.signal);
    try {
      return await readAnswer(what, await send(endpoint, { method: 'POST', headers, body, signal: deadline.signal }));
    } catch (error) {
      if (error instanceof SnapbackError) throw error;
      throw deadline.explain(error, (cause) =>
        new SnapbackError('network', 'NETWORK', `${what} did not get through to ${base.host}.`, { cause, retryable: true }));
    } finally {
      deadline.dispose();
    }
  };

  return {
    options,
    timeoutMs,
    fetch: send,
    execute: async <Result, Variables>(document: TypedDocument<Result, Variables>, variables: Variables, call: KeyedCallOptions = {}): Promise<Result> => {
      const query = document.toString();
      const { kind, name } = operationHead(query);
      if (kind === 'subscription') throw new TypeError('execute takes queries and mutations; use subscribe for a subscription.');
      const what = name ?? `The ${kind}`;
      const sent = kind === 'mutation' ? withIdempotencyKey(variables, call.idempotencyKey) : variables;
      const body = JSON.stringify({ query, variables: sent, operationName: name });
      const policy = retryPolicy(call.retry ?? options.retry);
      const mayRepeat = kind === 'query' || carriesIdempotencyKey(sent);
      for (let failures = 1; ; failures += 1) {
        try {
          return (await attempt(what, body, call)) as Result;
        } catch (error) {
          if (!(error instanceof SnapbackError) || !mayRepeat || !isTransient(error) || failures >= policy.attempts) throw error;
          const { retryAfterMs = 0 } = error;
          if (retryAfterMs > policy.maxRetryAfterMs) throw error;
          await pause(Math.max(retryAfterMs, backoffMs(policy, failures)), what, call.signal);
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
          token: () => readToken(options.token),
        });
      });
      return socket;
    },
    close: () => {
      void socket?.then((open) => {
        open.close();
      });
      socket = undefined;
    },
  };
};

/** 128 random bits; `crypto.randomUUID` is missing on pages that were not served over TLS. */
export const randomKey = (): string => {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return `sdk-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
};
