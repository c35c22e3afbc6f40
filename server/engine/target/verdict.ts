import { type DatabaseCount } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { type TargetFindings } from './check.js';
import { type TargetState } from './connection.js';
import { followsUs, type Release } from './release.js';
import { type UndoRecord } from './undo-record.js';

/** What a plan was made for and accepted with. */
export interface PlanBinding {
  runId: string;
  version: string;
  acceptedWarnings: readonly string[];
}

/**
 * Refuses a target that is not as planned: a blocker (its own code), another process or version, or a warning to accept that is not
 * (CONFIRMATION_REQUIRED).
 */
export const assertAsPlanned = (address: string, found: Pick<TargetFindings, 'blockers' | 'warnings' | 'facts'>, plan: PlanBinding): void => {
  const [blocker] = found.blockers;
  if (blocker) {
    throw new DomainError(blocker.code, `${address} cannot be restored into: ${found.blockers.map(({ name, message }) => `${name}: ${message}`).join(' ')}`, {
      hint: blocker.hint, details: { blockers: found.blockers.map(({ name }) => name).join(' ') },
    });
  }
  if (found.facts.runId !== plan.runId || found.facts.version !== plan.version) {
    throw new DomainError('CONFIRMATION_REQUIRED', `${address} is not the server that was planned for: it was restarted, upgraded or replaced.`, { hint: 'Make a new plan and confirm that.' });
  }
  const open = found.warnings.filter(({ name, mustAccept }) => mustAccept && !plan.acceptedWarnings.includes(name));
  if (open.length > 0) {
    throw new DomainError('CONFIRMATION_REQUIRED', `These warnings have to be accepted by name: ${open.map(({ name, message }) => `${name}: ${message}`).join(' ')}`, {
      hint: 'Name them in acceptedWarnings, or grant the rights that the plan asks for.', details: { warnings: open.map(({ name }) => name).join(' ') },
    });
  }
};

/** Refuses a target that has just been told to follow us, and is not what it was when it was told. */
export const assertFollowing = (address: string, state: TargetState, record: UndoRecord, { runId }: Pick<PlanBinding, 'runId'>): void => {
  if (!followsUs(state, record) || state.runId !== runId) {
    throw new DomainError('CONFLICT', `${address} was restarted, or somebody else changed its replication, just when it was told to follow us.`, { hint: 'Find out who does that, then make a new plan.', retryable: true });
  }
  // Its first replica ever gave it a new id between our look and the command: the proof would fail, and the target try for ever.
  if (state.replid !== record.replidBefore) {
    throw new DomainError('CONFLICT', `${address} has changed its replication id: another replica was attached to it just now.`, { hint: 'Make a new plan and try again.', retryable: true });
  }
};

/** For a target that follows somebody else by now. */
export const leftAlone = (address: string, cause?: unknown): DomainError =>
  new DomainError('TARGET_STATE_UNKNOWN', `${address} no longer follows this restore's listener: somebody has made it a replica of another server, so it was left as it is.`, {
    hint: 'Find out who changed its replication (INFO replication there shows what it follows).', cause,
  });

/** Why a restore that has run to its end is not a good one; undefined when it is. */
export const problemWith = (released: Release, address: string): DomainError | undefined => {
  if (released.action === 'LEFT_ALONE') return leftAlone(address);
  if (released.restarted) {
    return new DomainError('CONNECT_FAILED', `${address} was restarted while it loaded the backup.`, { hint: 'Look at its log. Restore again, or undo with the safety backup, once it is stable.' });
  }
  if (released.exact === false && released.loaded && released.action === 'PROMOTED') {
    return new DomainError('CORRUPT', `${address} has loaded the backup, but its keys per database (${shown(released.keys)}) are not those of the archive.`, {
      hint: 'It was made a master again so that it can be used and undone: restore the safety backup, and verify this one.',
    });
  }
  if (released.dataNow !== 'NEW') {
    return new DomainError('CONNECT_FAILED', `${address} did not complete the load of the backup; it holds these keys per database: ${shown(released.keys)}.`, {
      hint: `Look at the target's log: it says why it broke off.${released.dataNow === 'OLD' ? '' : ' The old data is in the safety backup, if one was taken.'}`,
      retryable: released.dataNow === 'OLD',
    });
  }
  if (released.action === 'NOTHING') {
    return new DomainError('CONFLICT', `Somebody else made ${address} a master before this restore had counted its keys and awaited its append-only file.`, {
      hint: 'Count its keys against the backup, and run BGREWRITEAOF there if it keeps an append-only file.',
    });
  }
  if (!released.durable) {
    return new DomainError('STORAGE_IO', `${address} has the backup's data in memory, but could not rewrite its append-only file: a restart would bring the old data back.`, {
      hint: 'Make room on its disk, run BGREWRITEAOF, and check that INFO persistence shows aof_last_bgrewrite_status:ok.',
    });
  }
  return undefined;
};

const shown = (keys: readonly DatabaseCount[]): string => keys.map(({ database, keys: count }) => `db${database}: ${count}`).join(', ') || 'none';
