import { type ErrorCode } from '../../domain/errors.js';
import { wholeVerdict, type WholeVerdict } from '../rdb/header-rewrite.js';
import { compareVersions } from '../rdb/versions.js';
import { type LoadChoice } from './diskless-load.js';
import { estimatedMemory, loadsDiskless, mib } from './estimate.js';
import { type FactNeeds, type TargetFacts } from './facts.js';
import { type RdbFacts } from './source.js';

/** Something in the way of a restore, or to know before it. Names are stable: callers accept warnings by them. */
export interface Finding {
  name: string;
  code: ErrorCode;
  message: string;
  hint: string;
}

export interface Warning extends Finding {
  /**
   * Whether a restore goes on only when the caller has named it: checks that could not be made, and dangers that the checks
   * that were made cannot rule out. What always happens in a restore, or is the caller's own choice, is only said.
   */
  mustAccept: boolean;
}

export interface FindingOptions {
  safetyBackup: boolean;
  pauseWrites: boolean;
  /** Whether the target is to load while it receives, for the time of the restore. */
  disklessLoad: boolean;
  /** Whether this service has a certificate to show to targets that replicate over TLS. */
  linkTls: boolean;
}

export const verdictOn = (target: TargetFacts, rdb: RdbFacts): WholeVerdict =>
  wholeVerdict(rdb.summary, { engine: target.engine, version: target.version, ...(target.modules === null ? {} : { modules: target.modules }) }, rdb.source ?? undefined);

export const highestDatabase = (rdb: RdbFacts): number => rdb.summary.databases.reduce((highest, { database }) => Math.max(highest, database), 0);

/** What has to be asked of a target for this backup's sake. */
export const needsOf = (rdb: RdbFacts, { disklessLoad }: Pick<FindingOptions, 'disklessLoad'>): FactNeeds => ({ highestDatabase: highestDatabase(rdb), modules: rdb.summary.modules.length > 0, disklessLoad });

const blocker = (name: string, message: string, hint: string, code: ErrorCode = 'TARGET_BLOCKED'): Finding => ({ name, code, message, hint });

const topologyBlockers = function* (target: TargetFacts): Generator<Finding> {
  if (target.mode === 'SENTINEL') {
    yield blocker('TARGET_IS_SENTINEL', 'The target is a Sentinel: it holds no data.', 'Restore into the server it watches, once no Sentinel is in charge of it.');
  }
  if (target.mode === 'CLUSTER') {
    yield blocker('CLUSTER_MODE', 'The target runs in cluster mode, where REPLICAOF is not allowed.', 'Restore into a server that is not in cluster mode.');
  }
  if (target.role === 'REPLICA') {
    yield blocker('TARGET_IS_REPLICA', 'The target is a replica: making it a master afterwards would break the topology it belongs to.', 'Restore into its master; its replicas follow by themselves.');
  }
  if (target.failingOver) {
    yield blocker('FAILOVER_IN_PROGRESS', 'The target is handing over to one of its replicas.', 'Wait until the failover has ended, then make a new plan.');
  }
  if (target.loading) {
    yield blocker('TARGET_LOADING', 'The target is still loading its data.', 'Wait until it has loaded, then make a new plan.');
  }
  if (target.sentinel === true) {
    yield blocker('SENTINEL_IN_CHARGE', 'A Sentinel watches the target: it would take the restore for a failure, fail over and demote the target.', 'Stop the watching for the time of the restore (SENTINEL REMOVE on every Sentinel), or restore into a server without Sentinel.');
  }
};

const settingBlockers = function* (target: TargetFacts, rdb: RdbFacts, linkTls: boolean): Generator<Finding> {
  if (target.disklessLoad === 'flush-before-load') {
    yield blocker('FLUSH_BEFORE_LOAD', 'The target has repl-diskless-load flush-before-load: a broken transfer would leave it empty.', 'Set repl-diskless-load to disabled or swapdb on the target.');
  }
  if (target.replicaReadOnly === false) {
    yield blocker('REPLICA_READ_ONLY_OFF', 'The target has replica-read-only no: it would acknowledge writes during the transfer and then lose them.', 'Set replica-read-only to yes on the target.');
  }
  if (target.tlsReplication === true && !linkTls) {
    yield blocker('TLS_REPLICATION', 'The target has tls-replication yes: it expects a certificate from us that this service has not got.', 'Give this service one that the target\'s tls-ca-cert-file accepts (REPLICATION_TLS_CERT and REPLICATION_TLS_KEY), or set tls-replication to no on the target for the time of the restore.');
  }
  const highest = highestDatabase(rdb);
  if (target.databases !== null && highest >= target.databases) {
    yield blocker('TOO_FEW_DATABASES', `The backup has keys in database ${highest}, the target only databases 0 to ${target.databases - 1}: it would stop in the middle of the load.`, `Set databases to at least ${highest + 1} in the target's configuration and restart it.`);
  }
  if (target.replid === null && target.masterauth === null) {
    yield blocker('NO_LINK_PROOF', `${target.engine} ${target.version} shows no replication id, and CONFIG is refused: nothing could prove that it is the target that fetches the data.`, 'Let this user run CONFIG GET and CONFIG SET.', 'PERMISSION_MISSING');
  }
};

/** Nobody is told how much room a server's disk has; that its last try to write there failed, is. */
const diskBlockers = function* (target: TargetFacts): Generator<Finding> {
  const failed = target.failedWrites.filter((field) => (field.startsWith('aof_') ? target.appendOnly : !loadsDiskless(target)));
  if (failed.length > 0) {
    yield blocker('DISK_FAILING', `The target's last write to its disk has failed (${failed.map((field) => `${field}:err`).join(', ')}): the backup may not fit there, or not be kept.`, 'Make room on its disk and run BGSAVE there (BGREWRITEAOF with an append-only file) until INFO persistence shows ok, then make a new plan.', 'STORAGE_IO');
  }
};

/** What stands in the way. With any of these nothing on the target may be touched. */
export const blockersOf = (target: TargetFacts, rdb: RdbFacts, { linkTls }: Pick<FindingOptions, 'linkTls'>): Finding[] => {
  const found = [...topologyBlockers(target), ...settingBlockers(target, rdb, linkTls), ...diskBlockers(target)];
  if (compareVersions(target.version, '2.8') < 0) {
    found.push(blocker('VERSION_TOO_OLD', `The target is ${target.version}; partial resync, which the restore builds on, came with 2.8.`, 'Restore into a newer server.', 'VERSION_TOO_OLD'));
  }
  const verdict = verdictOn(target, rdb);
  if (!verdict.ok) {
    found.push(blocker('CANNOT_LOAD', `${verdict.reason} It would notice only after it has thrown its own data away.`, 'Restore key by key, or into a server that `Backup.loadsOn` lists, with the modules the backup needs.', verdict.code));
  }
  const memory = estimatedMemory(target, rdb);
  if (target.maxMemory !== null && target.maxMemory > 0n && memory > target.maxMemory) {
    found.push(blocker('INSUFFICIENT_MEMORY', `The load needs about ${mib(memory)}; the target's maxmemory is ${mib(target.maxMemory)}: it would evict restored keys or refuse writes.`, 'Raise maxmemory on the target, or restore into a larger server.', 'INSUFFICIENT_MEMORY'));
  }
  if (target.mayReplicaOf === false) {
    found.push(blocker('NO_RIGHT_TO_REPLICAOF', 'This user may not run REPLICAOF (SLAVEOF before 5.0) on the target.', 'Grant the user +replicaof (ACL SETUSER … +replicaof), or restore as a user who has it.', 'PERMISSION_MISSING'));
  }
  return found;
};

const warning = (name: string, mustAccept: boolean, message: string, hint: string, code: ErrorCode = 'CONFIRMATION_REQUIRED'): Warning =>
  ({ name, code, message, hint, mustAccept });

const uncheckedWarnings = function* (target: TargetFacts): Generator<Warning> {
  if (target.sentinel === null) {
    yield warning('UNCHECKED_SENTINEL', true, 'CLIENT LIST is refused, so nobody can tell whether a Sentinel watches the target. One that does would fail over in the middle of the restore.', 'Grant +client|list, or make sure that no Sentinel watches the target.', 'PERMISSION_MISSING');
  }
  const unread = [
    ...(target.disklessLoad === null ? ['repl-diskless-load'] : []),
    ...(target.replicaReadOnly === null ? ['replica-read-only'] : []),
    ...(target.tlsReplication === null ? ['tls-replication'] : []),
    ...(target.databases === null ? ['databases'] : []),
  ];
  if (unread.length > 0) {
    yield warning('UNCHECKED_CONFIG', true, `CONFIG GET is refused for ${unread.join(', ')}. Dangerous are: repl-diskless-load flush-before-load (a cut leaves the target empty), replica-read-only no (writes during the transfer vanish), fewer databases than the backup has.`, 'Grant +config|get, or make sure that these settings are harmless.', 'PERMISSION_MISSING');
  }
  if (target.maxMemory === null) {
    yield warning('UNCHECKED_MAXMEMORY', true, 'The target does not tell its maxmemory. A limit below the backup\'s size would make it evict restored keys.', 'Grant +config|get, or make sure that maxmemory is unlimited or large enough.', 'PERMISSION_MISSING');
  }
};

/** What to know before. */
export const warningsOf = (target: TargetFacts, rdb: RdbFacts, options: FindingOptions): Warning[] => {
  const found = [...uncheckedWarnings(target)];
  const verdict = verdictOn(target, rdb);
  if (verdict.ok && verdict.header !== null) {
    const { summary } = rdb;
    found.push(warning('HEADER_REWRITTEN', false, `The target does not load RDB ${summary.version} (${summary.magic}) by its header, but all that is in this backup: it is sent under the header of RDB ${verdict.header.version}, with a checksum to match.`, 'Nothing is changed in the data. A downloaded file keeps its own header.'));
  }
  const memory = estimatedMemory(target, rdb);
  if (target.maxMemory === 0n && target.systemMemory !== null && memory > target.systemMemory) {
    found.push(warning('MEMORY_ABOVE_SYSTEM', true, `The load needs about ${mib(memory)}; the target's machine has ${mib(target.systemMemory)}.`, 'Restore into a larger server.', 'INSUFFICIENT_MEMORY'));
  }
  found.push(warning('UNREADABLE_WHILE_LOADING', false, 'While the target loads, it answers its clients with -LOADING.', 'Choose a quiet time.'));
  if (target.connectedReplicas > 0) {
    found.push(warning('REPLICAS_WILL_RESYNC', false, `${target.connectedReplicas} replicas of the target will lose their data too and fetch everything anew.`, 'Expect the load and traffic of full resyncs.'));
  }
  if (target.servesStaleData === false) {
    found.push(warning('SERVE_STALE_DATA_OFF', false, 'The target has replica-serve-stale-data no: from the first moment of the restore to its end it answers clients with -MASTERDOWN.', 'Set replica-serve-stale-data to yes, or expect the outage.'));
  }
  if (!target.appendOnly && target.savesRdb === false && !loadsDiskless(target)) {
    found.push(warning('DUMP_RDB_LEFT', false, 'The target keeps nothing on disk, but the restore leaves its file there as dump.rdb: the target will load it at its next start.', 'Delete the file after the restore if the target is to start empty.'));
  }
  if (target.minReplicas !== null && target.minReplicas > 0) {
    found.push(warning('MIN_REPLICAS', false, `The target takes writes only with ${target.minReplicas} replicas in sync; after the restore they have to resync first.`, 'Expect -NOREPLICAS until they are back.'));
  }
  if (!options.safetyBackup && target.keysNow.some(({ keys }) => keys > 0n)) {
    found.push(warning('NO_SAFETY_BACKUP', false, 'No copy of the target is taken first: what it holds now is lost for good.', 'Make a plan with a safety backup.'));
  }
  if (options.safetyBackup) {
    const held = options.pauseWrites && target.mayPause === true;
    found.push(warning('WRITES_NOT_IN_SAFETY_BACKUP', false, held
      ? 'Writes are held back from just before the safety copy until the target follows us, and then refused; an undo brings back nothing that is written after the restore.'
      : 'Writes that reach the target after its safety copy and before the transfer are in neither copy: an undo cannot bring them back. They are reported as unsavedWriteBytes.',
    held ? 'Undo soon, or not at all.' : options.pauseWrites ? 'Grant +client|pause and +client|unpause (from 6.2), or stop the writers yourself.' : 'Make a plan with pauseWrites, or stop the writers yourself.'));
  }
  return found;
};

/** What becomes of the way the target loads. */
export const loadWarnings = ({ before, because }: LoadChoice): Warning[] => {
  if (because !== null) {
    return [warning('DISKLESS_LOAD_NOT_SET', false, `The target loads as it is configured to: ${because}.`, 'Nothing has to be done; the load takes somewhat longer.')];
  }
  if (before === null) return [];
  return [warning('DISKLESS_LOAD_SET', false, `repl-diskless-load of the target is swapdb instead of ${before} from the transfer until it is a master again. A CONFIG REWRITE by somebody else in that time would keep it.`, 'Make a plan without disklessLoad to leave the setting alone.')];
};
