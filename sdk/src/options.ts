import type { Emit } from './client-events.js';
import type { RetryOptions } from './timing.js';

/** What this package uses of a WebSocket; browsers' own, Node 22's and the package `ws` all fit. */
export interface WebSocketLike {
  onopen: unknown;
  onmessage: unknown;
  onclose: unknown;
  onerror: unknown;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type WebSocketConstructor = new (url: string, protocols: string) => WebSocketLike;

export interface ClientOptions {
  /** The service's base address, such as `http://localhost:4000`; `/graphql` is added. */
  url: string;
  /**
   * An API key (`sb_…`) or a token of the operator's OpenID provider, or a function that gives one. The function is called with the first
   * request, and what it gave serves all calls until the service refuses it: then it is called once more, once for all calls that were
   * refused together, and each is sent again. Given the same again, they fail with UNAUTHENTICATED. What the function throws, calls throw.
   */
  token: string | (() => string | Promise<string>);
  /** Default: the global `fetch`. */
  fetch?: typeof fetch;
  /**
   * Class for the socket of `watch`, `wait` and `events`. Default: the global `WebSocket`; where there is none (Node 20), the package
   * `ws`, which must be installed then. Nothing of it is loaded before the first use.
   */
  webSocket?: WebSocketConstructor;
  /**
   * Repeats a query after a network fault, a timeout, 429, 502, 503 or 504; a mutation only when it carries an idempotency key. `false`
   * switches that off. Also rules how often a cut socket or download is taken up again without getting any further.
   */
  retry?: RetryOptions | false;
  /** Longest time for one attempt of a call, and the longest silence in a download, in milliseconds. Default 30,000. */
  timeoutMs?: number;
  /** Sent with every request to the service itself. Browsers cannot send them with the socket. */
  headers?: Readonly<Record<string, string>>;
  /** Told of requests, repetitions and lost sockets; see ClientEvent. What it throws is dropped. Default: nobody is told. */
  onEvent?: Emit;
  /** How often the socket is asked for a sign of life, in milliseconds; without one it is given up and opened anew. Default 10,000. */
  keepAliveMs?: number;
}

/** What every call takes beside its input. */
export interface CallOptions {
  /** Aborts the call, the wait between attempts, or the stream. */
  signal?: AbortSignal;
  /** Instead of the client's. */
  timeoutMs?: number;
  /** Instead of the client's. */
  retry?: RetryOptions | false;
  /** On top of the client's. */
  headers?: Readonly<Record<string, string>>;
  /**
   * For calls that change something, 1 to 128 characters; others pay no heed to it. Within 24 hours the same key with the same input gives the same
   * result, whoever repeats it; one with a secret in it (`apiKeys.create`, `backups.link`) only to the same caller. Default: a new random one for
   * every call, kept over its attempts.
   */
  idempotencyKey?: string;
}

/** @deprecated All calls take what `CallOptions` has. */
export type KeyedCallOptions = CallOptions;

