import { type EngineGate } from '../../domain/capability.js';
import { DomainError } from '../../domain/errors.js';
import { openArchive, type KeyRing, type SealingThreads } from '../../engine/archive/archive.js';
import { type Dial, type Log } from '../../engine/ports.js';
import { inspectSelection, type PipelineFindings } from '../../engine/restore-pipeline.js';
import { type Store } from '../../engine/store/store.js';
import { archiveSource } from '../../engine/target/archive-source.js';
import { archiveOf } from '../../services/archive-ref.js';
import { noteDamage, readNotingDamage } from '../../services/damage.js';
import { openEndpoint } from '../../services/endpoint.js';
import { type Database, type PlanRow, type Vault } from '../../services/ports.js';
import { startReading } from '../../services/reading.js';
import { type PlanDetailRecord } from '../../services/records.js';
import { restoreDetails } from '../../services/restore-details.js';
import { failPlan, filledPlan } from '../../services/restore-plan.js';
import { type Task, type TaskContext } from '../task.js';

export interface PlanTaskDeps {
  db: Database;
  store: Store;
  keys: KeyRing;
  vault: Vault;
  gate: EngineGate;
  threads: SealingThreads | undefined;
  dial: Dial;
  log: Log;
}

/**
 * Fills a restore plan: reads the backup under a reader's lease, and asks the target about every selected key. Writes nothing to the target, and takes no
 * lock on it. Every attempt begins anew. Names of keys go into the sealed part of the plan and nowhere else.
 */
export const createPlanTask = ({ db, store, keys, vault, gate, threads, dial, log }: PlanTaskDeps): Task => {
  const details = restoreDetails(vault);

  const load = async ({ job }: TaskContext): Promise<{ plan: PlanRow; detail: PlanDetailRecord }> => {
    const plan = await db.read.plans.ofJob(job, job.id);
    const sealed = plan && (await db.read.restoreDetails.get(job, plan.id));
    if (!plan || !sealed) throw new DomainError('NOT_FOUND', `Job ${job.id} has no restore plan.`);
    return { plan, detail: details.openPlan({ projectId: job.projectId, ownerId: plan.id }, sealed) };
  };

  const find = async ({ job, signal, onProgress }: TaskContext, plan: PlanRow, { options }: PlanDetailRecord): Promise<PipelineFindings> => {
    const instance = await db.read.instances.get(job, plan.instanceId);
    if (!instance) throw new DomainError('NOT_FOUND', `Instance ${plan.instanceId} is gone.`);
    const endpoint = await openEndpoint(vault, db.read, instance);
    const reading = await startReading(db, log, job, plan.backupId, `plan ${plan.id}`);
    try {
      const until = AbortSignal.any([signal, reading.lost]);
      const archive = await openArchive(store, plan.backupId, { keys, known: archiveOf(reading.backup).known, threads, signal: until }).catch(async (error: unknown) => {
        await noteDamage({ db, log }, job, plan.backupId, error);
        throw error;
      });
      try {
        const watched: Parameters<typeof archiveSource>[0] = {
          manifest: archive.manifest,
          read: (range) => readNotingDamage({ db, log }, job, plan.backupId, archive.read(range)),
          release: (piece) => archive.release(piece),
        };
        return await inspectSelection(
          { endpoint, options, takenAt: archive.manifest.startedAt, safetyBackup: plan.safetyBackup }, { dial, log, source: archiveSource(watched) }, until, onProgress,
        );
      } finally {
        await archive.close();
      }
    } finally {
      await reading.release();
    }
  };

  return {
    async run(context) {
      const { job } = context;
      const { plan, detail } = await load(context);
      const findings = await find(context, plan, detail);
      const backup = await db.read.backups.get(job, plan.backupId);
      if (!backup) throw new DomainError('NOT_FOUND', `Backup ${plan.backupId} is gone.`);
      context.onProgress({ kind: 'phase', phase: 'FINALIZING' });
      return async (tx) => {
        const at = await tx.now();
        const filled = filledPlan(plan, detail.options, { backup, findings, gate, at });
        await tx.plans.fill(filled.plan);
        await tx.restoreDetails.put(job, { ownerId: plan.id, sealed: details.sealPlan({ projectId: job.projectId, ownerId: plan.id }, filled.detail), at });
      };
    },
    fail: ({ job }) => (tx) => failPlan(tx, job, job.id),
  };
};
