import { DomainError } from '../../domain/errors.js';
import { openArchive } from '../../engine/archive/archive.js';
import { RestoreFailure, runRestore, settleRestore, type RestoreReport, type UndoRecorder } from '../../engine/restore.js';
import { archiveSource } from '../../engine/target/archive-source.js';
import { type LinkPlace } from '../../engine/target/check.js';
import { coverageOf } from '../../services/backup-start.js';
import { openEndpoint } from '../../services/endpoint.js';
import { type Ids, type PlanRow, type RestoreChange } from '../../services/ports.js';
import { startReading } from '../../services/reading.js';
import { type RestoreRecord } from '../../services/records.js';
import { type Finish, type Task, type TaskContext } from '../task.js';
import { endedBackup } from './backup.task.js';
import { meetServer, takeBackup, type Met, type TakeBackupDeps } from './take-backup.js';

export interface RestoreTaskDeps extends TakeBackupDeps {
  ids: Ids;
  link: LinkPlace;
  /** Told how much of an RDB was sent to a target, also by a restore that failed, in bytes. */
  sent?: ((bytes: number) => void) | undefined;
}

const reported = (report: RestoreReport, at: Date): RestoreChange => {
  const { dataNow, unsavedWriteBytes, keysBefore, keysAfter, bytesSent, loadMs, promoted, bgsaveSuggested, notices } = report;
  return {
    dataNow, unsavedWriteBytes, completedAt: at, undoRecord: null,
    report: { keysBefore, keysAfter, bytesSent, loadMs: loadMs === null ? null : Math.round(loadMs), promoted, bgsaveSuggested, notices },
  };
};

export const createRestoreTask = (deps: RestoreTaskDeps): Task => {
  const { db, backupDeps } = deps;
  const { clock, log, store, dial } = backupDeps;

  const load = async ({ job }: TaskContext): Promise<{ restore: RestoreRecord; plan: PlanRow }> => {
    const restore = job.restoreId === null ? null : await db.read.restores.get(job, job.restoreId);
    const plan = restore && (await db.read.plans.get(job, restore.planId));
    if (!restore || !plan) throw new DomainError('NOT_FOUND', `Job ${job.id} has no restore, or the restore no plan.`);
    return { restore, plan };
  };

  /** Both records are written only while this run owns the job, and the second only while nobody has asked to cancel. */
  const recorder = ({ job, fence }: TaskContext, restoreId: string): UndoRecorder => {
    const change = (tx: Parameters<Finish>[0], undoRecord: RestoreChange['undoRecord']) => tx.restores.change(job, restoreId, { undoRecord: undoRecord ?? null });
    return {
      async beforeReplicaOf(record) {
        await db.transaction(async (tx) => {
          await change(tx, record);
          if (!(await tx.jobs.change(job.id, { fence }, {}, { kind: 'NOTICE', at: clock.now(), notice: { code: 'FOLLOWING', message: `The target is told to follow ${record.listenerHost}:${record.listenerPort}.` } }))) throw lost();
        });
      },
      async pointOfNoReturn(record) {
        await db.transaction(async (tx) => {
          await change(tx, record);
          const at = clock.now();
          if (!(await tx.jobs.change(job.id, { fence, uncancelled: true }, { cancellable: false }, { kind: 'STATE', at }))) throw lost();
        });
      },
    };
  };

  /** The PRE_RESTORE backup: a row of its own, under this job and its lock. */
  const safetyBackup = (context: TaskContext, met: Met, restore: RestoreRecord) =>
    async (signal: AbortSignal, onProgress: TaskContext['onProgress']): Promise<{ replicationOffset: bigint }> => {
      const { job } = context;
      const { instance } = met;
      const id = deps.ids.make('backup');
      await context.assertOwned();
      await db.transaction(async (tx) => {
        await tx.backups.insert({
          id, projectId: job.projectId, instanceId: instance.id, jobId: job.id, name: [...`Before restore into ${instance.name}`].slice(0, 128).join(''),
          trigger: 'PRE_RESTORE', engine: instance.server.engine, engineVersion: instance.server.version, coverage: coverageOf(instance), createdAt: clock.now(),
        });
        await tx.restores.change(job, restore.id, { safetyBackupId: id });
      });
      const backup = await db.read.backups.get(job, id);
      if (!backup) throw new Error(`Safety backup ${id} is not there right after its insertion`);
      try {
        const { change, result } = await takeBackup(deps, met, backup, signal, onProgress);
        await context.assertOwned();
        await db.transaction((tx) => tx.backups.change(job, id, ['CREATING'], change));
        return { replicationOffset: result.replicationOffset };
      } catch (error) {
        await db.transaction((tx) => tx.backups.change(job, id, ['CREATING'], endedBackup(signal.aborted, clock.now())));
        throw error;
      }
    };

  const carryOut = async (context: TaskContext, restore: RestoreRecord, plan: PlanRow): Promise<Finish> => {
    const { job } = context;
    context.onProgress({ kind: 'phase', phase: 'PREPARING' });
    const met = await meetServer(deps, context, restore.instanceId);
    const reading = await startReading(db, log, job, restore.backupId, `restore ${restore.id}`);
    try {
      const archive = await openArchive(store, restore.backupId, { signal: context.signal });
      try {
        const report = await runRestore(
          {
            endpoint: met.endpoint, runId: plan.targetRunId, version: plan.targetVersion, pauseWrites: plan.pauseWrites,
            acceptedWarnings: restore.acceptedWarnings, link: deps.link,
          },
          {
            dial, log, clock, source: archiveSource(archive), recorder: recorder(context, restore.id), assertOwned: () => context.assertOwned(),
            safetyBackup: plan.safetyBackup ? safetyBackup(context, met, restore) : undefined,
          },
          AbortSignal.any([context.signal, reading.lost]), context.onProgress,
        ).catch((error: unknown) => {
          if (error instanceof RestoreFailure) deps.sent?.(Number(error.report.bytesSent));
          throw error;
        });
        deps.sent?.(Number(report.bytesSent));
        return async (tx) => tx.restores.change(job, restore.id, reported(report, clock.now()));
      } finally {
        await archive.close();
      }
    } finally {
      await reading.release();
    }
  };

  /** A restore is never repeated: what an interrupted run left behind is brought in order, and told. */
  const settle = async (context: TaskContext, restore: RestoreRecord): Promise<Finish> => {
    const { job } = context;
    const record = await db.read.restores.undoRecord(job, restore.id);
    if (!record) throw new DomainError('INTERRUPTED', 'The service was stopped before the restore touched the target; its old data is untouched.', { hint: 'Make a new plan and restore again.', retryable: true });
    context.onProgress({ kind: 'phase', phase: 'FINALIZING' });
    const { endpoint } = await meetInstance(restore);
    const settlement = await settleRestore(record, endpoint, { dial, log, assertOwned: () => context.assertOwned() });
    context.onProgress({ kind: 'notice', code: `SETTLED_${settlement.action}`, message: settlement.message });
    await context.assertOwned();
    await db.transaction((tx) => tx.restores.change(job, restore.id, { dataNow: settlement.dataNow, completedAt: clock.now(), ...(settlement.action === 'LEFT_ALONE' ? {} : { undoRecord: null }) }));
    throw new DomainError(
      settlement.dataNow === 'UNKNOWN' || settlement.action === 'LEFT_ALONE' ? 'TARGET_STATE_UNKNOWN' : 'INTERRUPTED',
      `The service was cut off during the restore. ${settlement.message}`,
      { hint: settlement.dataNow === 'NEW' ? 'The target holds the backup\'s data; check it and go on, or restore the safety backup.' : 'Make a new plan and restore again.' },
    );
  };

  const meetInstance = async (restore: RestoreRecord): Promise<Met> => {
    const instance = await db.read.instances.get(restore, restore.instanceId);
    if (!instance) throw new DomainError('NOT_FOUND', `Instance ${restore.instanceId} is gone.`);
    return { instance, endpoint: await openEndpoint(deps.vault, db.read, instance) };
  };

  return {
    async run(context) {
      const { restore, plan } = await load(context);
      return context.job.attempt > 1 ? settle(context, restore) : carryOut(context, restore, plan);
    },
    fail: ({ job }, error) => async (tx) => {
      if (job.restoreId === null) return;
      const at = clock.now();
      if (error instanceof RestoreFailure) await tx.restores.change(job, job.restoreId, { ...reported(error.report, at), ...(error.report.promoted ? {} : { undoRecord: undefined }) });
      else await tx.restores.change(job, job.restoreId, { completedAt: at });
    },
  };
};

const lost = (): DomainError => new DomainError('INTERRUPTED', 'The restore was cancelled, or another worker has taken it over.', { retryable: true });
