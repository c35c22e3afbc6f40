import { DomainError } from '../../domain/errors.js';
import { type Dial, type Endpoint, type Log } from '../ports.js';
import { TargetConnection } from './connection.js';
import { type DataNow } from './data-now.js';
import { putBackByHand } from './diskless-load.js';
import { releaseTarget } from './release.js';
import { DEFAULT_TIMES, type RestoreTimes } from './times.js';
import { type UndoRecord } from './undo-record.js';

export interface Settlement {
  dataNow: DataNow;
  /** PROMOTED: the target takes writes again. NOTHING: it was a master already. LEFT_ALONE: it follows somebody else, or nobody knows. */
  action: 'PROMOTED' | 'NOTHING' | 'LEFT_ALONE';
  message: string;
}

const DATA: Readonly<Record<DataNow, string>> = {
  OLD: 'It holds the data from before the restore',
  NEW: 'It holds the backup\'s data',
  UNKNOWN: 'Which data it holds could not be established; compare its keys with the backup\'s',
};

/**
 * Settles a restore whose node died, from its undo record: waits for a load that still runs, reads which data the target holds, and
 * makes it a master again only if it follows exactly the record's listener and the work is ours. May be repeated.
 *
 * Fails with TARGET_STATE_UNKNOWN (its hint has the command to run) when the target cannot be reached within the reconnect time,
 * or with what `assertOwned` rejects with; then nothing on the target was changed.
 */
export const settleRestore = async (
  record: UndoRecord, endpoint: Endpoint,
  deps: { dial: Dial; log: Log; assertOwned(): Promise<void> }, times: Partial<RestoreTimes> = {},
): Promise<Settlement> => {
  if (record.format !== 1) {
    throw new DomainError('UNSUPPORTED_FORMAT', 'This undo record was written by another version of this service.', { hint: 'Let a node of that version settle the restore.' });
  }
  const all = { ...DEFAULT_TIMES, ...times };
  const target = new TargetConnection({ endpoint, ...all }, deps);
  try {
    const released = await releaseTarget(record, { target, times: all, assertOwned: () => deps.assertOwned() });
    const inexact = released.action === 'PROMOTED' && released.exact === false && released.dataNow !== 'OLD';
    const notes = [
      DATA[released.dataNow],
      ...(inexact ? ['its keys per database are not those of the archive'] : []),
      ...(released.durable ? [] : ['its append-only file could not be rewritten: run BGREWRITEAOF']),
      ...(released.masterauthLeft ? ['a one-time masterauth may be left: run CONFIG SET masterauth ""'] : []),
      ...(released.disklessLoad === 'LEFT' ? [putBackByHand(record)] : []),
    ].join('; ');
    const did = {
      PROMOTED: `${target.address} was made a master again.`,
      NOTHING: `${target.address} was a master already.`,
      LEFT_ALONE: `${target.address} follows another server than the restore's listener and was left as it is.`,
    }[released.action];
    return { dataNow: released.dataNow, action: released.action, message: `${did} ${notes}.` };
  } finally {
    target.close();
  }
};
