import { abortReason, DomainError } from '../../domain/errors.js';
import { compareVersions } from '../rdb/versions.js';
import { stateIn, type TargetConnection } from './connection.js';
import { estimatedMemory, loadsDiskless, mib } from './estimate.js';
import { type TargetFacts } from './facts.js';
import { type RdbFacts } from './source.js';
import { type UndoRecord } from './undo-record.js';

/*
 * A server writes what its master sends to its disk, and loads it when it is complete, unless `repl-diskless-load` says otherwise. A plan may ask for it to load
 * while it receives: the setting is `swapdb` from just before REPLICAOF until the target is a master again, and then what it was.
 *
 * It is never changed on a server that is a replica: some versions look at it again in the middle of a load, and would throw away what they have loaded.
 */

export const DISKLESS_LOAD = 'repl-diskless-load';
/** Keeps the old data until the new is complete, as loading from disk does not. */
const OURS = 'swapdb';
/** It came then. */
const SINCE = '6.0';

export interface LoadChoice {
  /** The target as it is while the restore loads it: with our value in the place of its own, where that is changed. */
  facts: TargetFacts;
  /** What to put back; null when the setting stays as it is. */
  before: string | null;
  /** Why it stays, though asked for; null when it need not be changed. */
  because: string | null;
}

const tooMuch = (facts: TargetFacts, changed: TargetFacts, rdb: RdbFacts): string | null => {
  const needed = estimatedMemory(changed, rdb);
  const limit = facts.maxMemory === null || facts.maxMemory === 0n ? facts.systemMemory : facts.maxMemory;
  return limit !== null && needed > limit && estimatedMemory(facts, rdb) <= limit
    ? `old and new data side by side need about ${mib(needed)}, and it has ${mib(limit)}`
    : null;
};

const whyNot = (facts: TargetFacts, changed: TargetFacts, rdb: RdbFacts): string | null => {
  if (facts.disklessLoad === null) return 'this user may not read the setting (grant +config|get and +config|set)';
  if (compareVersions(facts.version, SINCE) < 0) return `${facts.engine} ${facts.version} has no such setting`;
  if (facts.maySetDisklessLoad !== true) return 'this user may not change the setting (grant +config|set)';
  return tooMuch(facts, changed, rdb);
};

/** Whether the target is set to load while it receives. It is not where that is dangerous, impossible, or so already. */
export const chooseLoad = (facts: TargetFacts, rdb: RdbFacts, wanted: boolean): LoadChoice => {
  const asItIs: LoadChoice = { facts, before: null, because: null };
  if (!wanted || loadsDiskless(facts) || facts.disklessLoad === 'flush-before-load') return asItIs;
  const changed = { ...facts, disklessLoad: OURS };
  const because = whyNot(facts, changed, rdb);
  return because === null ? { facts: changed, before: facts.disklessLoad, because: null } : { ...asItIs, because };
};

interface Deps {
  target: TargetConnection;
  assertOwned(): Promise<void>;
}

const valueOf = async (target: TargetConnection): Promise<string | null> => {
  const reply = await target.tell('CONFIG', 'GET', DISKLESS_LOAD);
  return Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : null;
};

/**
 * From "it is still ours" to the command that relies on it. Whoever settles this restore does so more than a second after our lease has ended: a process that froze
 * in between, and comes back then, changes nothing.
 */
const PROMPT_MS = 500;
const PROMPT_TRIES = 3;

/**
 * Has the target load while it receives, after the record says so. Fails with CONFLICT where it is no longer as it was planned with, TOO_SLOW where this service
 * or the target is too busy for it, with what `assertOwned` rejects with, and as CONFIG SET does.
 */
export const setDisklessLoad = async ({ target, assertOwned }: Deps, record: UndoRecord, signal: AbortSignal): Promise<void> => {
  const before = record.disklessLoadBefore ?? null;
  if (before === null) return;
  for (let tries = 0; tries < PROMPT_TRIES; tries += 1) {
    if (signal.aborted) throw abortReason(signal);
    const asked = performance.now();
    await assertOwned();
    const found = await valueOf(target);
    if (found !== before) {
      throw new DomainError('CONFLICT', `Somebody has changed ${DISKLESS_LOAD} of ${target.address} just now, from ${before} to ${found ?? 'nothing'}.`, { hint: 'Find out who does that, then make a new plan.', retryable: true });
    }
    if (performance.now() - asked > PROMPT_MS) continue;
    await target.tell('CONFIG', 'SET', DISKLESS_LOAD, OURS);
    try {
      await assertOwned();
    } catch (lost) {
      // Whoever took over may have looked before: then nobody else would put it back.
      await putDisklessLoadBack({ target, assertOwned: () => Promise.resolve() }, record);
      throw lost;
    }
    return;
  }
  throw new DomainError('TOO_SLOW', `${target.address}, or this service, is too busy for ${DISKLESS_LOAD} to be changed safely.`, { hint: 'Try again, or make a plan without disklessLoad.', retryable: true });
};

/** One to set it, one to see that it is set, and one for an answer that is lost. */
const ATTEMPTS = 3;

/** NOTHING: there was nothing of ours. LEFT: there may still be. */
export type DisklessLoadNow = 'NOTHING' | 'PUT_BACK' | 'LEFT';

/**
 * Puts the setting back, if it is still ours and the server still the process it was set on; after a restart its configuration decides, and that is left alone.
 * Only on a master that loads nothing. May be repeated. Never rejects.
 */
export const putDisklessLoadBack = async ({ target, assertOwned }: Deps, record: UndoRecord): Promise<DisklessLoadNow> => {
  const before = record.disklessLoadBefore ?? null;
  if (before === null) return 'NOTHING';
  let done = false;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    try {
      const state = stateIn(await target.ask());
      if (state.runId !== record.runId || (await valueOf(target)) !== OURS) return done ? 'PUT_BACK' : 'NOTHING';
      if (state.role !== 'MASTER' || state.loading) return 'LEFT';
      await assertOwned();
      await target.tell('CONFIG', 'SET', DISKLESS_LOAD, before);
      done = true;
    } catch (error) {
      // An answer may have been lost; all else would be the same again.
      if (!(error instanceof DomainError && error.code === 'CONNECT_FAILED')) return 'LEFT';
    }
  }
  return 'LEFT';
};

/** What a person has to do where we could not. */
export const putBackByHand = (record: UndoRecord): string =>
  `If CONFIG GET ${DISKLESS_LOAD} shows ${OURS} there, and nobody wants that, run CONFIG SET ${DISKLESS_LOAD} ${record.disklessLoadBefore ?? 'disabled'} when it is a master and loads nothing`;
