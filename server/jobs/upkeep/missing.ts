import { DomainError } from '../../domain/errors.js';
import { expiresAt } from '../../domain/retention.js';
import { endedBackup } from '../tasks/backup.task.js';
import { damageOf } from '../../services/damage.js';
import { type BackupChange, type UpkeepBackup } from '../../services/ports.js';
import { type UpkeepContext } from './context.js';

const BATCH = 1_000;

const missing = (backupId: string): DomainError => new DomainError('NOT_FOUND', `The store holds no sealed archive of backup ${backupId}.`);

const settle = async (backup: UpkeepBackup, change: BackupChange, ctx: UpkeepContext): Promise<boolean> => {
  // Sealed after the store was walked, say.
  if (await ctx.archives.isSealed(backup.id)) return false;
  return ctx.lock.write((tx) => tx.backups.change(backup, backup.id, [backup.state], change));
};

/** Makes AVAILABLE backups DAMAGED whose archive is not in the store. Returns how many. */
export const markMissing = async (sealed: ReadonlySet<string>, ctx: UpkeepContext): Promise<number> => {
  let marked = 0;
  for (let after = ''; ; ) {
    const page = await ctx.db.read.upkeep.available(after, BATCH);
    for (const backup of page.filter(({ id }) => !sealed.has(id))) {
      if (!(await settle(backup, { state: 'DAMAGED', damage: damageOf(missing(backup.id), ctx.now) }, ctx))) continue;
      marked += 1;
      ctx.log.error('The archive of a backup is gone from the store; the backup is DAMAGED.', { backupId: backup.id });
    }
    const last = page.at(-1);
    if (page.length < BATCH || !last) return marked;
    after = last.id;
  }
};

/** Ends backups that nobody takes any more and of which nothing is sealed. */
export const endAbandoned = async (ctx: UpkeepContext): Promise<void> => {
  for (const backup of await ctx.db.read.upkeep.abandoned('CREATING', BATCH)) {
    // One that was adopted had an archive; one that was being taken never got that far.
    const change: BackupChange = backup.jobId === null
      ? { state: 'DAMAGED', damage: damageOf(missing(backup.id), ctx.now), completedAt: ctx.now, expiresAt: expiresAt(ctx.now) }
      : endedBackup(false, ctx.now);
    if (await settle(backup, change, ctx)) ctx.log.warn('A backup that no job takes any more was ended.', { backupId: backup.id, state: change.state });
  }
};
