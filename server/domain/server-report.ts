import { type DatabaseCount, type Engine, type SlotRange } from './backup.js';

export const SERVER_ROLES = ['MASTER', 'REPLICA'] as const;
export type ServerRole = (typeof SERVER_ROLES)[number];

export const SERVER_MODES = ['STANDALONE', 'CLUSTER', 'SENTINEL'] as const;
export type ServerMode = (typeof SERVER_MODES)[number];

/** What a user's rights are asked for; a subcommand stands after `|`, as in ACL rules. */
export const PROBED_RIGHTS = [
  'ping', 'info', 'psync', 'replconf', 'replicaof', 'slaveof', 'config|get', 'config|set', 'client|list', 'client|pause', 'restore', 'bgrewriteaof', 'bgsave',
  'scan', 'pttl', 'dump',
] as const;
export type ProbedRight = (typeof PROBED_RIGHTS)[number];

/** null: the server did not tell. A command that the server does not have (or has renamed) is not allowed. */
export interface ServerRight {
  command: ProbedRight;
  allowed: boolean | null;
}

export interface ServerPersistence {
  appendOnly: boolean;
  /** The `save` rules as CONFIG GET shows them, empty when there are none; null when CONFIG is not allowed. */
  saveRules: string | null;
  /** Whether RDB files end in a checksum; null when CONFIG is not allowed. */
  rdbChecksum: boolean | null;
  lastSaveAt: Date | null;
  lastSaveOk: boolean | null;
}

/** What one look at a server found. null always means "the server did not tell". */
export interface ProbeReport {
  engine: Engine;
  /** `redis_version`, or `valkey_version` of a Valkey. */
  version: string;
  runId: string;
  role: ServerRole;
  mode: ServerMode;
  usedMemoryBytes: bigint;
  /** 0 = no limit. */
  maxMemoryBytes: bigint | null;
  maxMemoryPolicy: string | null;
  /** Databases with keys, in rising order. */
  databases: DatabaseCount[];
  keys: bigint;
  persistence: ServerPersistence;
  /** Header of the RDB files it writes. */
  rdbMagic: 'REDIS' | 'VALKEY';
  rdbVersion: number;
  /** `master_replid`, from Redis 4.0 on. It changes once when a server serves its first replica. */
  replicationId: string | null;
  replicationOffset: bigint | null;
  connectedReplicas: number;
  /** Of a replica: the master it follows, and whether the link is up. */
  master: { host: string; port: number; linkUp: boolean } | null;
  loading: boolean;
  /** Whether a Sentinel holds connections here; null when CLIENT LIST is not allowed. */
  sentinelWatched: boolean | null;
  /** Slots that it owns (of a replica: its master's), when it is a node of a cluster. */
  slots: SlotRange[];
  /** In the order of PROBED_RIGHTS. */
  rights: ServerRight[];
}

export const rightTo = (report: Pick<ProbeReport, 'rights'>, command: ProbedRight): boolean | null =>
  report.rights.find((right) => right.command === command)?.allowed ?? null;
