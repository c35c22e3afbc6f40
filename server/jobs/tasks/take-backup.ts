import { capabilities, type EngineGate, NOTHING_OFF } from '../../domain/capability.js';
import { DomainError } from '../../domain/errors.js';
import { expiresAt } from '../../domain/retention.js';
import { type SyncLimits } from '../../domain/source-sync.js';
import { removeAttempts, writerOf, type Manifest } from '../../engine/archive/archive.js';
import { manifestKey } from '../../engine/archive/layout.js';
import { runBackup, type BackupDeps, type BackupResult } from '../../engine/backup.js';
import { type Endpoint } from '../../engine/ports.js';
import { loadsOn } from '../../engine/rdb/versions.js';
import { type SourceLimits } from '../../engine/source/limits.js';
import { verifyArchive } from '../../engine/verify.js';
import { archiveOf } from '../../services/archive-ref.js';
import { coverageOf, refuseWhereImpossible } from '../../services/backup-start.js';
import { isDamage } from '../../services/damage.js';
import { openEndpoint } from '../../services/endpoint.js';
import { serverFacts } from '../../services/instance.service.js';
import { type BackupChange, type Database, type EnginePort, type Vault } from '../../services/ports.js';
import { type BackupRecord, type InstanceRecord } from '../../services/records.js';
import { createSyncGate } from '../../services/source-syncs.js';
import { type TaskContext } from '../task.js';
import { syncDelayRecorder } from './sync-delay.js';

export interface TakeBackupDeps {
  db: Database;
  vault: Vault;
  gate: EngineGate;
  engine: EnginePort;
  backupDeps: BackupDeps;
  softwareVersion: string;
  limits: Partial<SourceLimits>;
  /** Of servers that are read key by key. */
  scanKeysPerSecond: number;
  /** How often one server may be asked for a full synchronisation. */
  syncLimits: SyncLimits;
  /** How long a planned backup may wait for its server, in ms. */
  catchUpMs: number;
  /** Folder for what old servers send faster than it can be stored. */
  spillDirectory: string;
  /** Puts back, on the servers of an instance, what dead runs have left there. Never rejects. */
  settleSyncDelays(instanceId: string): Promise<void>;
  /** Told the size of every RDB that was captured, in bytes. */
  captured?: ((bytes: number) => void) | undefined;
}

export interface Met {
  instance: InstanceRecord;
  endpoint: Endpoint;
}

/** Looks at the server anew: it may have been restarted or upgraded since its last probe. Its lock moves with its new `run_id`. */
export const meetServer = async (deps: TakeBackupDeps, context: TaskContext, instanceId: string): Promise<Met> => {
  const { db } = deps;
  const known = await db.read.instances.get(context.job, instanceId);
  if (!known) throw new DomainError('NOT_FOUND', `Instance ${instanceId} is gone.`);
  const endpoint = await openEndpoint(deps.vault, db.read, known);
  const report = await deps.engine.probe(endpoint);
  const instance: InstanceRecord = {
    ...known,
    server: serverFacts(report, deps.backupDeps.clock.now()),
    capabilities: capabilities(report, deps.gate, { acceptPartial: known.acceptPartial }),
  };
  if (report.runId !== context.serverRunId && !(await db.read.runs.bindServer(context.job.id, context.fence, report.runId))) {
    await context.assertOwned();
    throw new DomainError('INSTANCE_BUSY', `Another backup or restore works on the server of "${known.name}".`, { hint: 'Try again when it has ended.', retryable: true });
  }
  await context.write(async (tx) => {
    await tx.instances.lockProject(context.job);
    const current = await tx.instances.get(context.job, instanceId);
    // Not what was found at an address that it has no more.
    if (current?.removedAt === null && current.host === known.host && current.port === known.port) {
      await tx.instances.save({ ...current, server: instance.server, capabilities: capabilities(report, NOTHING_OFF, { acceptPartial: current.acceptPartial }) }, undefined);
    }
  });
  return { instance, endpoint };
};

/** Takes the backup that `backup` announces and returns what its row is to say then. */
export const takeBackup = async (
  deps: TakeBackupDeps, context: TaskContext, { instance, endpoint }: Met, backup: BackupRecord,
): Promise<{ change: BackupChange; result: BackupResult }> => {
  const { job, assertOwned, onProgress, signal } = context;
  refuseWhereImpossible(instance);
  const { engine, version, runId } = instance.server;
  // A safety copy is of exactly what is going to be replaced, and an emergency waits for no limit.
  const isSafetyCopy = backup.trigger === 'PRE_RESTORE';
  const syncs = createSyncGate({ db: deps.db, log: deps.backupDeps.log, limits: deps.syncLimits }, context, { always: isSafetyCopy });
  const result = await runBackup(
    {
      backupId: backup.id, attempt: job.attempt, projectId: backup.projectId, name: backup.name, trigger: backup.trigger, endpoint,
      source: { instanceId: instance.id, instanceName: instance.name, engine, version, runId, coverage: coverageOf(instance) },
      softwareVersion: deps.softwareVersion, method: instance.capabilities.backup.method ?? undefined, scanKeysPerSecond: deps.scanKeysPerSecond, limits: deps.limits, spillDirectory: deps.spillDirectory,
      sourcePreference: isSafetyCopy ? 'MASTER' : instance.sourcePreference, replica: instance.replica, allows: (of, at) => !deps.gate.isOff(of, at),
    },
    { ...deps.backupDeps, assertOwned, syncs, syncDelay: instance.skipSyncDelay ? syncDelayRecorder(context, instance.id) : undefined }, signal, onProgress,
  );
  deps.captured?.(Number(result.plainBytes));
  return { result, change: availableChange(result.manifest) };
};

/**
 * What the row of a backup is to say when an attempt that died had sealed its archive already: it is read through and taken as it is. Null
 * when there is none; one that cannot be read is removed. Fails as the store does.
 */
export const sealedEarlier = async ({ backupDeps: { store, keys } }: TakeBackupDeps, { job, assertOwned, onProgress, signal }: TaskContext, backup: BackupRecord): Promise<BackupChange | null> => {
  const { backupId, known } = archiveOf(backup);
  if ((await store.stat(manifestKey(backupId))) === null) return null;
  try {
    return availableChange(await verifyArchive({ backupId, level: 'CONTENT', known }, { store, keys }, signal, onProgress));
  } catch (error) {
    if (!isDamage(error)) throw error;
    await assertOwned();
    await removeAttempts(store, backupId, job.attempt - 1);
    return null;
  }
};

/** What a backup's row says once its archive is sealed and good. */
export const availableChange = (manifest: Manifest): BackupChange => {
  const [artifact] = manifest.artifacts;
  const { rdb: summary, replication } = artifact;
  return {
    state: 'AVAILABLE',
    damage: null,
    captureMethod: manifest.capture.method,
    engine: manifest.source.engine,
    engineVersion: manifest.source.version,
    coverage: artifact.coverage,
    integrity: summary.integrity,
    unknownContent: summary.unknown ? { what: `${summary.unknown.kind.toLowerCase()} ${summary.unknown.code}`, offset: summary.unknown.offset } : null,
    rdbVersion: summary.version,
    sizeBytes: artifact.plainSize,
    storedBytes: artifact.storedSize,
    sha256: artifact.plainSha256,
    manifestSha256: manifest.sha256,
    keys: summary.keys,
    expiringKeys: summary.expiring,
    databases: summary.databases,
    types: summary.types,
    functions: summary.functions,
    loadsOn: loadsOn(summary, writerOf(manifest.source)),
    source: manifest.source.node,
    ...(replication ? { replicationId: replication.id, replicationOffset: replication.offset } : {}),
    startedAt: manifest.startedAt,
    completedAt: manifest.completedAt,
    expiresAt: expiresAt(manifest.completedAt),
  };
};
