import { DomainError, type DomainErrorOptions, type ErrorCode } from '../../domain/errors.js';
import { openArchive, removeArchive } from '../../engine/archive/archive.js';
import { neverLinked, RestoreFailure, runRestore, settleRestore, type UndoRecorder } from '../../engine/restore.js';
import { PipelineFailure, runPipelineRestore } from '../../engine/restore-pipeline.js';
import { archiveSource } from '../../engine/target/archive-source.js';
import { type LinkPlace } from '../../engine/target/check.js';
import { type RdbSource } from '../../engine/target/source.js';
import { archiveOf } from '../../services/archive-ref.js';
import { appendAudit } from '../../services/audit-chain.js';
import { coverageOf } from '../../services/backup-start.js';
import { noteDamage, readNotingDamage } from '../../services/damage.js';
import { openEndpoint } from '../../services/endpoint.js';
import { type BackupChange, type Ids, type PlanRow, type Repositories, type RestoreChange } from '../../services/ports.js';
import { startReading } from '../../services/reading.js';
import { type RestoreRecord } from '../../services/records.js';
import { restoreDetails } from '../../services/restore-details.js';
import { type Finish, type Task, type TaskContext } from '../task.js';
import { endedBackup } from './backup.task.js';
import { reportedKeys, reportedLink } from './restore-report.js';
import { meetServer, sealedEarlier, takeBackup, type Met, type TakeBackupDeps } from './take-backup.js';

export interface RestoreTaskDeps extends TakeBackupDeps {
  ids: Ids;
  link: LinkPlace;
  /** How long a target has to connect back, in ms. */
  linkMs: number;
  /** Told how much of an RDB was sent to a target, also by a restore that failed, in bytes. */
  sent?: ((bytes: number) => void) | undefined;
}

/** How an interrupted restore ends: what was found at the target, and what becomes of its safety backup. */
class RestoreSettled extends DomainError {
  constructor(readonly change: RestoreChange, readonly safetyBackup: BackupChange | null, code: ErrorCode, message: string, options: DomainErrorOptions) {
    super(code, message, options);
    this.name = 'RestoreSettled';
  }
}

/** What a restore is carried out with. */
interface Way {
  restore: RestoreRecord;
  plan: PlanRow;
  met: Met;
  source: RdbSource;
  /** When the backup was taken. */
  takenAt: Date;
  signal: AbortSignal;
}

export const createRestoreTask = (deps: RestoreTaskDeps): Task => {
  const details = restoreDetails(deps.vault);
  const { db, backupDeps } = deps;
  const { clock, log, store, keys, dial, threads } = backupDeps;

  const load = async ({ job }: TaskContext): Promise<{ restore: RestoreRecord; plan: PlanRow }> => {
    const restore = job.restoreId === null ? null : await db.read.restores.get(job, job.restoreId);
    const plan = restore && (await db.read.plans.get(job, restore.planId));
    if (!restore || !plan) throw new DomainError('NOT_FOUND', `Job ${job.id} has no restore, or the restore no plan.`);
    return { restore, plan };
  };

  /** Both records are written only while this run owns the job, and the second only while nobody has asked to cancel. */
  const recorder = ({ job, fence, write }: TaskContext, restoreId: string): UndoRecorder => ({
    beforeReplicaOf: (record) =>
      write(async (tx) => {
        await tx.restores.change(job, restoreId, { undoRecord: record });
        await tx.jobs.change(job.id, { fence }, {}, {
          kind: 'NOTICE', at: clock.now(), notice: { code: 'FOLLOWING', message: `The target is told to follow ${record.listenerHost}:${record.listenerPort}.` },
        });
      }),
    pointOfNoReturn: (record) =>
      write(async (tx) => {
        await tx.restores.change(job, restoreId, { undoRecord: record });
        if (!(await tx.jobs.change(job.id, { fence, uncancelled: true }, { cancellable: false }, { kind: 'STATE', at: clock.now() }))) {
          throw new DomainError('INTERRUPTED', 'The restore was cancelled.');
        }
      }),
  });

  /** The PRE_RESTORE backup: a row of its own, under this job and its lock. */
  const safetyBackup = (context: TaskContext, met: Met, restore: RestoreRecord) =>
    async (signal: AbortSignal, onProgress: TaskContext['onProgress']): Promise<{ replicationOffset: bigint | null }> => {
      const { job } = context;
      const { instance } = met;
      const id = deps.ids.make('backup');
      await context.write(async (tx) => {
        // It may run a second time after its commit.
        if (await tx.backups.get(job, id)) return;
        await tx.backups.insert({
          id, projectId: job.projectId, instanceId: instance.id, jobId: job.id, name: [...`Before restore into ${instance.name}`].slice(0, 128).join(''),
          trigger: 'PRE_RESTORE', engine: instance.server.engine, engineVersion: instance.server.version, coverage: coverageOf(instance), createdAt: clock.now(),
        });
        await tx.restores.change(job, restore.id, { safetyBackupId: id });
      });
      const backup = await db.read.backups.get(job, id);
      if (!backup) throw new Error(`Safety backup ${id} is not there right after its insertion`);
      try {
        const { change, result } = await takeBackup(deps, { ...context, onProgress, signal }, met, backup);
        await context.write((tx) => tx.backups.change(job, id, ['CREATING'], change));
        return { replicationOffset: result.replication?.offset ?? null };
      } catch (error) {
        await context.write((tx) => tx.backups.change(job, id, ['CREATING'], endedBackup(signal.aborted, clock.now())));
        throw error;
      }
    };

  const carryOut = async (context: TaskContext, restore: RestoreRecord, plan: PlanRow): Promise<Finish> => {
    const { job } = context;
    context.onProgress({ kind: 'phase', phase: 'PREPARING' });
    const met = await meetServer(deps, context, restore.instanceId);
    const reading = await startReading(db, log, job, restore.backupId, `restore ${restore.id}`);
    try {
      const noted = async (error: unknown): Promise<never> => {
        await noteDamage({ db, log }, job, restore.backupId, error);
        throw error;
      };
      const archive = await openArchive(store, restore.backupId, { keys, known: archiveOf(reading.backup).known, threads, signal: context.signal }).catch(noted);
      try {
        // A broken target is no damage of the archive: only what its own reading ends with counts.
        const watched: Parameters<typeof archiveSource>[0] = {
          manifest: archive.manifest,
          read: (range) => readNotingDamage({ db, log }, job, restore.backupId, archive.read(range)),
          release: (piece) => archive.release(piece),
        };
        const way: Way = { restore, plan, met, source: archiveSource(watched), takenAt: archive.manifest.startedAt, signal: AbortSignal.any([context.signal, reading.lost]) };
        return await byEitherWay(context, way).catch((error: unknown) => {
          if (error instanceof RestoreFailure || error instanceof PipelineFailure) deps.sent?.(Number(error.report.bytesSent));
          throw error;
        });
      } finally {
        await archive.close();
      }
    } finally {
      await reading.release();
    }
  };

  /** The link, and after it, where that was agreed to, key by key: the target has not been touched then, and its safety backup is there. */
  const byEitherWay = async (context: TaskContext, way: Way): Promise<Finish> => {
    const { restore, plan } = way;
    if (plan.method !== 'REPLICATION_LINK') return byKeys(context, way, { withSafetyBackup: plan.safetyBackup });
    try {
      return await byLink(context, way);
    } catch (error) {
      if (!plan.mayFallBack || !neverLinked(error) || way.signal.aborted) throw error;
      await context.write((tx) => tx.restores.change(context.job, restore.id, { method: 'RESTORE_PIPELINE', undoRecord: null }));
      context.onProgress({ kind: 'notice', code: 'GOING_KEY_BY_KEY', message: 'The target cannot connect back to this service; the restore goes on key by key.' });
      return byKeys(context, way, { withSafetyBackup: false });
    }
  };

  /** Whoever comes to a restore's listener and is not its target. What cannot be noted stands in the job's notices and in the log all the same. */
  const noteStranger = ({ id, projectId, instanceId }: RestoreRecord, reason: string, address: string): void => {
    db.transaction((tx) => appendAudit(tx, {
      projectId, actor: { credential: null, keyId: null, name: null, from: address }, action: 'RESTORE_PEER_REFUSED', outcome: 'REFUSED', code: 'FORBIDDEN', objectId: id, instanceId, details: { reason }, at: clock.now(),
    })).catch((error: unknown) => log.warn('A stranger at a restore listener could not be noted.', { restoreId: id, error: String(error) }));
  };

  const byLink = async (context: TaskContext, { restore, plan, met, source, signal }: Way): Promise<Finish> => {
    const report = await runRestore(
      {
        endpoint: met.endpoint, runId: plan.targetRunId, version: plan.targetVersion, pauseWrites: plan.pauseWrites, disklessLoad: plan.disklessLoad,
        acceptedWarnings: restore.acceptedWarnings, link: deps.link, times: { linkMs: deps.linkMs },
      },
      {
        dial, log, clock, source, recorder: recorder(context, restore.id), assertOwned: () => context.assertOwned(),
        safetyBackup: plan.safetyBackup ? safetyBackup(context, met, restore) : undefined,
        onPeerRefused: (reason, address) => noteStranger(restore, reason, address),
      },
      signal, context.onProgress,
    );
    deps.sent?.(Number(report.bytesSent));
    return async (tx) => tx.restores.change(context.job, restore.id, reportedLink(report, clock.now()));
  };

  const byKeys = async (context: TaskContext, { restore, plan, met, source, takenAt, signal }: Way, { withSafetyBackup }: { withSafetyBackup: boolean }): Promise<Finish> => {
    const { job } = context;
    const sealed = await db.read.restoreDetails.get(job, plan.id);
    if (!sealed) throw new DomainError('NOT_FOUND', `What plan ${plan.id} is to restore is gone.`);
    const { options } = details.openPlan({ projectId: job.projectId, ownerId: plan.id }, sealed);
    const report = await runPipelineRestore(
      { endpoint: met.endpoint, options, takenAt, runId: plan.targetRunId, version: plan.targetVersion, acceptedWarnings: restore.acceptedWarnings },
      {
        dial, log, source, assertOwned: () => context.assertOwned(),
        safetyBackup: withSafetyBackup ? safetyBackup(context, met, restore) : undefined,
        // Whoever finds this restore abandoned has to take the target for a mix.
        beforeFirstWrite: () => context.write((tx) => tx.restores.change(job, restore.id, { dataNow: 'MIXED' })),
      },
      signal, context.onProgress,
    );
    deps.sent?.(Number(report.bytesSent));
    return async (tx) => tx.restores.change(job, restore.id, reportedKeys(report, clock.now()));
  };

  /** A restore is never repeated: what an interrupted run left behind is brought in order, and told. */
  const settle = async (context: TaskContext, restore: RestoreRecord): Promise<never> => {
    const { job } = context;
    const record = await db.read.restores.undoRecord(job, restore.id);
    context.onProgress({ kind: 'phase', phase: 'FINALIZING' });
    if (!record && restore.dataNow === 'MIXED') {
      throw new RestoreSettled({}, await leftSafetyBackup(context, restore), 'INTERRUPTED', 'The restore was cut off while it wrote keys: the target holds some of the backup\'s beside what it held before.', {
        hint: 'Make a new plan and restore again, or undo it with the safety backup (`restore.undo`). Keys that begin with "snapback:restoring:" there are parts of a large value, and can be deleted.',
      });
    }
    if (!record) {
      throw new RestoreSettled({}, await leftSafetyBackup(context, restore), 'INTERRUPTED', 'The restore was cut off before it touched the target; its old data is untouched.', {
        hint: 'Make a new plan and restore again.', retryable: true,
      });
    }
    const { endpoint } = await meetInstance(restore);
    const settlement = await settleRestore(record, endpoint, { dial, log, assertOwned: () => context.assertOwned() });
    context.onProgress({ kind: 'notice', code: `SETTLED_${settlement.action}`, message: settlement.message });
    throw new RestoreSettled(
      { dataNow: settlement.dataNow, ...(settlement.action === 'LEFT_ALONE' ? {} : { undoRecord: null }) },
      await leftSafetyBackup(context, restore),
      settlement.dataNow === 'UNKNOWN' || settlement.action === 'LEFT_ALONE' ? 'TARGET_STATE_UNKNOWN' : 'INTERRUPTED',
      `The service was cut off during the restore. ${settlement.message}`,
      { hint: settlement.dataNow === 'NEW' ? 'The target holds the backup\'s data; check it and go on, or restore the safety backup.' : 'Make a new plan and restore again.' },
    );
  };

  /** A restore that has ended, and whose target nobody could settle then. What it says is changed by what is found now, and by nothing else. */
  const settleLate = async (context: TaskContext, restore: RestoreRecord): Promise<Finish> => {
    const record = await db.read.restores.undoRecord(restore, restore.id);
    context.onProgress({ kind: 'phase', phase: 'FINALIZING' });
    if (!record) return () => Promise.resolve();
    const { endpoint } = await meetInstance(restore);
    const { action, dataNow, message } = await settleRestore(record, endpoint, { dial, log, assertOwned: () => context.assertOwned() });
    context.onProgress({ kind: 'notice', code: `SETTLED_${action}`, message });
    log.info('The target of an ended restore was settled.', { restoreId: restore.id, action, dataNow });
    // A target that follows somebody else is nobody's here any more, too.
    // A restore that knew how it ended left a setting behind, and nothing else.
    const known = restore.dataNow === 'NEW' || dataNow === 'UNKNOWN';
    return (tx) => tx.restores.change(restore, restore.id, { undoRecord: null, ...(known ? {} : { dataNow }) });
  };

  /** What a safety backup is to say that its attempt left CREATING; null when there is none. */
  const leftSafetyBackup = async (context: TaskContext, { safetyBackupId: id }: RestoreRecord): Promise<BackupChange | null> => {
    const backup = id === null ? null : await db.read.backups.get(context.job, id);
    if (backup?.state !== 'CREATING') return null;
    try {
      const sealed = await sealedEarlier(deps, context, backup);
      if (sealed) return sealed;
      await removeArchive(store, backup.id);
    } catch (error) {
      // How the restore stands is what has to be told; what is left in the store falls to its sweep.
      log.error('An unfinished safety backup could not be removed.', { backupId: backup.id, error: String(error) });
    }
    return endedBackup(false, clock.now());
  };

  /** What the restore's row says after a failure. Where a target was touched and nobody could look at it, nobody knows. */
  const afterFailure = async (tx: Repositories, job: TaskContext['job'], restoreId: string, error: DomainError, at: Date): Promise<RestoreChange> => {
    if (error instanceof PipelineFailure) {
      if (error.report.failures.length > 0) {
        const sealed = details.sealFailures({ projectId: job.projectId, ownerId: restoreId }, error.report.failures);
        await tx.restoreDetails.put(job, { ownerId: restoreId, sealed, at });
      }
      return reportedKeys(error.report, at);
    }
    if (error instanceof RestoreFailure) return { ...reportedLink(error.report, at), ...(error.report.promoted ? {} : { undoRecord: undefined }) };
    if (error instanceof RestoreSettled) return { ...error.change, completedAt: at };
    return { completedAt: at, ...((await tx.restores.undoRecord(job, restoreId)) ? { dataNow: 'UNKNOWN' } : {}) };
  };

  const meetInstance = async (restore: RestoreRecord): Promise<Met> => {
    const instance = await db.read.instances.get(restore, restore.instanceId);
    if (!instance) throw new DomainError('NOT_FOUND', `Instance ${restore.instanceId} is gone.`);
    return { instance, endpoint: await openEndpoint(deps.vault, db.read, instance) };
  };

  return {
    async run(context) {
      const { restore, plan } = await load(context);
      await deps.settleSyncDelays(restore.instanceId);
      if (restore.jobId !== context.job.id) return settleLate(context, restore);
      return context.job.attempt > 1 ? settle(context, restore) : carryOut(context, restore, plan);
    },
    fail: ({ job }, error, cancelled) => async (tx) => {
      const restore = job.restoreId === null ? null : await tx.restores.get(job, job.restoreId);
      if (restore?.jobId !== job.id) return;
      const at = clock.now();
      const safety = error instanceof RestoreSettled ? error.safetyBackup : null;
      if (restore.safetyBackupId !== null) await tx.backups.change(job, restore.safetyBackupId, ['CREATING'], safety ?? endedBackup(cancelled, at));
      await tx.restores.change(job, restore.id, await afterFailure(tx, job, restore.id, error, at));
    },
  };
};
