import { DomainError } from '../../domain/errors.js';
import { expiresAt } from '../../domain/retention.js';
import { type BackupChange } from '../../services/ports.js';
import { type Task } from '../task.js';
import { meetServer, sealedEarlier, takeBackup, type TakeBackupDeps } from './take-backup.js';

/** What a backup that did not come to be says: FAILED and kept as long as others, or, when somebody cancelled it, gone. */
export const endedBackup = (cancelled: boolean, at: Date): BackupChange =>
  cancelled ? { state: 'DELETED', completedAt: at } : { state: 'FAILED', completedAt: at, expiresAt: expiresAt(at) };

export const createBackupTask = (deps: TakeBackupDeps): Task => ({
  async run(context) {
    const { job } = context;
    const backup = job.backupId === null ? null : await deps.db.read.backups.get(job, job.backupId);
    if (!backup) throw new DomainError('NOT_FOUND', `Job ${job.id} has no backup.`);
    context.onProgress({ kind: 'phase', phase: 'PREPARING' });
    // An earlier attempt may have ended between its seal and its row.
    const earlier = job.attempt > 1 ? await sealedEarlier(deps, context, backup) : null;
    const change = earlier ?? (await takeBackup(deps, context, await meetServer(deps, context, backup.instanceId), backup)).change;
    return async (tx) => {
      if (!(await tx.backups.change(job, backup.id, ['CREATING'], change))) {
        throw new DomainError('CONFLICT', `Backup ${backup.id} is no longer being taken.`);
      }
    };
  },

  fail: ({ job }, _error, cancelled) => async (tx) => {
    if (job.backupId !== null) await tx.backups.change(job, job.backupId, ['CREATING'], endedBackup(cancelled, deps.backupDeps.clock.now()));
  },
});
