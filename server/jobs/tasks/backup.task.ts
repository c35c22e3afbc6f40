import { DomainError, retryAtOf } from '../../domain/errors.js';
import { expiresAt } from '../../domain/retention.js';
import { type BackupChange } from '../../services/ports.js';
import { type Task } from '../task.js';
import { meetServer, sealedEarlier, takeBackup, type TakeBackupDeps } from './take-backup.js';

/** Until when nobody knows, a busy server is asked again this often. */
const BUSY_WAIT_MS = 15_000;

const isBusy = ({ code }: DomainError): boolean => code === 'RATE_LIMITED' || code === 'INSTANCE_BUSY';

/** What a backup that did not come to be says: FAILED and kept as long as others, or, when somebody cancelled it, gone. */
export const endedBackup = (cancelled: boolean, at: Date): BackupChange =>
  cancelled ? { state: 'DELETED', completedAt: at } : { state: 'FAILED', completedAt: at, expiresAt: expiresAt(at) };

export const createBackupTask = (deps: TakeBackupDeps): Task => ({
  async run(context) {
    const { job } = context;
    const backup = job.backupId === null ? null : await deps.db.read.backups.get(job, job.backupId);
    if (!backup) throw new DomainError('NOT_FOUND', `Job ${job.id} has no backup.`);
    context.onProgress({ kind: 'phase', phase: 'PREPARING' });
    await deps.settleSyncDelays(backup.instanceId);
    // An earlier attempt may have ended between its seal and its row.
    const earlier = job.attempt > 1 ? await sealedEarlier(deps, context, backup) : null;
    const change = earlier ?? (await takeBackup(deps, context, await meetServer(deps, context, backup.instanceId), backup)).change;
    return async (tx) => {
      if (!(await tx.backups.change(job, backup.id, ['CREATING'], change))) {
        throw new DomainError('CONFLICT', `Backup ${backup.id} is no longer being taken.`);
      }
    };
  },

  postpone: async ({ job }, error) => {
    if (!isBusy(error)) return null;
    const backup = job.backupId === null ? null : await deps.db.read.backups.get(job, job.backupId);
    const now = (await deps.db.read.now()).getTime();
    const retryAt = retryAtOf(error);
    const waitMs = retryAt === null ? BUSY_WAIT_MS : Math.max(1_000, retryAt.getTime() - now);
    // As a planned run waits whose server is busy when its instant comes. Whoever asks for one now is told at once.
    return backup?.trigger === 'SCHEDULED' && now + waitMs <= job.createdAt.getTime() + deps.catchUpMs ? waitMs : null;
  },

  fail: ({ job }, _error, cancelled) => async (tx) => {
    if (job.backupId !== null) await tx.backups.change(job, job.backupId, ['CREATING'], endedBackup(cancelled, deps.backupDeps.clock.now()));
  },
});
