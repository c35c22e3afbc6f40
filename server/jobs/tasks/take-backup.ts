import { capabilities, type EngineGate } from '../../domain/capability.js';
import { DomainError } from '../../domain/errors.js';
import { expiresAt } from '../../domain/retention.js';
import { runBackup, type BackupDeps, type BackupResult } from '../../engine/backup.js';
import { type Endpoint, type OnProgress } from '../../engine/ports.js';
import { loadsOn } from '../../engine/rdb/versions.js';
import { type SourceLimits } from '../../engine/source/limits.js';
import { coverageOf, refuseWhereImpossible } from '../../services/backup-start.js';
import { openEndpoint } from '../../services/endpoint.js';
import { serverFacts } from '../../services/instance.service.js';
import { type BackupChange, type Database, type EnginePort, type Vault } from '../../services/ports.js';
import { type BackupRecord, type InstanceRecord } from '../../services/records.js';
import { type TaskContext } from '../task.js';

export interface TakeBackupDeps {
  db: Database;
  vault: Vault;
  gate: EngineGate;
  engine: EnginePort;
  backupDeps: BackupDeps;
  softwareVersion: string;
  limits: Partial<SourceLimits>;
  /** Folder for what old servers send faster than it can be stored. */
  spillDirectory: string;
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
  await context.assertOwned();
  await db.transaction(async (tx) => {
    const current = await tx.instances.get(context.job, instanceId);
    if (current?.removedAt === null) await tx.instances.save({ ...current, server: instance.server, capabilities: instance.capabilities }, undefined);
  });
  return { instance, endpoint };
};

/** Takes the backup that `backup` announces and returns what its row is to say then. */
export const takeBackup = async (
  deps: TakeBackupDeps, { instance, endpoint }: Met, backup: BackupRecord, signal: AbortSignal, onProgress: OnProgress,
): Promise<{ change: BackupChange; result: BackupResult }> => {
  refuseWhereImpossible(instance);
  const { engine, version, runId } = instance.server;
  const result = await runBackup(
    {
      backupId: backup.id, projectId: backup.projectId, name: backup.name, trigger: backup.trigger, endpoint,
      source: { instanceId: instance.id, instanceName: instance.name, engine, version, runId, coverage: coverageOf(instance) },
      softwareVersion: deps.softwareVersion, limits: deps.limits, spillDirectory: deps.spillDirectory,
    },
    deps.backupDeps, signal, onProgress,
  );
  deps.captured?.(Number(result.plainBytes));
  return { result, change: availableChange(result) };
};

const availableChange = ({ manifest, summary, plainBytes, storedBytes, sha256, replicationId, replicationOffset }: BackupResult): BackupChange => {
  const [artifact] = manifest.artifacts;
  return {
    state: 'AVAILABLE',
    engine: manifest.source.engine,
    engineVersion: manifest.source.version,
    coverage: artifact.coverage,
    integrity: summary.integrity,
    unknownContent: summary.unknown ? { what: `${summary.unknown.kind.toLowerCase()} ${summary.unknown.code}`, offset: summary.unknown.offset } : null,
    rdbVersion: summary.version,
    sizeBytes: plainBytes,
    storedBytes,
    sha256,
    keys: summary.keys,
    expiringKeys: summary.expiring,
    databases: summary.databases,
    types: summary.types,
    functions: summary.functions,
    loadsOn: loadsOn(summary, { engine: manifest.source.engine, version: manifest.source.version }),
    replicationId,
    replicationOffset,
    startedAt: manifest.startedAt,
    completedAt: manifest.completedAt,
    expiresAt: expiresAt(manifest.completedAt),
  };
};
