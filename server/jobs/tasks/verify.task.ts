import { DomainError } from '../../domain/errors.js';
import { type KeyRing, type Manifest } from '../../engine/archive/archive.js';
import { type Log } from '../../engine/ports.js';
import { type Store } from '../../engine/store/store.js';
import { verifyArchive } from '../../engine/verify.js';
import { archiveOf } from '../../services/archive-ref.js';
import { damageOf } from '../../services/damage.js';
import { type Database } from '../../services/ports.js';
import { startReading } from '../../services/reading.js';
import { type VerificationRecord } from '../../services/records.js';
import { verified } from '../../services/verification.js';
import { type Task } from '../task.js';
import { asFound, DamageFound } from './damage-found.js';

export interface VerifyTaskDeps {
  db: Database;
  store: Store;
  keys: KeyRing;
  log: Log;
}

/**
 * Reads a backup's archive under a reader's lease and leaves in the backup's row what it found, in the transaction of the job's end. Damage
 * makes the backup DAMAGED and the job FAILED. Whatever only stood in the way (the store, the key, a cancellation) changes nothing of the backup.
 * Every attempt begins anew.
 */
export const createVerifyTask = ({ db, store, keys, log }: VerifyTaskDeps): Task => ({
  async run({ job, signal, onProgress }) {
    const { backupId, verificationLevel: level } = job;
    if (backupId === null || level === null) throw new DomainError('NOT_FOUND', `Job ${job.id} has no backup, or no level.`);
    onProgress({ kind: 'phase', phase: 'PREPARING' });
    const reading = await startReading(db, log, job, backupId, `verification ${job.id}`);
    let manifest: Manifest;
    try {
      manifest = await verifyArchive({ ...archiveOf(reading.backup), level }, { store, keys }, AbortSignal.any([signal, reading.lost]), onProgress);
    } catch (error) {
      throw asFound(error, reading.backup);
    } finally {
      await reading.release();
    }
    return async (tx) => {
      const backup = await tx.backups.lock(job, backupId);
      if (!backup) return;
      const change = verified(backup, { level, result: 'PASSED', verifiedAt: await tx.now(), jobId: job.id });
      // Sealed before manifests were written down: from now on this one is.
      const known = backup.manifestSha256 === null && level === 'CONTENT' ? { manifestSha256: manifest.sha256 } : {};
      await tx.backups.change(job, backupId, ['AVAILABLE'], { ...change, ...known });
    };
  },

  fail: ({ job }, error) => async (tx) => {
    const { backupId, verificationLevel: level } = job;
    if (!(error instanceof DamageFound) || backupId === null || level === null) return;
    const backup = await tx.backups.lock(job, backupId);
    if (!backup) return;
    const now = await tx.now();
    const made: VerificationRecord = { level, result: 'DAMAGED', verifiedAt: now, jobId: job.id };
    const changed = await tx.backups.change(job, backupId, ['AVAILABLE'], { ...verified(backup, made), state: 'DAMAGED', damage: damageOf(error.damage, now) });
    if (changed) log.error('A verification found that an archive is damaged; its backup is DAMAGED.', { backupId, code: error.damage.code, message: error.damage.message });
  },
});
