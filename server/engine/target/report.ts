import { type DatabaseCount } from '../../domain/backup.js';
import { DomainError } from '../../domain/errors.js';
import { ServerReplyError } from '../control.js';
import { type DataNow } from './data-now.js';

/** What a restore did, also one that failed. */
export interface RestoreReport {
  /** Which data the target holds. */
  dataNow: DataNow;
  /** Whether the target takes writes, again or still. */
  promoted: boolean;
  /** Counted when the target had stopped taking writes; before that, as it was found. */
  keysBefore: readonly DatabaseCount[];
  /** Counted after the load and before it took writes again. Null when it did not come to that. */
  keysAfter: readonly DatabaseCount[] | null;
  bytesSent: bigint;
  /** From the command that starts the transfer to the acknowledgement of the load, in milliseconds; null without one. */
  loadMs: number | null;
  /**
   * Bytes of the replication stream between the safety backup and the moment the target stopped taking writes: writes that an undo
   * does not bring back, and the server's own signs of life to its replicas. Null without a safety backup.
   */
  unsavedWriteBytes: bigint | null;
  /** Whether the restored data is in the target's memory only, and a BGSAVE should be offered. */
  bgsaveSuggested: boolean;
  /** Whether a setting of the target's may still be as this restore has set it: then somebody has to settle it once more. */
  settingLeft: boolean;
  notices: string[];
}

/** A restore that failed, with what it left behind. `code` and `hint` are those of what went wrong. */
export class RestoreFailure extends DomainError {
  constructor(readonly report: Readonly<RestoreReport>, error: unknown) {
    const known = asDomainError(error);
    super(known.code, `${known.message} ${whatIsThere(report)}`, {
      hint: known.hint, retryable: known.retryable, details: { ...known.details, dataNow: report.dataNow, promoted: report.promoted }, cause: error,
    });
    this.name = 'RestoreFailure';
  }
}

/**
 * Whether a restore ended because the target could not be reached back: it was never linked, has got no byte, holds its old data and takes
 * writes. Another method may then be tried, without another safety backup.
 */
export const neverLinked = (error: unknown): error is RestoreFailure =>
  error instanceof RestoreFailure && error.code === 'TARGET_UNREACHABLE_BACK'
  && error.report.dataNow === 'OLD' && error.report.promoted && !error.report.settingLeft && error.report.bytesSent === 0n;

export const asDomainError = (error: unknown): DomainError => {
  if (error instanceof DomainError) return error;
  if (error instanceof ServerReplyError) {
    return new DomainError('TARGET_BLOCKED', `${error.message}.`, { hint: 'The target refuses this; its documentation says why.' });
  }
  return new DomainError('INTERNAL', 'The restore failed for a reason that this service does not know.', { cause: error });
};

const DATA: Readonly<Record<DataNow, string>> = {
  OLD: 'The target holds the data from before the restore',
  NEW: 'The target holds the backup\'s data',
  UNKNOWN: 'Which data the target holds could not be established',
};

const whatIsThere = ({ dataNow, promoted }: RestoreReport): string =>
  `${DATA[dataNow]}; it ${promoted ? 'takes writes' : 'may still be a read-only replica'}.`;
