import { type ErrorCode } from '../../../domain/errors.js';
import { type RestoreOptions } from '../../../domain/restore-options.js';
import { compareVersions } from '../../rdb/versions.js';
import { memoryOf } from '../estimate.js';
import { type TargetFacts } from '../facts.js';
import { type Finding, type Warning } from '../findings.js';
import { type RdbFacts } from '../source.js';
import { type KeyProblem, type Survey } from './survey.js';

const blocker = (name: string, message: string, hint: string, code: ErrorCode = 'TARGET_BLOCKED'): Finding => ({ name, code, message, hint });
const mib = (bytes: bigint): string => `${(Number(bytes) / 1024 / 1024).toFixed(1)} MiB`;

/** What stands in the way by what the target is. Asked before anything of the archive is read. */
export function* targetBlockers(target: TargetFacts, mayRestore: boolean | null): Generator<Finding> {
  if (target.mode === 'SENTINEL') yield blocker('TARGET_IS_SENTINEL', 'The target is a Sentinel: it holds no data.', 'Restore into the server it watches.');
  if (target.role === 'REPLICA') yield blocker('TARGET_IS_REPLICA', 'The target is a replica, which takes its data from its master.', 'Restore into its master; its replicas follow by themselves.');
  if (target.failingOver) yield blocker('FAILOVER_IN_PROGRESS', 'The target is handing over to one of its replicas.', 'Wait until the failover has ended, then make a new plan.');
  if (target.loading) yield blocker('TARGET_LOADING', 'The target is still loading its data.', 'Wait until it has loaded, then make a new plan.');
  if (compareVersions(target.version, '2.8') < 0) yield blocker('VERSION_TOO_OLD', `The target is ${target.version}; 2.8 is the oldest version that is restored into.`, 'Restore into a newer server.', 'VERSION_TOO_OLD');
  if (mayRestore === false) yield blocker('NO_RIGHT_TO_RESTORE', 'This user may not run RESTORE on the target.', 'Grant the user +restore (ACL SETUSER … +restore), or plan the restore with the method LOGICAL_COMMANDS.', 'PERMISSION_MISSING');
}

/** Names of keys are no part of messages, which go to logs and to people who may not read data. */
const PROBLEMS: Readonly<Record<KeyProblem['kind'], (problem: KeyProblem) => Finding>> = {
  VALUE_TOO_LARGE: ({ keys, bytes }) => blocker(
    'VALUE_TOO_LARGE', `${keys} selected keys have values that the target takes neither at once nor in pieces, one of them with ${bytes} bytes.`,
    'Raise proto-max-bulk-len on the target, restore over the replication link, or leave these keys out of the selection.', 'LIMIT_EXCEEDED'),
  NAME_TOO_LONG: ({ keys, bytes }) => blocker(
    'NAME_TOO_LONG', `${keys} selected keys have names that are too long, one of them with ${bytes} bytes.`, 'Restore over the replication link, or leave them out of the selection.', 'LIMIT_EXCEEDED'),
  CANNOT_DECODE: ({ keys }) => blocker(
    'CANNOT_DECODE', `${keys} selected keys hold values that cannot be read: the target does not know their types, and commands cannot be made of them.`,
    'Restore into a server of the version that the backup comes from, or leave these keys out of the selection.', 'CORRUPT'),
};

/** What stands in the way by what is selected. */
export function* selectionBlockers(target: TargetFacts, rdb: RdbFacts, survey: Survey): Generator<Finding> {
  const { selected } = survey;
  const highest = selected.databases.reduce((most, { into }) => Math.max(most, into), 0);
  if (target.mode === 'CLUSTER' && highest > 0) {
    const names = selected.databases.map(({ into }) => into).join(', ');
    yield blocker('MULTI_DATABASE_INTO_CLUSTER', `A cluster has database 0 only, and the keys are to go into databases ${names}.`, 'Select one database and map it to 0; give the keys of each a prefix of their own where several are to go there.');
  } else if (target.databases !== null && highest >= target.databases) {
    yield blocker('TOO_FEW_DATABASES', `Keys are to go into database ${highest}, and the target has databases 0 to ${target.databases - 1}.`, `Map that database to another, or set databases to at least ${highest + 1} in the target's configuration and restart it.`);
  }
  for (const problem of survey.problems) yield PROBLEMS[problem.kind](problem);
  const needed = memoryNeeded(rdb, survey);
  if (target.mode !== 'CLUSTER' && target.maxMemory !== null && target.maxMemory > 0n && needed > target.maxMemory) {
    yield blocker('INSUFFICIENT_MEMORY', `The selected keys need about ${mib(needed)}; the target's maxmemory is ${mib(target.maxMemory)}: it would evict restored keys or refuse writes.`, 'Raise maxmemory on the target, or restore into a larger server.', 'INSUFFICIENT_MEMORY');
  }
}

/** The share of the backup's memory that the selected keys have by their stored bytes. */
export const memoryNeeded = (rdb: RdbFacts, { selected }: Survey): bigint => {
  const all = rdb.summary.bytes;
  return all === 0n ? 0n : (memoryOf(rdb) * (selected.bytes < all ? selected.bytes : all)) / all;
};

const warning = (name: string, mustAccept: boolean, message: string, hint: string, code: ErrorCode = 'CONFIRMATION_REQUIRED'): Warning => ({ name, code, message, hint, mustAccept });

/** What to know before. */
export function* pipelineWarnings(target: TargetFacts, rdb: RdbFacts, survey: Survey, options: RestoreOptions & { safetyBackup: boolean }): Generator<Warning> {
  const needed = memoryNeeded(rdb, survey);
  const used = options.flush === 'NOTHING' ? target.usedMemory : 0n;
  if (target.mode !== 'CLUSTER' && target.maxMemory !== null && target.maxMemory > 0n && needed <= target.maxMemory && needed + used > target.maxMemory) {
    yield warning('MEMORY_TIGHT', true, `The selected keys need about ${mib(needed)} beside the ${mib(used)} in use; the target's maxmemory is ${mib(target.maxMemory)}. It has room only as far as they replace what is there.`, 'Raise maxmemory on the target.', 'INSUFFICIENT_MEMORY');
  }
  if (target.databases === null && survey.selected.databases.some(({ into }) => into > 0)) {
    yield warning('UNCHECKED_CONFIG', true, 'Nobody can tell how many databases the target has.', 'Grant +config|get, or make sure that it has enough.', 'PERMISSION_MISSING');
  }
  yield warning('READERS_SEE_BOTH', false, 'While keys are written one after the other, clients see some of the backup and some of what was there before.', 'Stop the clients for the time of the restore if that matters.');
  if (target.sentinel === true) yield warning('SENTINEL_IN_CHARGE', false, 'A Sentinel watches the target: a failover in the middle of the restore ends it.', 'Restore at a quiet time.');
  if (!options.safetyBackup && (options.flush !== 'NOTHING' || options.onConflict === 'REPLACE') && target.keysNow.some(({ keys }) => keys > 0n)) {
    yield warning('NO_SAFETY_BACKUP', false, 'No copy of the target is taken first: what is replaced is lost for good.', 'Make a plan with a safety backup.');
  }
}
