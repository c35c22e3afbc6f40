import { type DatabaseCount, type SlotRange } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { type ProbeReport, type ServerMode } from '../../domain/server-report.js';
import { compareVersions, rdbVersionWrittenBy } from '../rdb/versions.js';

/** Everything of a report that INFO alone tells. */
export type InfoFacts = Omit<ProbeReport, 'sentinelWatched' | 'slots' | 'rights' | 'persistence'> & {
  persistence: Pick<ProbeReport['persistence'], 'appendOnly' | 'lastSaveAt' | 'lastSaveOk'>;
};

const OLDEST_REDIS = '2.8.0';
/** Servers that answer like Redis, name a `redis_version`, and have another replication or file format. */
const OTHERS: Readonly<Record<string, string>> = {
  dragonfly_version: 'Dragonfly', kvrocks_version: 'Kvrocks', garnet_version: 'Garnet', keydb_version: 'KeyDB',
};

const integer = (text: string | undefined): bigint | null => (text !== undefined && /^-?\d+$/.test(text) ? BigInt(text) : null);

const modeOf = (info: ReadonlyMap<string, string>): ServerMode => {
  if (info.get('redis_mode') === 'sentinel' || info.get('server_mode') === 'sentinel') return 'SENTINEL';
  return info.get('cluster_enabled') === '1' || info.get('redis_mode') === 'cluster' ? 'CLUSTER' : 'STANDALONE';
};

const databasesOf = (info: ReadonlyMap<string, string>): DatabaseCount[] => {
  const found: DatabaseCount[] = [];
  for (const [name, value] of info) {
    const match = /^db(\d+)$/.exec(name);
    if (!match) continue;
    const fields = new Map(value.split(',').map((field) => field.split('=', 2) as [string, string | undefined]));
    found.push({ database: Number(match[1]), keys: integer(fields.get('keys')) ?? 0n, expiring: integer(fields.get('expires')) ?? 0n });
  }
  return found.sort((a, b) => a.database - b.database);
};

/**
 * Reads the answer to INFO. Fails with PROTOCOL_ERROR when it is none of a Redis or Valkey server, and with ENGINE_UNSUPPORTED
 * for lookalikes and for Redis before 2.8, which knows no PSYNC.
 */
export const infoFacts = (address: string, info: ReadonlyMap<string, string>): InfoFacts => {
  const isValkey = info.get('server_name') === 'valkey' || info.has('valkey_version');
  const version = info.get(isValkey ? 'valkey_version' : 'redis_version');
  const runId = info.get('run_id');
  if (version === undefined || runId === undefined || !/^\d+\.\d+/.test(version)) {
    throw new DomainError('PROTOCOL_ERROR', `${address} answers INFO without a version and run_id: it is no Redis or Valkey server.`, { hint: 'Check host and port.' });
  }
  const other = Object.keys(OTHERS).find((field) => info.has(field));
  if (other !== undefined) {
    throw new DomainError('ENGINE_UNSUPPORTED', `${address} is ${OTHERS[other] ?? other}, which is not supported.`, { hint: 'Only Redis and Valkey servers can be protected.' });
  }
  const engine = isValkey ? 'VALKEY' : 'REDIS';
  if (engine === 'REDIS' && compareVersions(version, OLDEST_REDIS) < 0) {
    throw new DomainError('ENGINE_UNSUPPORTED', `${address} runs Redis ${version}; 2.8 is the oldest that can be protected.`, { hint: 'Upgrade the server.' });
  }
  const databases = databasesOf(info);
  const rdb = rdbVersionWrittenBy(engine, version);
  const replicationId = info.get('master_replid');
  const lastSave = integer(info.get('rdb_last_save_time'));
  const lastSaveStatus = info.get('rdb_last_bgsave_status');
  const masterHost = info.get('master_host');
  return {
    engine, version, runId, databases,
    role: info.get('role') === 'slave' ? 'REPLICA' : 'MASTER',
    mode: modeOf(info),
    usedMemoryBytes: integer(info.get('used_memory')) ?? 0n,
    maxMemoryBytes: integer(info.get('maxmemory')),
    maxMemoryPolicy: info.get('maxmemory_policy') ?? null,
    keys: databases.reduce((sum, { keys }) => sum + keys, 0n),
    persistence: {
      appendOnly: info.get('aof_enabled') === '1',
      lastSaveAt: lastSave === null ? null : new Date(Number(lastSave) * 1_000),
      lastSaveOk: lastSaveStatus === undefined ? null : lastSaveStatus === 'ok',
    },
    rdbMagic: rdb.magic,
    rdbVersion: rdb.version,
    replicationId: replicationId !== undefined && /^[0-9a-f]{40}$/i.test(replicationId) ? replicationId : null,
    replicationOffset: integer(info.get('master_repl_offset')),
    connectedReplicas: Number(integer(info.get('connected_slaves')) ?? 0n),
    master: masterHost === undefined ? null : {
      host: masterHost, port: Number(integer(info.get('master_port')) ?? 0n), linkUp: info.get('master_link_status') === 'up',
    },
    loading: info.get('loading') === '1',
  };
};

/** Whether CLIENT LIST shows connections that a Sentinel names (`sentinel-<8 hex>-cmd`, `-pubsub`). */
export const hasSentinelClient = (clientList: string): boolean => /(?:^|\s)name=sentinel-[0-9a-f]+-/m.test(clientList);

/** Slots of the node that answered CLUSTER NODES; a replica owns those of its master. Slots on the move are not listed. */
export const slotsOfMyself = (clusterNodes: string): SlotRange[] => {
  const nodes = clusterNodes.split('\n').map((line) => line.trim().split(' ')).filter((fields) => fields.length >= 8);
  const myself = nodes.find((fields) => fields[2]?.split(',').includes('myself'));
  const masterId = myself?.[3];
  const owner = masterId === undefined || masterId === '-' ? myself : nodes.find((fields) => fields[0] === masterId);
  return (owner?.slice(8) ?? []).flatMap((text) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(text);
    return match ? [{ start: Number(match[1]), end: Number(match[2] ?? match[1]) }] : [];
  });
};
