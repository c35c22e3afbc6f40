import { type DatabaseCount, type Engine } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { ServerReplyError, type Control } from '../control.js';
import { compareVersions } from '../rdb/versions.js';
import { keysIn, type Info } from './connection.js';

/** What is known of a target before a restore. Null means that it could not be read, mostly for want of a right. */
export interface TargetFacts {
  engine: Engine;
  version: string;
  runId: string;
  role: 'MASTER' | 'REPLICA';
  mode: 'STANDALONE' | 'CLUSTER' | 'SENTINEL';
  loading: boolean;
  failingOver: boolean;
  /** Null before Redis 4.0, by nature. */
  replid: string | null;
  offset: bigint;
  keysNow: DatabaseCount[];
  usedMemory: bigint;
  /** 0 is without a limit. */
  maxMemory: bigint | null;
  systemMemory: bigint | null;
  connectedReplicas: number;
  appendOnly: boolean;
  /** Fields of INFO that say that the last write to the disk of their kind has failed; empty when none did. */
  failedWrites: string[];
  /** Whether `save` has rules. */
  savesRdb: boolean | null;
  /** `disabled`, `on-empty-db`, `swapdb`, `flush-before-load`; `disabled` where the setting does not exist. */
  disklessLoad: string | null;
  /** Whether this user may change that; null when nobody asked, or the server has no such setting. */
  maySetDisklessLoad: boolean | null;
  replicaReadOnly: boolean | null;
  servesStaleData: boolean | null;
  databases: number | null;
  minReplicas: number | null;
  tlsReplication: boolean | null;
  /** Whether a `masterauth` is set; asked only before Redis 4.0, where the link's proof needs it. */
  masterauth: 'NONE' | 'PRESENT' | null;
  /** Names of loaded modules. */
  modules: string[] | null;
  sentinel: boolean | null;
  mayReplicaOf: boolean | null;
  /** Null where the server has no CLIENT PAUSE … WRITE (before 6.2). */
  mayPause: boolean | null;
}

/** What a restore needs to know of its target besides what it always asks. */
export interface FactNeeds {
  highestDatabase: number;
  modules: boolean;
  /** Whether its way of loading may have to be changed. */
  disklessLoad: boolean;
}

/** Null for what the user may not run and for what the server does not know (also renamed): the check is then not possible. */
const permitted = async <T>(ask: Promise<T>): Promise<T | null> => {
  try {
    return await ask;
  } catch (error) {
    if (error instanceof ServerReplyError || (error instanceof DomainError && error.code === 'PERMISSION_MISSING')) return null;
    throw error;
  }
};

const strings = (reply: unknown): string[] => (Array.isArray(reply) ? reply.filter((part): part is string => typeof part === 'string') : []);

/** The value of the one setting that fits `pattern` (old and new spellings have one each); '' when there is none; null when CONFIG is refused. */
const setting = async (control: Control, pattern: string): Promise<string | null> => {
  const reply = await permitted(control.call('CONFIG', 'GET', pattern));
  return reply === null ? null : strings(reply)[1] ?? '';
};

/** Null also for a setting that the server does not have. */
const yes = (value: string | null): boolean | null => (value === null || value === '' ? null : value === 'yes');

const sentinelInCharge = async (control: Control): Promise<boolean | null> => {
  const list = await permitted(control.call('CLIENT', 'LIST'));
  if (typeof list === 'string' && /(?:^|\s)name=sentinel-/m.test(list)) return true;
  // Every Sentinel subscribes to this channel on the masters it watches: it tells where CLIENT LIST may not be read.
  const subscribed = await permitted(control.call('PUBSUB', 'NUMSUB', '__sentinel__:hello'));
  if (Array.isArray(subscribed) && Number(subscribed[1]) > 0) return true;
  return list === null ? null : false;
};

/**
 * Whether a command may be run, asked with an argument that is none where a number or one of a few words has to be: rights are checked before, and
 * nothing is done after (Redis and Valkey parse the port, the pause's length and a setting's value before all else).
 */
const mayRun = async (control: Control, ...command: [string, ...string[]]): Promise<boolean | null> => {
  try {
    await control.call(...command);
    return null;
  } catch (error) {
    if (error instanceof DomainError && error.code === 'PERMISSION_MISSING') return false;
    if (!(error instanceof ServerReplyError)) throw error;
    return error.reply.toLowerCase().includes('unknown command') ? null : true;
  }
};

const NO_PORT = 'not-a-port';

const mayReplicaOf = async (control: Control): Promise<boolean> =>
  (await mayRun(control, 'REPLICAOF', 'no-such-host', NO_PORT)) ?? (await mayRun(control, 'SLAVEOF', 'no-such-host', NO_PORT)) ?? false;

/** `databases`, or, where CONFIG is refused, whether the highest database that is needed can be selected. */
const databaseLimit = async (control: Control, configured: string | null, highestNeeded: number): Promise<number | null> => {
  if (configured !== null && /^\d+$/.test(configured)) return Number(configured);
  try {
    await control.call('SELECT', highestNeeded);
    await control.call('SELECT', 0);
    return highestNeeded + 1;
  } catch (error) {
    if (error instanceof DomainError && error.code === 'PERMISSION_MISSING') return null;
    if (error instanceof ServerReplyError) return highestNeeded;
    throw error;
  }
};

const moduleNames = async (control: Control): Promise<string[] | null> => {
  const reply = await permitted(control.call('MODULE', 'LIST'));
  if (!Array.isArray(reply)) return null;
  return reply.flatMap((one: unknown) => {
    const fields = strings(one);
    const at = fields.indexOf('name');
    const name = at < 0 ? undefined : fields[at + 1];
    return name === undefined ? [] : [name];
  });
};

const amount = (info: Info, field: string): bigint | null => {
  const text = info.get(field);
  return text !== undefined && /^\d+$/.test(text) ? BigInt(text) : null;
};

const WRITE_STATES = ['rdb_last_bgsave_status', 'aof_last_bgrewrite_status', 'aof_last_write_status'];

/**
 * Reads the facts over a control connection; changes nothing. Rights that are missing give nulls; INFO is indispensable.
 * Fails with PERMISSION_MISSING (INFO), PROTOCOL_ERROR, CONNECT_FAILED.
 * @param needs what the backup needs: asked only where it matters
 */
export const readFacts = async (control: Control, needs: FactNeeds): Promise<TargetFacts> => {
  const info = await control.info();
  const version = info.get('valkey_version') ?? info.get('redis_version');
  const runId = info.get('run_id');
  const role = info.get('role');
  if (version === undefined || runId === undefined || role === undefined) {
    throw new DomainError('PROTOCOL_ERROR', `${control.remote.address}:${control.remote.port} shows no version, run id or role in INFO.`, {
      hint: 'Restore works with Redis and Valkey servers themselves, not with proxies before them.',
    });
  }
  const replid = info.get('master_replid') ?? null;
  const engine: Engine = info.has('valkey_version') ? 'VALKEY' : 'REDIS';
  const configuredMemory = amount(info, 'maxmemory') === null ? await setting(control, 'maxmemory') : null;
  const save = await setting(control, 'save');
  const diskless = await setting(control, 'repl-diskless-load');
  const minReplicas = await setting(control, 'min-*-to-write');
  const tls = await setting(control, 'tls-replication');
  const masterauth = replid === null ? await setting(control, 'masterauth') : null;
  return {
    engine,
    version,
    runId,
    role: role === 'master' ? 'MASTER' : 'REPLICA',
    mode: info.get('redis_mode') === 'sentinel' ? 'SENTINEL' : info.get('cluster_enabled') === '1' || info.get('redis_mode') === 'cluster' ? 'CLUSTER' : 'STANDALONE',
    loading: info.get('loading') === '1' || info.get('async_loading') === '1',
    failingOver: (info.get('master_failover_state') ?? 'no-failover') !== 'no-failover',
    replid,
    offset: amount(info, 'master_repl_offset') ?? 0n,
    keysNow: keysIn(info),
    usedMemory: amount(info, 'used_memory') ?? 0n,
    maxMemory: amount(info, 'maxmemory') ?? (configuredMemory !== null && /^\d+$/.test(configuredMemory) ? BigInt(configuredMemory) : null),
    systemMemory: amount(info, 'total_system_memory'),
    connectedReplicas: Number(amount(info, 'connected_slaves') ?? 0n),
    appendOnly: info.get('aof_enabled') === '1',
    failedWrites: WRITE_STATES.filter((field) => info.get(field) === 'err'),
    savesRdb: save === null ? null : save !== '',
    disklessLoad: diskless === '' ? 'disabled' : diskless,
    maySetDisklessLoad: needs.disklessLoad && diskless ? await mayRun(control, 'CONFIG', 'SET', 'repl-diskless-load', 'no-such-value') : null,
    replicaReadOnly: yes(await setting(control, '*-read-only')),
    servesStaleData: yes(await setting(control, '*-serve-stale-data')),
    databases: await databaseLimit(control, await setting(control, 'databases'), needs.highestDatabase),
    minReplicas: minReplicas === null ? null : Number(minReplicas),
    tlsReplication: tls === '' ? false : yes(tls),
    masterauth: masterauth === null ? null : masterauth === '' ? 'NONE' : 'PRESENT',
    modules: needs.modules ? await moduleNames(control) : null,
    sentinel: await sentinelInCharge(control),
    mayReplicaOf: await mayReplicaOf(control),
    mayPause: engine === 'VALKEY' || compareVersions(version, '6.2') >= 0 ? (await mayRun(control, 'CLIENT', 'PAUSE', 'not-a-number', 'WRITE')) === true : null,
  };
};
