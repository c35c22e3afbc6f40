import { DomainError } from '../../domain/errors.js';
import { type InspectionRequest, type InspectionResult } from '../../domain/inspection.js';
import { type KeyRing } from '../../engine/archive/archive.js';
import { inspectArchive } from '../../engine/inspect.js';
import { type Log } from '../../engine/ports.js';
import { type Store } from '../../engine/store/store.js';
import { archiveOf } from '../../services/archive-ref.js';
import { damageOf } from '../../services/damage.js';
import { inspectionParts } from '../../services/inspection-parts.js';
import { type Database, type Vault } from '../../services/ports.js';
import { startReading } from '../../services/reading.js';
import { type Task, type TaskContext } from '../task.js';
import { asFound, DamageFound } from './damage-found.js';

export interface InspectTaskDeps {
  db: Database;
  store: Store;
  keys: KeyRing;
  vault: Vault;
  log: Log;
}

/**
 * Reads a backup's archive under a reader's lease and keeps an account of its keys, sealed. It is the backup's from the transaction of the job's end on;
 * before, an earlier one is. Damage makes the backup DAMAGED and the job FAILED. Every attempt begins anew. Names of keys, and what was looked
 * for, go nowhere else: not into the job, its events, its failure, or the log.
 */
export const createInspectTask = ({ db, store, keys, vault, log }: InspectTaskDeps): Task => {
  const parts = inspectionParts(vault);

  const inspect = async ({ job, signal, onProgress }: TaskContext, backupId: string, request: InspectionRequest): Promise<InspectionResult> => {
    const reading = await startReading(db, log, job, backupId, `inspection ${job.id}`);
    try {
      return await inspectArchive({ ...archiveOf(reading.backup), request }, { store, keys }, AbortSignal.any([signal, reading.lost]), onProgress);
    } catch (error) {
      throw asFound(error, reading.backup);
    } finally {
      await reading.release();
    }
  };

  return {
    async run(context) {
      const { job, onProgress, write } = context;
      const { backupId } = job;
      const sealed = await db.read.inspections.request(job, job.id);
      if (backupId === null || sealed === null) throw new DomainError('NOT_FOUND', `Job ${job.id} has no backup, or nothing to look for.`);
      onProgress({ kind: 'phase', phase: 'PREPARING' });
      const owner = { projectId: job.projectId, jobId: job.id };
      const result = await inspect(context, backupId, parts.openRequest(owner, sealed));
      onProgress({ kind: 'phase', phase: 'FINALIZING' });
      await write((tx) => tx.inspections.dropKeys(job, job.id));
      // Each by itself: the transaction that ends a job is short.
      for (const part of parts.sealKeys(owner, result.keys)) await write((tx) => tx.inspections.putKeys(job, part));
      const summary = parts.sealSummary(owner, result);
      return async (tx) => {
        if (await tx.backups.lock(job, backupId)) await tx.inspections.complete(job, { jobId: job.id, backupId, summary, at: await tx.now() });
      };
    },

    fail: ({ job }, error) => async (tx) => {
      const { backupId } = job;
      await tx.inspections.remove(job, job.id);
      if (!(error instanceof DamageFound) || backupId === null) return;
      const changed = await tx.backups.change(job, backupId, ['AVAILABLE'], { state: 'DAMAGED', damage: damageOf(error.damage, await tx.now()) });
      if (changed) log.error('An inspection found that an archive is damaged; its backup is DAMAGED.', { backupId, code: error.damage.code, message: error.damage.message });
    },
  };
};
