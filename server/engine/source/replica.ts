import { addressOf } from '../../domain/address.js';
import { type Engine } from '../../domain/backup.js';
import { abortReason, DomainError } from '../../domain/errors.js';
import { type ServerMode } from '../../domain/server-report.js';
import { type HostPort, type SourceNode } from '../../domain/source.js';
import { type Control, type ControlDeps, openControl } from '../control.js';
import { type Endpoint } from '../ports.js';
import { type InfoFacts, infoFacts } from '../probe/info-facts.js';
import { compareVersions } from '../rdb/versions.js';
import { pause } from '../target/waiting.js';

/** What has to be known of a master to tell its replicas from others. */
export interface MasterFacts {
  address: string;
  engine: Engine;
  mode: ServerMode;
  version: string;
  rdbMagic: string;
  rdbVersion: number;
  /** Null before 4.0: then nothing proves a replica. */
  replicationId: string | null;
  /** What a replica must have before it is read. */
  replicationOffset: bigint | null;
  keys: bigint;
}

export interface ReplicaOptions {
  /** Where it is to be looked for; the first one that is proven is taken. */
  candidates: readonly HostPort[];
  /** Versions that are not switched off. Default: all. */
  allows?: ((engine: Engine, version: string) => boolean) | undefined;
  signal?: AbortSignal | undefined;
}

/** Name, connect, TLS, AUTH and the first INFO together. A place that nobody can reach costs a backup no more than this. */
const REACH_MS = 2_000;
/** Then it may take so long to get what its master had. A replica that keeps up has it before it is asked. */
const CATCH_UP_MS = 2_000;
const LOOK_AGAIN_MS = 25;
/** Of the replicas that a server announces so many are looked at, those that have most of its stream first. */
const MOST_CANDIDATES = 5;
/** Both are counted a moment apart; a replica that misses more than this has evicted keys, or takes writes of its own. */
const COUNTS_DIFFER_BY = { percent: 1n, keys: 100n };
/** Of what a stranger says, so much is passed on. */
const MOST_OF_A_REASON = 300;

const decimal = (text: string | undefined): bigint | null => (text !== undefined && /^\d{1,19}$/.test(text) ? BigInt(text) : null);

/** The replicas that are in step by the words of their master (`slave0:ip=…,port=…,state=online,offset=…,lag=…`), the one that has most first. */
export const announcedReplicas = (info: ReadonlyMap<string, string>): HostPort[] => {
  const found: (HostPort & { offset: bigint })[] = [];
  for (const [name, value] of info) {
    if (!/^slave\d+$/.test(name)) continue;
    const fields = new Map(value.split(',').map((field) => [field.slice(0, field.indexOf('=')), field.slice(field.indexOf('=') + 1)]));
    const host = fields.get('ip') ?? '';
    const port = Number(fields.get('port'));
    // A client that only copies, such as another backup, has no port to be reached at.
    if (fields.get('state') !== 'online' || host === '' || host.length > 253 || !Number.isInteger(port) || port < 1 || port > 65_535) continue;
    found.push({ host, port, offset: decimal(fields.get('offset')) ?? 0n });
  }
  const most = (a: bigint, b: bigint): number => (a === b ? 0 : a > b ? -1 : 1);
  return found.sort((a, b) => most(a.offset, b.offset)).slice(0, MOST_CANDIDATES).map(({ host, port }) => ({ host, port }));
};

/**
 * The first of the candidates that is proven to be a replica of the master and has everything that its master had; null when none is. All are
 * asked at once, with the credential and the TLS settings of the master. Takes four seconds at most. Fails with the signal's reason only.
 * @param master as INFO told it just before
 */
export const findReplica = async (
  endpoint: Endpoint, master: MasterFacts, deps: ControlDeps, { candidates, allows, signal }: ReplicaOptions,
): Promise<{ replica: SourceNode | null; refusals: DomainError[] }> => {
  const enough = new AbortController();
  const within = signal ? AbortSignal.any([signal, enough.signal]) : enough.signal;
  const refusals: DomainError[] = [];
  const asked = candidates.map((place) => proveReplica({ ...endpoint, ...place }, master, deps, { allows, signal: within }).catch((error: unknown) => {
    if (!(error instanceof DomainError)) throw error;
    refusals.push(error);
    throw error;
  }));
  try {
    return { replica: await Promise.any(asked), refusals: [] };
  } catch (error) {
    if (signal?.aborted) throw abortReason(signal);
    const fault = error instanceof AggregateError ? (error.errors as unknown[]).find((one) => !(one instanceof DomainError)) : error;
    if (fault !== undefined) throw fault;
    return { replica: null, refusals };
  } finally {
    enough.abort(new DomainError('INTERRUPTED', 'Another replica was faster.'));
  }
};

/**
 * Proves that a server is a replica of the master and has everything that its master had, and tells who it is. Changes nothing there.
 *
 * Fails with what `openControl` and INFO fail with; CONFLICT when it is none of this master's replicas, or its data differs;
 * SOURCE_DISCONNECTED when its link is down or it is being filled; TOO_SLOW when it does not catch up; ENGINE_UNSUPPORTED when its version
 * is switched off or writes another format.
 */
export const proveReplica = async (endpoint: Endpoint, master: MasterFacts, deps: ControlDeps, { allows, signal }: Omit<ReplicaOptions, 'candidates'> = {}): Promise<SourceNode> => {
  const address = addressOf(endpoint);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DomainError('CONNECT_FAILED', `${address} did not tell of itself within ${REACH_MS} ms.`, {
    hint: 'Check the address, the network, and the load of the server.', retryable: true,
  })), REACH_MS);
  const within = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
  let control: Control | undefined;
  try {
    control = await openControl(endpoint, deps, { signal: within, timeoutMs: REACH_MS });
    const info = await control.info();
    clearTimeout(timer);
    const facts = infoFacts(address, info);
    judgeServer(address, facts, master, allows);
    const behindBytes = await catchUp(control, address, info, master, within);
    return { host: endpoint.host, port: endpoint.port, role: 'REPLICA', runId: facts.runId, version: facts.version, behindBytes };
  } finally {
    clearTimeout(timer);
    control?.close();
  }
};

const none = (address: string, master: MasterFacts, why: string): DomainError =>
  new DomainError('CONFLICT', `${address} is no replica of ${master.address}: ${why}.`, { hint: 'Name a replica that follows exactly this server.' });

/** Redis from 8 on brings modules whose encodings change between its patch releases. */
const bringsModules = ({ engine, version }: Pick<MasterFacts, 'engine' | 'version'>): boolean => engine === 'REDIS' && compareVersions(version, '8.0.0-rc1') >= 0;

/** What does not change from one moment to the next. */
const judgeServer = (address: string, facts: InfoFacts, master: MasterFacts, allows: ReplicaOptions['allows']): void => {
  if (facts.engine !== master.engine || facts.mode !== master.mode) throw none(address, master, `it is ${facts.engine} (${facts.mode}), not ${master.engine} (${master.mode})`);
  if (master.replicationId === null || master.replicationOffset === null) {
    throw new DomainError('ENGINE_UNSUPPORTED', `${master.address} (version ${master.version}) has no replication id that its replicas could be known by; ${address} cannot be proven to be one.`, {
      hint: 'Servers have one from version 4.0 on. Register the replica itself to back that up.',
    });
  }
  if (allows?.(facts.engine, facts.version) === false) {
    throw new DomainError('ENGINE_UNSUPPORTED', `${address} runs version ${facts.version}, which the operator of this service has switched off.`, { hint: 'Use a replica of another version.' });
  }
  const sameFormat = facts.rdbMagic === master.rdbMagic && facts.rdbVersion === master.rdbVersion;
  if (!sameFormat || (facts.version !== master.version && bringsModules(master))) {
    throw new DomainError('ENGINE_UNSUPPORTED', `${address} runs version ${facts.version} and ${master.address} version ${master.version}: the one may not load what the other writes.`, {
      hint: 'Use a replica of the version of its master, or finish the upgrade.',
    });
  }
};

/** Waits until the replica has what its master had. Returns how many bytes it lacked at first. */
const catchUp = async (control: Control, address: string, first: ReadonlyMap<string, string>, master: MasterFacts, signal: AbortSignal): Promise<bigint> => {
  const deadline = performance.now() + CATCH_UP_MS;
  const wanted = master.replicationOffset ?? 0n;
  let info = first;
  let behindAtFirst: bigint | undefined;
  for (;;) {
    const behind = wanted - judgeLink(address, info, master);
    behindAtFirst ??= behind > 0n ? behind : 0n;
    if (behind <= 0n) {
      judgeCounts(address, infoFacts(address, info === first ? info : await control.info()), master);
      return behindAtFirst;
    }
    if (performance.now() >= deadline) {
      throw new DomainError('TOO_SLOW', `${address} is ${behind} bytes behind ${master.address} and did not catch up within ${CATCH_UP_MS} ms.`, {
        hint: 'Check the load of the replica, and the network between it and its master.', retryable: true,
      });
    }
    await pause(LOOK_AGAIN_MS, signal);
    info = await control.info('replication');
  }
};

/** What the replica says of its link; returns how far in its master's stream it is. */
const judgeLink = (address: string, info: ReadonlyMap<string, string>, master: MasterFacts): bigint => {
  if (info.get('role') !== 'slave') throw none(address, master, 'it is a master itself');
  if (info.get('master_sync_in_progress') === '1' || info.get('loading') === '1' || info.get('async_loading') === '1') {
    throw new DomainError('SOURCE_DISCONNECTED', `${address} is being filled with the data of its master.`, { hint: 'Wait until it is in step.', retryable: true });
  }
  if (info.get('master_link_status') !== 'up') {
    throw new DomainError('SOURCE_DISCONNECTED', `${address} is a replica that has lost its master.`, { hint: 'Bring the link between the two back.', retryable: true });
  }
  if (info.get('master_replid') !== master.replicationId) throw none(address, master, 'it follows another one (their replication ids differ)');
  if (info.get('slave_read_only') === '0') throw none(address, master, 'it takes writes of its own (replica-read-only no)');
  const offset = decimal(info.get('slave_repl_offset'));
  if (offset === null) throw none(address, master, 'it does not tell how far it is in the replication stream');
  return offset;
};

/** Replicas neither expire nor evict by themselves, unless somebody made them: then they hold other data than their master. */
const judgeCounts = (address: string, { keys }: InfoFacts, master: MasterFacts): void => {
  const [more, fewer] = keys > master.keys ? [keys, master.keys] : [master.keys, keys];
  if (more - fewer <= COUNTS_DIFFER_BY.keys + (more * COUNTS_DIFFER_BY.percent) / 100n) return;
  throw new DomainError('CONFLICT', `${address} holds ${keys} keys where ${master.address} holds ${master.keys}.`, {
    hint: 'Check whether the replica evicts keys (replica-ignore-maxmemory), or took writes of its own once.',
  });
};

/** Why nothing was read from a replica, in one sentence. */
export const refusedBecause = (refusals: readonly DomainError[]): string =>
  refusals.map(({ message }) => (message.length > MOST_OF_A_REASON ? `${message.slice(0, MOST_OF_A_REASON)}…` : message)).join(' ');
