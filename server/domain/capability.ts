import { type CaptureMethod, type Engine } from './backup.js';
import { DomainError } from './errors.js';
import { RESTORE_METHODS, type RestoreMethod } from './restore-method.js';
import { type ProbedRight, type ProbeReport, rightTo } from './server-report.js';

/** `reason`: why it is not possible, or what to know about it; null when there is nothing to say. */
export interface BackupCapability {
  possible: boolean;
  method: CaptureMethod | null;
  reason: string | null;
}

export interface RestoreCapability {
  possible: boolean;
  methods: readonly RestoreMethod[];
  reason: string | null;
}

export interface Capabilities {
  backup: BackupCapability;
  restore: RestoreCapability;
}

/** Versions that an operator has switched off. */
export interface EngineGate {
  isOff(engine: Engine, version: string): boolean;
  /** The rules as given, for people. */
  readonly rules: readonly string[];
}

const ENGINE_NAME: Readonly<Record<Engine, string>> = { REDIS: 'Redis', VALKEY: 'Valkey' };

/**
 * Reads an operator's rules: `redis 4.0` switches off 4.0.x, `valkey 8` all of 8.x, `redis` every Redis. Case and spaces do
 * not matter. Fails with BAD_INPUT naming the rule.
 */
export const engineGate = (rules: readonly string[]): EngineGate => {
  const parsed = rules.map((rule) => {
    const match = /^\s*(redis|valkey)(?:\s+(\d+(?:\.\d+){0,2}))?\s*$/i.exec(rule);
    if (match?.[1] === undefined) {
      throw new DomainError('BAD_INPUT', `"${rule}" is no rule for switching off versions.`, { hint: 'Write an engine and a version, such as "redis 4.0" or "valkey 8".' });
    }
    return { engine: match[1].toUpperCase(), parts: match[2]?.split('.') ?? [] };
  });
  return {
    rules: [...rules],
    isOff: (engine, version) => {
      const parts = version.split('.');
      return parsed.some((rule) => rule.engine === engine && rule.parts.every((part, at) => part === parts[at]));
    },
  };
};

/** No rules. */
export const NOTHING_OFF: EngineGate = { isOff: () => false, rules: [] };

/** Why the operator's rules stand in the way of everything; null when they do not. */
const switchedOff = ({ engine, version }: Pick<ProbeReport, 'engine' | 'version'>, gate: EngineGate): string | null =>
  gate.isOff(engine, version) ? `The operator of this service has switched ${ENGINE_NAME[engine]} ${version} off.` : null;

/** What a probe found possible, under rules that may have been changed since. */
export const underGate = (known: Capabilities, server: Pick<ProbeReport, 'engine' | 'version'>, gate: EngineGate): Capabilities => {
  const reason = switchedOff(server, gate);
  return reason === null ? known : { backup: { possible: false, method: null, reason }, restore: { possible: false, methods: [], reason } };
};

/**
 * What can be done with a server, as far as a probe can tell; a restore's plan finds out more. Pure: same report, same
 * answer. What the server does not tell is not held against it, but said.
 * @param acceptPartial whether backups of one cluster node alone are wanted
 */
export const capabilities = (report: ProbeReport, gate: EngineGate, { acceptPartial }: { acceptPartial: boolean }): Capabilities => ({
  backup: backupCapability(report, gate, acceptPartial),
  restore: restoreCapability(report, gate),
});

const notes = (list: readonly (string | false)[]): string | null => list.filter((note) => note !== false).join(' ') || null;

/** What stands in the way of both. */
const generalObstacle = (report: ProbeReport, gate: EngineGate): string | null => {
  const off = switchedOff(report, gate);
  if (off !== null) return off;
  if (report.mode === 'SENTINEL') return 'This is a Sentinel: it holds no data.';
  if (report.loading) return 'The server is loading its data; probe it again when it is done.';
  return null;
};

const backupCapability = (report: ProbeReport, gate: EngineGate, acceptPartial: boolean): BackupCapability => {
  const obstacle = generalObstacle(report, gate) ?? backupObstacle(report, acceptPartial);
  if (obstacle !== null) return { possible: false, method: null, reason: obstacle };
  if (lacking(report, REPLICATION_RIGHTS).length > 0) {
    return {
      possible: true,
      method: 'SCAN',
      reason: notes([
        `${lackingText(report)} Its keys are read one by one instead: a backup is not of one moment, and holds functions only where FUNCTION DUMP is allowed.`,
        report.mode === 'CLUSTER' && 'A backup covers only the slots of this node.',
      ]),
    };
  }
  const unknown = REPLICATION_RIGHTS.some((right) => rightTo(report, right) === null);
  return {
    possible: true,
    method: 'REPLICATION',
    reason: notes([
      unknown && 'The server does not tell whether this user may run PSYNC and REPLCONF; the first backup will show it.',
      report.mode === 'CLUSTER' && 'A backup covers only the slots of this node.',
      report.mode === 'CLUSTER' && report.slots.length === 0 && 'It owns none, or this user may not see which (grant +cluster|nodes).',
      report.role === 'MASTER' && report.sentinelWatched === true &&
        'A Sentinel watches this server and may list this service as one of its replicas; a replica is the better source.',
    ]),
  };
};

const backupObstacle = (report: ProbeReport, acceptPartial: boolean): string | null => {
  if (report.mode === 'CLUSTER' && !acceptPartial) {
    return 'This is one node of a cluster and not the whole database. Register it with acceptPartial: true to back up its slots alone.';
  }
  const missing = lacking(report, REPLICATION_RIGHTS);
  if (missing.length === 0) {
    return report.master && !report.master.linkUp ? 'This replica has lost its master, and replicas without a master give no copies.' : null;
  }
  if (lacking(report, SCAN_RIGHTS).length === 0) return null;
  return `${lackingText(report)} A backup needs it, or SCAN, PTTL and DUMP: grant ${missing.map((right) => `+${right}`).join(' ')}.`;
};

const REPLICATION_RIGHTS = ['psync', 'replconf'] as const;
/** What reading key by key needs, where replication is refused. */
const SCAN_RIGHTS = ['scan', 'pttl', 'dump'] as const;
const lacking = (report: ProbeReport, rights: readonly ProbedRight[]): ProbedRight[] => rights.filter((right) => rightTo(report, right) === false);
const lackingText = (report: ProbeReport): string => `The user may not run ${lacking(report, REPLICATION_RIGHTS).join(' and ').toUpperCase()}.`;

const restoreCapability = (report: ProbeReport, gate: EngineGate): RestoreCapability => {
  const obstacle = generalObstacle(report, gate) ?? restoreObstacle(report);
  if (obstacle !== null) return { possible: false, methods: [], reason: obstacle };
  return {
    possible: true,
    methods: linkObstacle(report) === null ? RESTORE_METHODS : KEY_BY_KEY,
    reason: notes([
      linkObstacle(report) ?? false,
      replicaofRight(report) === null && 'The server does not tell whether this user may run REPLICAOF.',
      report.sentinelWatched === null && 'The server does not let this user look for Sentinels (CLIENT LIST).',
      report.connectedReplicas > 0 && 'Its replicas will synchronise anew.',
    ]),
  };
};

const restoreObstacle = (report: ProbeReport): string | null =>
  report.master ? `This is a replica of ${report.master.host}:${report.master.port}: restore into its master.` : null;

const KEY_BY_KEY: readonly RestoreMethod[] = RESTORE_METHODS.filter((method) => method !== 'REPLICATION_LINK');

/** Why keys have to be written one by one. */
const linkObstacle = (report: ProbeReport): string | null => {
  if (report.mode === 'CLUSTER') return 'Nodes in cluster mode refuse REPLICAOF: a restore writes key by key, into all of the cluster.';
  if (report.sentinelWatched === true) return 'A Sentinel is in charge of this server and would fail over during a restore over the replication link: ask for RESTORE_PIPELINE.';
  if (replicaofRight(report) === false) return 'The user may not run REPLICAOF (grant +replicaof; +slaveof before Redis 5): a restore writes key by key.';
  return null;
};

/** Either spelling will do: REPLICAOF from Redis 5 on, SLAVEOF on all. */
const replicaofRight = (report: ProbeReport): boolean | null => {
  const both = [rightTo(report, 'replicaof'), rightTo(report, 'slaveof')];
  if (both.includes(true)) return true;
  return both.includes(null) ? null : false;
};
