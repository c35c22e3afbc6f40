import { type Socket } from 'node:net';
import { type Phase } from '../domain/job.js';

/** TLS towards a Redis or Valkey server. PEM texts, not paths. */
export interface TlsOptions {
  /** CA bundle to trust instead of the system's. */
  ca?: string | undefined;
  /** Client certificate and key, for servers that ask for one. */
  cert?: string | undefined;
  key?: string | undefined;
  /** Name to send and to check; default: the host. */
  serverName?: string | undefined;
  /** Accept any certificate. Off unless somebody chose it. */
  insecure?: boolean | undefined;
}

/** What this service shows to a server that dials it over TLS. PEM texts that belong together. */
export interface ListenerTls {
  cert: string;
  key: string;
  /** What the peer's own certificate has to be signed by; without it, it is not asked for one. */
  ca?: string | undefined;
}

/** Where a server is and how to log in there. Held in memory only while used; never logged. */
export interface Endpoint {
  host: string;
  port: number;
  username?: string | undefined;
  password?: string | undefined;
  tls?: TlsOptions | undefined;
}

export interface DialOptions {
  signal?: AbortSignal | undefined;
  /** Time for name resolution, connect and TLS handshake together. Default 5,000 ms. */
  timeoutMs?: number | undefined;
  /** Where it is given and the connection is not over TLS, what arrives comes this way and not as `data`. */
  reading?: ReusedReading | undefined;
}

/** Reading into the same memory over and over: a new buffer for every read makes more work for the collector of garbage than for the reader. */
export interface ReusedReading {
  memory: Uint8Array;
  /** The bytes are at the beginning of `memory`, until this returns. False: nothing more is read until the socket is resumed. */
  take(bytes: number): boolean;
}

/**
 * Opens every outgoing connection of this service: resolves the name once, checks every address against the connect policy,
 * connects to a checked address, and returns a connected socket (TLS done where asked). Fails with CONNECT_FAILED or
 * TARGET_NOT_ALLOWED. The socket is the caller's to destroy.
 */
export type Dial = (to: { host: string; port: number; tls?: TlsOptions | undefined }, options?: DialOptions) => Promise<Socket>;

/**
 * The first half of a `Dial`: every address that a host has, each of which may be dialled. For a connection that is opened on another thread, to one of
 * these and nothing else. Fails as `Dial` does.
 */
export type Permit = (to: { host: string; port: number }) => Promise<readonly string[]>;

/**
 * Keeps a server from being asked for one full synchronisation after the other: each makes it fork. Over all nodes of this service.
 */
export interface SyncGate {
  /**
   * Awaited right before PSYNC. Rejects with RATE_LIMITED (`details.retryAt`, ISO 8601) or INSTANCE_BUSY, and then the server is not asked.
   * What it resolves to is to be told how the attempt ended.
   */
  begin(server: { runId: string; address: string }): Promise<SyncAttempt>;
}

export interface SyncAttempt {
  /** Call once the server is rid of us. Never rejects. @param good whether a backup came of it */
  end(good: boolean): Promise<void>;
}

export interface Clock {
  now(): Date;
}

/** Structured log. Values pass the redactor of `telemetry/`, but secrets are not to be handed in to begin with. */
export interface Log {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** What a verb of the engine reports while it works. Cheap to emit; the receiver throttles. */
export type EngineProgress =
  | { kind: 'phase'; phase: Phase }
  | { kind: 'amount'; bytesDone: bigint; bytesTotal: bigint | null; keysDone: bigint; keysTotal: bigint | null }
  /** Something a reader of the job should know, that does not end it. */
  | { kind: 'notice'; code: string; message: string };

export type OnProgress = (progress: EngineProgress) => void;
