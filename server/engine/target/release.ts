import { type DatabaseCount } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { ServerReplyError } from '../control.js';
import { type Endpoint } from '../ports.js';
import { stateIn, type TargetConnection, type TargetState } from './connection.js';
import { judgeData, type DataNow } from './data-now.js';
import { type DisklessLoadNow, putDisklessLoadBack } from './diskless-load.js';
import { type RestoreTimes } from './times.js';
import { pause } from './waiting.js';
import { type UndoRecord, sameSecret, sha256Hex } from './undo-record.js';

export interface ReleaseDeps {
  target: TargetConnection;
  times: RestoreTimes;
  /** Rejects when this work is no longer ours (the lease is lost). Awaited right before everything that changes the target. */
  assertOwned(): Promise<void>;
  /** Whether the target has acknowledged the payload: the only proof of a load before Redis 4.0. */
  acknowledged?: boolean | undefined;
  /** Told while the target loads. */
  onLoading?: ((loaded: bigint, total: bigint) => void) | undefined;
}

/** How a target was left. */
export interface Release {
  /** PROMOTED: it takes writes again by our doing. NOTHING: it was no replica. LEFT_ALONE: it follows somebody else. */
  action: 'PROMOTED' | 'NOTHING' | 'LEFT_ALONE';
  dataNow: DataNow;
  /** Counted while it was still a read-only replica, where it was one of ours; else when it was found. */
  keys: readonly DatabaseCount[];
  /** Whether these are the archive's counts to the last key; null when those are not known. */
  exact: boolean | null;
  restarted: boolean;
  /** Whether it is proven that it has loaded the payload whole. */
  loaded: boolean;
  /** False when the append-only file does not hold the new data, though its time is over. */
  durable: boolean;
  /** Whether a one-time `masterauth` of ours may still be set there. */
  masterauthLeft: boolean;
  /** What became of a `repl-diskless-load` of ours. */
  disklessLoad: DisklessLoadNow;
}

/** `redis-cli` for a person to run; without the password, which redis-cli asks for. */
export const promoteCommand = (endpoint: Endpoint, record: UndoRecord): string => {
  const user = endpoint.username ? ` --user ${endpoint.username}` : '';
  const login = endpoint.password ? `${user} --askpass` : user;
  const cli = `redis-cli -h ${endpoint.host} -p ${endpoint.port}${endpoint.tls ? ' --tls' : ''}${login}`;
  return `If "${cli} INFO replication" shows master_host:${record.listenerHost} and master_port:${record.listenerPort}, run: ${cli} REPLICAOF NO ONE`;
};

const stateUnknown = (target: TargetConnection, record: UndoRecord, cause: unknown): DomainError =>
  new DomainError('TARGET_STATE_UNKNOWN', `${target.address} cannot be asked any more; it may still be a read-only replica of ${record.listenerHost}:${record.listenerPort}.`, {
    hint: promoteCommand(target.endpoint, record),
    retryable: true,
    cause,
  });

const look = async ({ target }: ReleaseDeps, record: UndoRecord): Promise<TargetState> => {
  try {
    return stateIn(await target.ask());
  } catch (error) {
    throw stateUnknown(target, record, error);
  }
};

export const followsUs = (state: TargetState, record: UndoRecord): boolean =>
  state.role === 'REPLICA' && state.masterHost === record.listenerHost && state.masterPort === record.listenerPort;

/** Waits until nothing is loaded any more, as long as the load goes on. */
const loaded = async (deps: ReleaseDeps, record: UndoRecord): Promise<TargetState> => {
  let progress = -1n;
  let movedAt = performance.now();
  for (;;) {
    const state = await look(deps, record);
    // A payload that has left entirely may still lie in the target's receive buffer: it gets the time to reach its end.
    const arriving = record.committed && state.syncInProgress && performance.now() - movedAt < 4 * deps.times.pollMs;
    if (!state.loading && !arriving) return state;
    if (state.loading) deps.onLoading?.(state.loadedBytes, state.loadTotalBytes);
    if (state.loading && state.loadedBytes !== progress) {
      progress = state.loadedBytes;
      movedAt = performance.now();
    }
    if (performance.now() - movedAt > deps.times.loadStallMs) {
      throw stateUnknown(deps.target, record, new DomainError('TOO_SLOW', `The load stood still for ${deps.times.loadStallMs} ms.`));
    }
    await pause(deps.times.pollMs);
  }
};

/**
 * A server with an append-only file writes it anew after a full sync, by itself. Promoted before that ends, written to and
 * killed, it comes back with its old data, and what it had acknowledged is gone. Redis schedules a failed rewrite again.
 */
const appendOnlyWritten = async (deps: ReleaseDeps, record: UndoRecord): Promise<boolean> => {
  const deadline = performance.now() + deps.times.appendOnlyMs;
  let idleSince = performance.now();
  for (;;) {
    const state = await look(deps, record);
    const now = performance.now();
    const idle = !state.rewriteRunning && !state.rewriteScheduled;
    if (!followsUs(state, record) || (idle && (state.rewriteOk || !state.appendOnly))) return true;
    if (state.rewriteRunning) idleSince = now;
    if (now > deadline || now - idleSince > deps.times.appendOnlyRetryMs) return false;
    await pause(deps.times.pollMs);
  }
};

/** `REPLICAOF NO ONE` in the spelling that this server knows. REPLICAOF came with 5.0 and SLAVEOF has stayed. */
export const replicaOf = async (target: TargetConnection, host: string, port: string): Promise<void> => {
  try {
    await target.tell('REPLICAOF', host, port);
  } catch (error) {
    if (!(error instanceof ServerReplyError) || !error.reply.toLowerCase().includes('unknown command')) throw error;
    await target.tell('SLAVEOF', host, port);
  }
};

/** Removes the one-time `masterauth`, if it is still the one that was set. Fails as `tell` does. */
export const removeOneTimeMasterauth = async (deps: Pick<ReleaseDeps, 'target' | 'assertOwned'>, record: UndoRecord): Promise<void> => {
  if (record.oneTimeMasterauthSha256 === null) return;
  const reply = await deps.target.tell('CONFIG', 'GET', 'masterauth');
  const value = Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : '';
  if (value === '' || !sameSecret(sha256Hex(value), record.oneTimeMasterauthSha256)) return;
  await deps.assertOwned();
  await deps.target.tell('CONFIG', 'SET', 'masterauth', '');
};

/** Takes back the settings that are ours, and says which may be left. */
const settingsLeft = async (deps: ReleaseDeps, record: UndoRecord): Promise<Pick<Release, 'masterauthLeft' | 'disklessLoad'>> => ({
  masterauthLeft: await removeOneTimeMasterauth(deps, record).then(() => false, () => true),
  disklessLoad: await putDisklessLoadBack(deps, record),
});

/** Looks and promotions that went different ways because the target changed in between. */
const MAX_ATTEMPTS = 5;

/**
 * Lets a target go, wherever its restore stands: waits for its load, reads which data it holds, awaits its append-only file, and
 * makes it a master again: only if it still follows exactly the listener of the record, and only while the work is ours.
 * Also where the counts are wrong: a replica of a dead port helps nobody, and the undo needs a master.
 *
 * Fails with TARGET_STATE_UNKNOWN (and the command to run) when the target cannot be reached, or with what `assertOwned` fails with;
 * then it was left as it is.
 */
export const releaseTarget = async (record: UndoRecord, deps: ReleaseDeps): Promise<Release> => {
  let failure: unknown = new DomainError('CONFLICT', `The state of ${deps.target.address} changed while it was looked at.`);
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const found = await loaded(deps, record);
    const judged = judgeData(record, found, deps.acknowledged);
    const left = async (action: Release['action'], dataNow: DataNow, durable: boolean): Promise<Release> =>
      ({ action, dataNow, keys: found.keys, exact: judged.exact, restarted: judged.restarted, loaded: judged.loaded, durable, ...(await settingsLeft(deps, record)) });
    if (!followsUs(found, record)) {
      return left(found.role === 'MASTER' ? 'NOTHING' : 'LEFT_ALONE', judged.dataNow, true);
    }

    const durable = judged.dataNow === 'OLD' || !record.appendOnly || (await appendOnlyWritten(deps, record));
    await deps.assertOwned();
    const last = await look(deps, record);
    if (!followsUs(last, record) || last.loading || judgeData(record, last, deps.acknowledged).dataNow !== judged.dataNow) continue;
    try {
      await replicaOf(deps.target, 'NO', 'ONE');
    } catch (error) {
      failure = error;
      // Its answer may have been lost, or a load began in between: what INFO shows next decides.
      const again = error instanceof ServerReplyError ? error.replyCode === 'LOADING' : error instanceof DomainError && error.code === 'CONNECT_FAILED';
      if (!again) break;
      await pause(deps.times.pollMs);
      continue;
    }
    const now = await look(deps, record);
    if (now.role !== 'MASTER') continue;
    // A load that ended between the last look and the promotion shows in the second replication id.
    const late = judged.dataNow === 'OLD' && now.replid2 === record.linkReplid;
    return left('PROMOTED', late ? 'NEW' : judged.dataNow, durable && !(late && record.appendOnly));
  }
  throw stateUnknown(deps.target, record, failure);
};
