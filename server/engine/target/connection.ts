import { addressOf } from '../../domain/address.js';
import { DomainError } from '../../domain/errors.js';
import { openControl, ServerReplyError, type Argument, type Control } from '../control.js';
import { type Dial, type Endpoint, type Log } from '../ports.js';
import { pause, within } from './waiting.js';

export type Info = ReadonlyMap<string, string>;

export interface TargetConnectionOptions {
  endpoint: Endpoint;
  commandMs: number;
  reconnectMs: number;
  pollMs: number;
}

/** Connecting again cannot help: the server answers, and says no. */
const FINAL: ReadonlySet<string> = new Set(['AUTH_FAILED', 'PERMISSION_MISSING', 'TARGET_NOT_ALLOWED', 'PROTOCOL_ERROR', 'BAD_INPUT']);

/**
 * The way to the target during one restore. Looks (`ask`) are repeated over new connections while the target restarts, loads or
 * is frozen; changes (`tell`) are sent once and never repeated by themselves.
 */
export class TargetConnection {
  private current: Control | undefined;
  private closed = false;

  constructor(private readonly options: TargetConnectionOptions, private readonly deps: { dial: Dial; log: Log }) {}

  get address(): string {
    return addressOf(this.options.endpoint);
  }

  get endpoint(): Endpoint {
    return this.options.endpoint;
  }

  /** The open connection, or a new one. Fails as `openControl` does. */
  async control(): Promise<Control> {
    if (this.closed) throw new DomainError('INTERRUPTED', `The connection to ${this.address} has been given up.`);
    if (this.current?.alive) return this.current;
    this.current?.close();
    this.current = await openControl(this.options.endpoint, this.deps, { timeoutMs: this.options.commandMs });
    return this.current;
  }

  /** One command, once. */
  async tell(command: string, ...args: readonly Argument[]): Promise<unknown> {
    return (await this.control()).call(command, ...args);
  }

  /** INFO, from whatever connection works within `patienceMs` (default: the reconnect time). Fails with the last error. */
  async ask(section?: string, options: { patienceMs?: number; signal?: AbortSignal } = {}): Promise<Info> {
    const deadline = performance.now() + (options.patienceMs ?? this.options.reconnectMs);
    for (;;) {
      try {
        const info = (await this.control()).info(section);
        return await (options.signal
          ? within(info, { ms: this.options.commandMs + 1_000, signal: options.signal, late: () => new DomainError('CONNECT_FAILED', `${this.address} did not answer INFO.`, { retryable: true }) })
          : info);
      } catch (error) {
        if (options.signal?.aborted || this.closed) throw error;
        if (error instanceof DomainError && FINAL.has(error.code)) throw error;
        if (performance.now() >= deadline) throw error;
        // A connection that did not answer may be half open; a reply such as -BUSY came over a good one.
        if (!(error instanceof ServerReplyError)) this.drop();
      }
      await pause(this.options.pollMs, options.signal);
    }
  }

  close(): void {
    this.closed = true;
    this.drop();
  }

  private drop(): void {
    this.current?.close();
    this.current = undefined;
  }
}

/** Keys per database out of INFO keyspace (`db0:keys=1,expires=0,…`). A replica counts expired keys too. */
export const keysIn = (info: Info): { database: number; keys: bigint; expiring: bigint }[] =>
  [...info].flatMap(([name, value]) => {
    const database = /^db(\d+)$/.exec(name)?.[1];
    const keys = /(?:^|,)keys=(\d+)/.exec(value)?.[1];
    const expiring = /(?:^|,)expires=(\d+)/.exec(value)?.[1];
    return database === undefined || keys === undefined ? [] : [{ database: Number(database), keys: BigInt(keys), expiring: BigInt(expiring ?? 0) }];
  }).sort((one, other) => one.database - other.database);

/** Everything a look at the target's replication and persistence tells. */
export interface TargetState {
  runId: string;
  role: 'MASTER' | 'REPLICA';
  /** As the server was told; null on a master. */
  masterHost: string | null;
  masterPort: number | null;
  /** Null before Redis 4.0. */
  replid: string | null;
  replid2: string | null;
  offset: bigint;
  syncInProgress: boolean;
  loading: boolean;
  loadedBytes: bigint;
  loadTotalBytes: bigint;
  appendOnly: boolean;
  /** A rewrite of the append-only file runs. */
  rewriteRunning: boolean;
  /** One is to follow as soon as it can. */
  rewriteScheduled: boolean;
  /** How the last one ended. */
  rewriteOk: boolean;
  keys: { database: number; keys: bigint; expiring: bigint }[];
}

const numberOf = (info: Info, field: string): bigint => {
  const text = info.get(field);
  return text !== undefined && /^-?\d+$/.test(text) ? BigInt(text) : 0n;
};

/** Reads TargetState out of a full INFO, of any version from 2.8 on. */
export const stateIn = (info: Info): TargetState => ({
  runId: info.get('run_id') ?? '',
  role: info.get('role') === 'master' ? 'MASTER' : 'REPLICA',
  masterHost: info.get('master_host') ?? null,
  masterPort: info.has('master_port') ? Number(info.get('master_port')) : null,
  replid: info.get('master_replid') ?? null,
  replid2: info.get('master_replid2') ?? null,
  offset: numberOf(info, 'master_repl_offset'),
  syncInProgress: info.get('master_sync_in_progress') === '1',
  loading: info.get('loading') === '1' || info.get('async_loading') === '1',
  loadedBytes: numberOf(info, 'loading_loaded_bytes'),
  loadTotalBytes: numberOf(info, 'loading_total_bytes'),
  appendOnly: info.get('aof_enabled') === '1',
  rewriteRunning: info.get('aof_rewrite_in_progress') === '1',
  rewriteScheduled: info.get('aof_rewrite_scheduled') === '1',
  rewriteOk: (info.get('aof_last_bgrewrite_status') ?? 'ok') === 'ok',
  keys: keysIn(info),
});
