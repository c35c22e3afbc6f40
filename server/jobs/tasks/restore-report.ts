import { type RestoreReport } from '../../engine/restore.js';
import { type PipelineReport } from '../../engine/restore-pipeline.js';
import { type RestoreChange } from '../../services/ports.js';

/** What the row of a restore says after the replication link was used. */
export const reportedLink = (report: RestoreReport, at: Date): RestoreChange => {
  const { dataNow, unsavedWriteBytes, keysBefore, keysAfter, bytesSent, loadMs, promoted, bgsaveSuggested, settingLeft, notices } = report;
  return {
    dataNow, unsavedWriteBytes, completedAt: at, ...(settingLeft ? {} : { undoRecord: null }),
    report: { keysBefore, keysAfter, bytesSent, loadMs: loadMs === null ? null : Math.round(loadMs), promoted, bgsaveSuggested, notices, keys: null },
  };
};

/** The same after a restore key by key. The first failures have names of keys, and are kept elsewhere. */
export const reportedKeys = (report: PipelineReport, at: Date): RestoreChange => {
  const { dataNow, unsavedWriteBytes, keysBefore, keysAfter, bytesSent, loadMs, bgsaveSuggested, notices, restored, replaced, skipped, expired, failed, uncertain, lost, functions, flushed, reconnects } = report;
  return {
    dataNow, unsavedWriteBytes, completedAt: at, undoRecord: null,
    report: {
      keysBefore, keysAfter, bytesSent, loadMs, promoted: true, bgsaveSuggested, notices,
      keys: { restored, replaced, skipped, expired, failed, uncertain, lost, functions, flushed, reconnects },
    },
  };
};
