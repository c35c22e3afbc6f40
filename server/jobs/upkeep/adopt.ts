import { DomainError } from '../../domain/errors.js';
import { isId } from '../../domain/ids.js';
import { RETENTION_DAYS } from '../../domain/retention.js';
import { DEFAULT_POLICY } from '../../domain/schedule.js';
import { type Manifest } from '../../engine/archive/archive.js';
import { type Repositories, type Scope } from '../../services/ports.js';
import { type InstanceRecord } from '../../services/records.js';
import { type UpkeepContext } from './context.js';

const NO_CREDENTIAL = 'It was made anew from an archive, which holds no credential: give it one with updateInstance, or call probeInstance where it needs none.';
/** What stands for an address that the archive does not tell; no name resolves below it (RFC 2606). */
const NO_ADDRESS = { host: 'unknown.invalid', port: 6379 };

/** The project that takes the archives of `projectId`: what an operator's adoption said, else the one of that id, made anew when it is gone. */
const projectFor = async (tx: Repositories, projectId: string, at: Date): Promise<Scope> => {
  const into = (await tx.settings.get(`adopt-into ${projectId}`)) ?? projectId;
  if (!(await tx.projects.get(into)) && !(await tx.projects.insert({ id: into, name: `recovered ${into}`, createdAt: at }))) {
    throw new DomainError('NAME_TAKEN', `Another project is called "recovered ${into}".`, { hint: 'Say with --project where its archives belong.' });
  }
  return { projectId: into };
};

const freeName = async (tx: Repositories, scope: Scope, name: string): Promise<string> => {
  for (let number = 1; ; number += 1) {
    const suffix = number === 1 ? '' : ` (recovered${number === 2 ? '' : ` ${number - 1}`})`;
    const candidate = `${[...name].slice(0, 128 - suffix.length).join('')}${suffix}`;
    if (!(await tx.instances.findProtectedByName(scope, candidate))) return candidate;
  }
};

/** The instance that an archive was taken from, as far as the archive tells: registered, so that its newest backup stays, and not planned. */
const instanceFrom = (manifest: Manifest, scope: Scope, name: string, at: Date): InstanceRecord => {
  const { source, artifacts: [{ rdb, coverage }] } = manifest;
  return {
    ...(source.address ?? NO_ADDRESS),
    id: source.instanceId, projectId: scope.projectId, name, username: null, hasPassword: false, tls: null, acceptPartial: coverage.kind === 'SHARD', sourcePreference: 'PREFER_REPLICA', replica: null,
    skipSyncDelay: false,
    createdAt: at, updatedAt: at, removedAt: null,
    server: {
      probedAt: manifest.startedAt, engine: source.engine, version: source.version, runId: source.runId, role: 'MASTER',
      mode: coverage.kind === 'SHARD' ? 'CLUSTER' : 'STANDALONE', usedMemoryBytes: 0n, maxMemoryBytes: null, maxMemoryPolicy: null, keys: rdb.keys,
      databases: rdb.databases, persistence: { appendOnly: false, saveRules: null, rdbChecksum: null }, rdbVersion: rdb.version, connectedReplicas: 0,
      slots: coverage.kind === 'SHARD' ? coverage.slots : [], rights: [],
    },
    capabilities: { backup: { possible: false, method: null, reason: NO_CREDENTIAL }, restore: { possible: false, methods: [], reason: NO_CREDENTIAL } },
  };
};

/** Where an archive belongs: to its instance; to the same server under the registration it has now; or to its instance, made anew. */
const homeOf = async (tx: Repositories, manifest: Manifest, ctx: UpkeepContext): Promise<{ projectId: string; instanceId: string }> => {
  const { source } = manifest;
  const known = await tx.upkeep.projectOfInstance(source.instanceId);
  if (known !== null) return { projectId: known, instanceId: source.instanceId };
  const scope = await projectFor(tx, manifest.backup.projectId, ctx.now);
  await tx.instances.lockProject(scope);
  const same = (await tx.instances.findProtectedByRunId(scope, source.runId)) ?? (source.address && (await tx.instances.findProtectedByAddress(scope, source.address)));
  if (same) return { ...scope, instanceId: same.id };
  const instance = instanceFrom(manifest, scope, await freeName(tx, scope, source.instanceName), ctx.now);
  await tx.instances.insert(instance, null);
  await tx.policies.insert({
    ...DEFAULT_POLICY, timeZone: 'UTC', enabled: false, id: ctx.ids.make('policy'), ...scope, instanceId: instance.id, retentionDays: RETENTION_DAYS,
    nextRunAt: null, updatedAt: ctx.now,
  });
  ctx.log.warn('An instance was made anew from an archive; it has no credential and is not backed up.', { ...scope, instanceId: instance.id, name: instance.name });
  return { ...scope, instanceId: instance.id };
};

/**
 * Gives a sealed archive that the catalogue does not know a row, from its manifest. The row is CREATING until the content has been read
 * through. Rejects for a manifest that cannot be read; the archive stays as it is then.
 */
export const adoptArchive = async (backupId: string, ctx: UpkeepContext): Promise<void> => {
  const manifest = await ctx.archives.manifest(backupId, ctx.signal);
  const { backup, source, artifacts: [{ coverage }] } = manifest;
  if (!isId('project', backup.projectId) || !isId('instance', source.instanceId)) {
    throw new DomainError('UNSUPPORTED_FORMAT', `Archive ${backupId} names a project or an instance that is none (${backup.projectId}, ${source.instanceId}).`);
  }
  await ctx.lock.write(async (tx) => {
    if ((await tx.upkeep.backups([backupId])).length > 0) return;
    const home = await homeOf(tx, manifest, ctx);
    await tx.backups.insert({
      id: backupId, ...home, jobId: null, name: backup.name, trigger: backup.trigger, engine: source.engine, engineVersion: source.version, coverage,
      createdAt: manifest.startedAt,
    });
    ctx.log.warn('An archive without a record was found in the store and is adopted.', { backupId, ...home });
  });
};
