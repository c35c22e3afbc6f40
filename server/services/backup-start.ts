import { type Coverage, type Trigger, type VerificationLevel } from '../domain/backup.js';
import { type Capabilities, type EngineGate, underGate } from '../domain/capability.js';
import { DomainError } from '../domain/errors.js';
import { type Ids, type Repositories, type Scope } from './ports.js';
import { type BackupRecord, type InstanceRecord, type JobRecord } from './records.js';

/** How often a job is taken up when its workers die; a failure of the work itself is not repeated. */
const MAX_ATTEMPTS = 3;

export interface BackupStart {
  instance: InstanceRecord;
  backupId: string;
  jobId: string;
  name: string;
  trigger: Trigger;
  at: Date;
}

/** Rows that start work, in the caller's transaction; the caller enqueues the job after the commit. */
export interface BackupStarter {
  /**
   * CREATING backup and QUEUED job. INSTANCE_BUSY when the server is being worked on, ENGINE_UNSUPPORTED when its version is switched off.
   * A MANUAL one is refused by what the last probe found, too; a SCHEDULED one looks for itself, or a passing obstacle at one run would
   * end all later ones. The caller holds the instance's lock.
   */
  start(tx: Repositories, start: BackupStart): Promise<{ backup: BackupRecord; job: JobRecord }>;
  /** A DELETE job for a backup that has been set to DELETING. */
  startDeletion(tx: Repositories, backup: BackupRecord, jobId: string, at: Date): Promise<JobRecord>;
  /** A VERIFY job for a backup that is locked and can be read. */
  startVerification(tx: Repositories, backup: BackupRecord, start: { jobId: string; level: VerificationLevel; at: Date }): Promise<JobRecord>;
  /** An INSPECT job for a backup that is locked and can be read. */
  startInspection(tx: Repositories, backup: BackupRecord, jobId: string, at: Date): Promise<JobRecord>;
  /** DELETE jobs for all backups of an instance that can go; those that something reads stay until they expire. */
  deleteAllOf(tx: Repositories, scope: Scope, instanceId: string, at: Date): Promise<string[]>;
}

export const coverageOf = (instance: Pick<InstanceRecord, 'server'>): Coverage =>
  instance.server.mode === 'CLUSTER' ? { kind: 'SHARD', slots: instance.server.slots } : { kind: 'INSTANCE' };

/** INSTANCE_BUSY, with the job in the way when the caller may see it. */
export const instanceBusy = (instance: InstanceRecord, running: JobRecord | null): DomainError => {
  const visible = running?.projectId === instance.projectId ? running : null;
  return new DomainError('INSTANCE_BUSY', `Another ${visible ? `${visible.kind.toLowerCase()} (${visible.id})` : 'backup or restore'} works on the server of "${instance.name}".`, {
    hint: 'Wait for it or cancel it, then try again.',
    retryable: true,
    ...(visible ? { details: { jobId: visible.id } } : {}),
  });
};

export const refuseWhereImpossible = (instance: InstanceRecord): void => {
  const { possible, reason } = instance.capabilities.backup;
  if (possible) return;
  throw new DomainError('ENGINE_UNSUPPORTED', `"${instance.name}" cannot be backed up: ${reason ?? 'the server does not allow it'}`, {
    hint: 'Remove the reason, then call probeInstance.', field: ['instanceId'],
  });
};

/** What stands for a probe that is still to be made. */
const NOT_KNOWN: Capabilities = { backup: { possible: true, method: null, reason: null }, restore: { possible: true, methods: [], reason: null } };

export const createBackupStarter = (ids: Ids, gate: EngineGate): BackupStarter => {
  const starter: BackupStarter = {
    async start(tx, { instance, backupId, jobId, name, trigger, at }) {
      refuseWhereImpossible({ ...instance, capabilities: underGate(trigger === 'MANUAL' ? instance.capabilities : NOT_KNOWN, instance.server, gate) });
      const job = await tx.jobs.insert({
        id: jobId, projectId: instance.projectId, kind: 'BACKUP', createdAt: at, instanceId: instance.id, backupId, restoreId: null,
        serverRunId: instance.server.runId, cancellable: true, maxAttempts: MAX_ATTEMPTS,
      });
      if (!job) throw instanceBusy(instance, await tx.jobs.runningOnServer(instance.server.runId));
      await tx.backups.insert({
        id: backupId, projectId: instance.projectId, instanceId: instance.id, jobId, name, trigger, createdAt: at,
        engine: instance.server.engine, engineVersion: instance.server.version, coverage: coverageOf(instance),
      });
      const backup = await tx.backups.get(instance, backupId);
      if (!backup) throw new Error(`Backup ${backupId} is not there right after its insertion`);
      return { backup, job };
    },

    async startDeletion(tx, backup, jobId, at) {
      const job = await tx.jobs.insert({
        id: jobId, projectId: backup.projectId, kind: 'DELETE', createdAt: at, instanceId: backup.instanceId, backupId: backup.id, restoreId: null,
        serverRunId: null, cancellable: false, maxAttempts: MAX_ATTEMPTS,
      });
      if (!job) throw new Error(`Deletion of ${backup.id} was refused by a lock it does not take`);
      return job;
    },

    async startVerification(tx, backup, { jobId, level, at }) {
      const job = await tx.jobs.insert({
        id: jobId, projectId: backup.projectId, kind: 'VERIFY', createdAt: at, instanceId: backup.instanceId, backupId: backup.id, restoreId: null,
        serverRunId: null, cancellable: true, maxAttempts: MAX_ATTEMPTS, verificationLevel: level,
      });
      if (!job) throw new Error(`Verification of ${backup.id} was refused by a lock it does not take`);
      return job;
    },

    async startInspection(tx, backup, jobId, at) {
      const job = await tx.jobs.insert({
        id: jobId, projectId: backup.projectId, kind: 'INSPECT', createdAt: at, instanceId: backup.instanceId, backupId: backup.id, restoreId: null,
        serverRunId: null, cancellable: true, maxAttempts: MAX_ATTEMPTS,
      });
      if (!job) throw new Error(`Inspection of ${backup.id} was refused by a lock it does not take`);
      return job;
    },

    async deleteAllOf(tx, scope, instanceId, at) {
      // All locks first: a job's first event takes the lock of the feed, and who holds that waits for no other.
      const going: BackupRecord[] = [];
      for (let from: { createdAt: Date; id: string } | null = null; ; ) {
        const page = await tx.backups.list(scope, { instanceId, states: ['AVAILABLE', 'FAILED', 'DAMAGED'] }, { order: 'NEWEST_FIRST', forward: true, limit: 100, from });
        for (const { id } of page.items) {
          const backup = await tx.backups.lock(scope, id);
          if (!backup || (await tx.leases.isRead(scope, id))) continue;
          if (await tx.backups.change(scope, id, ['AVAILABLE', 'FAILED', 'DAMAGED'], { state: 'DELETING' })) going.push(backup);
        }
        const last = page.items.at(-1);
        if (!page.more || !last) break;
        from = { createdAt: last.createdAt, id: last.id };
      }
      const jobs: string[] = [];
      for (const backup of going) jobs.push((await starter.startDeletion(tx, backup, ids.make('job'), at)).id);
      return jobs;
    },
  };
  return starter;
};
