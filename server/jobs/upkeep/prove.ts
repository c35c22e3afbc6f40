import { type VerificationResult } from '../../domain/backup.js';
import { expiresAt } from '../../domain/retention.js';
import { type BackupChange, type UpkeepBackup } from '../../services/ports.js';
import { damageOf, isDamage } from '../../services/damage.js';
import { verified } from '../../services/verification.js';
import { availableChange } from '../tasks/take-backup.js';
import { type UpkeepContext } from './context.js';

const judge = async ({ id: backupId, manifestSha256, sha256, ...backup }: UpkeepBackup, ctx: UpkeepContext): Promise<BackupChange | null> => {
  const made = (result: VerificationResult): BackupChange => verified({ verifications: [] }, { level: 'CONTENT', result, verifiedAt: ctx.now, jobId: null });
  try {
    // Whose the archive is was decided when it was adopted, whatever project it names.
    const manifest = await ctx.archives.verify({ backupId, known: { manifestSha256, projectId: null, sha256, sizeBytes: null } }, ctx.signal);
    return { ...availableChange(manifest), ...made('PASSED') };
  } catch (error) {
    if (!isDamage(error)) throw error;
    // It was there when the store was walked; a backup that had failed has lost nothing.
    if (error.code === 'NOT_FOUND' && backup.state === 'FAILED') return null;
    const completedAt = backup.completedAt ?? ctx.now;
    return { ...made('DAMAGED'), state: 'DAMAGED', damage: damageOf(error, ctx.now), completedAt, expiresAt: expiresAt(completedAt) };
  }
};

/**
 * Reads a sealed archive through that nobody vouches for (adopted, sealed by a run that then lost its job, or come back) and makes its
 * backup AVAILABLE or DAMAGED; null when somebody else has decided meanwhile. Rejects when the store or the key stood in the way: the next pass tries again.
 */
export const proveArchive = async (backup: UpkeepBackup, ctx: UpkeepContext): Promise<'AVAILABLE' | 'DAMAGED' | null> => {
  const change = await judge(backup, ctx);
  if (!change) return null;
  const changed = await ctx.lock.write((tx) => tx.backups.change(backup, backup.id, [backup.state], change));
  if (!changed) return null;
  const fields = { backupId: backup.id, was: backup.state, damage: change.damage?.message };
  if (change.state === 'AVAILABLE') {
    ctx.log.info('An archive was read through and is good; its backup is AVAILABLE.', fields);
    return 'AVAILABLE';
  }
  ctx.log.error('An archive was read through and is damaged.', fields);
  return 'DAMAGED';
};
