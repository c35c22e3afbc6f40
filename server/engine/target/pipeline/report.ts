import { type DatabaseCount } from '../../../domain/backup.js';
import { DomainError } from '../../../domain/errors.js';
import { type LossName } from '../../rdb/losses.js';
import { asDomainError } from '../report.js';
import { type KeyFailure } from './ledger.js';

/**
 * Which data a target holds after a restore key by key: OLD, nothing was changed; NEW, all selected keys are there as the options say; MIXED, some
 * of them are, beside what was there before and was not yet replaced; UNKNOWN, the target was restarted or replaced meanwhile.
 */
export type PipelineDataNow = 'OLD' | 'NEW' | 'MIXED' | 'UNKNOWN';

/** What a restore by pipeline did, also one that failed. Keys are counted as the server has answered for them. */
export interface PipelineReport {
  dataNow: PipelineDataNow;
  /** Keys written, those that replaced one included. */
  restored: bigint;
  /** Of these, keys that the target had before. */
  replaced: bigint;
  /** Keys that were there and were left as they were. */
  skipped: bigint;
  /** Keys of the backup that have expired and were not written. */
  expired: bigint;
  failed: bigint;
  /**
   * Keys that were found on the target when they were sent again after a lost connection: counted as restored, although their first sending may have
   * met an older key (which REPLACE has replaced, and SKIP has left).
   */
  uncertain: bigint;
  /** What was left behind, by name: keys, or fields, members and pending entries. */
  lost: { name: LossName; count: bigint }[];
  /** The first of those that failed. */
  failures: KeyFailure[];
  functions: number;
  /** Databases that were emptied first. */
  flushed: number[];
  keysBefore: readonly DatabaseCount[];
  /** Null when they could not be counted any more. */
  keysAfter: readonly DatabaseCount[] | null;
  /** Written to the target after the safety backup and before the first change; null without one, in a cluster, or where the backup tells no offset. */
  unsavedWriteBytes: bigint | null;
  bytesSent: bigint;
  /** From the first byte that was written to the last answer, in milliseconds; null when nothing was written. */
  loadMs: number | null;
  reconnects: number;
  /** Whether what was written is only in the target's memory. */
  bgsaveSuggested: boolean;
  notices: string[];
}

export const emptyReport = (): PipelineReport => ({
  dataNow: 'OLD', restored: 0n, replaced: 0n, skipped: 0n, expired: 0n, failed: 0n, uncertain: 0n, lost: [], failures: [], functions: 0, flushed: [],
  keysBefore: [], keysAfter: null, unsavedWriteBytes: null, bytesSent: 0n, loadMs: null, reconnects: 0, bgsaveSuggested: false, notices: [],
});

const whatIsThere = ({ dataNow, restored, flushed }: PipelineReport): string => {
  const emptied = flushed.length > 0 ? ` Databases ${flushed.join(', ')} were emptied before.` : '';
  switch (dataNow) {
    case 'OLD':
      return 'Nothing on the target was changed.';
    case 'NEW':
      return 'The target holds all that was to be restored.';
    case 'MIXED':
      return `The target holds a mix: ${restored} keys of the backup were written, the others are as they were before.${emptied}`;
    case 'UNKNOWN':
      return `The target had acknowledged ${restored} keys of the backup when it was lost; it may hold them, some of them, or none, beside what else it has.${emptied}`;
  }
};

/** A restore by pipeline that failed, with what it left behind. `code` and `hint` are those of what went wrong. */
export class PipelineFailure extends DomainError {
  constructor(readonly report: Readonly<PipelineReport>, error: unknown) {
    const known = asDomainError(error);
    super(known.code, `${known.message} ${whatIsThere(report)}`, {
      hint: known.hint, retryable: known.retryable, details: { ...known.details, dataNow: report.dataNow }, cause: error,
    });
    this.name = 'PipelineFailure';
  }
}
