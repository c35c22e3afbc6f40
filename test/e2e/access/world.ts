import { randomBytes, randomUUID } from 'node:crypto';
import { type IdKind, makeId } from '../../../server/domain/ids.js';
import { type Role } from '../../../server/domain/principal.js';
import { makeApiKey } from '../../../server/security/api-keys.js';
import { type ApiKeyRow } from '../../../server/services/ports.js';
import { type TestService } from '../../kit/service.js';
import { backup, instance, policy } from '../../integration/graphql/records.js';

export const newId = (kind: IdKind): string => makeId(kind, new Date(), randomBytes(10));

/** One of everything that a tenant has, as rows: nothing of it is behind them. */
export interface World {
  projectId: string;
  instanceId: string;
  backupId: string;
  planId: string;
  restoreId: string;
  jobId: string;
  slotId: string;
  policyId: string;
  /** A key that nobody uses. */
  keyId: string;
}

/** Makes a key that may also have expired or been revoked already. */
export const giveKey = async ({ app }: TestService, projectId: string, role: Role, over: Partial<ApiKeyRow> = {}): Promise<{ id: string; token: string }> => {
  const id = newId('apiKey');
  const { text, secretHash } = makeApiKey(id);
  await app.db.read.apiKeys.insert({
    id, projectId, name: `a key ${role}`, role, serviceWide: false, instanceIds: null, secretHash, createdAt: new Date(), expiresAt: null, revokedAt: null, lastUsedAt: null, ...over,
  });
  return { id, token: text };
};

export const makeWorld = async (service: TestService, projectId: string): Promise<World> => {
  const at = new Date();
  const server = { ...instance().server, runId: randomBytes(20).toString('hex') };
  // Nobody listens at port 1.
  const target = instance({ id: newId('instance'), projectId, name: `w ${randomUUID()}`, host: '127.0.0.1', port: 1, hasPassword: false, server, createdAt: at, updatedAt: at });
  const rules = { ...policy(target.id), projectId, nextRunAt: null };
  const good = backup(target.id);
  const world: World = {
    projectId, instanceId: target.id, backupId: newId('backup'), planId: newId('restorePlan'), restoreId: newId('restore'), jobId: newId('job'), slotId: newId('slot'), policyId: rules.id, keyId: newId('apiKey'),
  };
  const { backupId, planId, restoreId, jobId, slotId, instanceId } = world;
  await service.app.db.transaction(async (tx) => {
    await tx.instances.insert(target, null);
    await tx.policies.insert(rules);
    await tx.slots.insert({ id: slotId, projectId, policyId: rules.id, instanceId, plannedAt: at, weekday: null, state: 'MISSED', startedBy: null, jobId: null, reason: 'down' });
    await tx.backups.insert({ id: backupId, projectId, instanceId, jobId: null, name: 'b', trigger: 'MANUAL', engine: 'REDIS', engineVersion: '7.0.15', coverage: { kind: 'INSTANCE' }, createdAt: at });
    await tx.backups.change({ projectId }, backupId, ['CREATING'], { state: 'AVAILABLE', sizeBytes: 10n, sha256: good.sha256, integrity: good.integrity, completedAt: at, expiresAt: new Date(at.getTime() + 86_400_000) });
    await tx.jobs.insert({ id: jobId, projectId, kind: 'DELETE', createdAt: at, instanceId, backupId: null, restoreId: null, serverRunId: null, cancellable: true, maxAttempts: 1 });
    await tx.plans.insert({
      id: planId, projectId, keyId: 'nobody', usedAt: null, state: 'READY', methodReason: 'because', mayFallBack: false, replacesEverything: true, losses: [], backupId, instanceId, method: 'REPLICATION_LINK', safetyBackup: false, pauseWrites: false, disklessLoad: false, targetEngine: 'REDIS', targetVersion: '7.0.15',
      targetRunId: server.runId, keysNow: [], keysAfter: [], compatibility: { loads: true, reason: null }, memory: { usedBytes: 0n, maxBytes: null, estimatedBytes: null }, blockers: [], warnings: [],
      confirmationText: target.name, jobId: null, createdAt: at, expiresAt: new Date(at.getTime() + 600_000),
    });
    await tx.restores.insert({
      id: restoreId, projectId, planId, backupId, instanceId, method: 'REPLICATION_LINK', safetyBackupId: null, dataNow: 'OLD', unsavedWriteBytes: null, report: null, acceptedWarnings: [], jobId, createdAt: at, completedAt: at,
    });
  });
  const { id } = await giveKey(service, projectId, 'VIEWER');
  return { ...world, keyId: id };
};
