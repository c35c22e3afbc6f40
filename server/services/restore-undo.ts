import { type BackupRecord, type RestoreRecord, type UndoRecordShown } from './records.js';

/** How to get back what the target held; null when nothing was changed, or there is nothing to get it from. */
export const undoOf = ({ instanceId, dataNow, report, unsavedWriteBytes }: RestoreRecord, safety: BackupRecord | null): UndoRecordShown | null => {
  if (dataNow === 'OLD' || safety?.state !== 'AVAILABLE' || safety.expiresAt === null) return null;
  const unsaved = unsavedWriteBytes !== null && unsavedWriteBytes > 0n ? ` ${unsavedWriteBytes} bytes of writes reached the target after the safety backup and before the restore changed anything; no undo brings them back.` : '';
  const since = report?.keys == null ? 'What was written since the restore is lost' : 'What was written since the safety backup is lost, beside the restored keys';
  return {
    backupId: safety.id, instanceId, safetyBackup: true, possibleUntil: safety.expiresAt,
    message: `Replaces everything in the target with what it held when the safety backup was taken. ${since}, unless it is in the copy that is taken first.${unsaved}`,
  };
};
