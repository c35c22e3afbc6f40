import { randomBytes } from 'node:crypto';
import { type IdKind, makeId } from '../../../server/domain/ids.js';
import { type BackupRecord, type InstanceRecord, type JobEventRecord, type JobRecord, type PolicyRecord, type RestorePlanRecord, type RestoreRecord } from '../../../server/services/records.js';

export const PROJECT = makeId('project', new Date(), randomBytes(10));
export const newId = (kind: IdKind): string => makeId(kind, new Date(), randomBytes(10));
const AT = new Date('2026-03-01T02:00:00.000Z');

export const instance = (over: Partial<InstanceRecord> = {}): InstanceRecord => ({
  id: newId('instance'), projectId: PROJECT, name: 'orders', host: '10.0.0.5', port: 6379, username: null, hasPassword: true, tls: null, acceptPartial: false, sourcePreference: 'PREFER_REPLICA', replica: null, skipSyncDelay: false,
  createdAt: AT, updatedAt: AT, removedAt: null,
  server: {
    probedAt: AT, engine: 'REDIS', version: '7.0.15', runId: 'a'.repeat(40), role: 'MASTER', mode: 'STANDALONE', usedMemoryBytes: 1_099_511_627_776n,
    maxMemoryBytes: null, maxMemoryPolicy: null, keys: 3n, databases: [{ database: 0, keys: 3n, expiring: 1n }],
    persistence: { appendOnly: false, saveRules: null, rdbChecksum: true }, rdbVersion: 10, connectedReplicas: 0, slots: [], rights: [{ command: 'psync', allowed: true }],
  },
  capabilities: { backup: { possible: true, method: 'REPLICATION', reason: null }, restore: { possible: true, methods: ['REPLICATION_LINK'], reason: null } },
  ...over,
});

export const policy = (instanceId: string): PolicyRecord => ({
  id: newId('policy'), projectId: PROJECT, instanceId, enabled: true, weekdays: ['MONDAY', 'SUNDAY'], startTime: '02:00', windowMinutes: 60,
  timeZone: 'Europe/Berlin', retentionDays: 7, nextRunAt: AT, updatedAt: AT,
});

export const backup = (instanceId: string, over: Partial<BackupRecord> = {}): BackupRecord => ({
  id: newId('backup'), projectId: PROJECT, instanceId, jobId: null, name: 'before the upgrade', state: 'AVAILABLE', trigger: 'MANUAL', captureMethod: 'REPLICATION',
  coverage: { kind: 'INSTANCE' }, source: { host: '10.0.0.6', port: 6380, role: 'REPLICA', runId: 'c'.repeat(40), version: '7.0.15', behindBytes: 0n }, engine: 'REDIS', engineVersion: '7.0.15', integrity: 'STRUCTURE_AND_CHECKSUM', unknownContent: null, rdbVersion: 10,
  sizeBytes: 9_007_199_254_740_993n, storedBytes: 10n, sha256: 'ab'.repeat(32), keys: 3n, expiringKeys: 1n, databases: [{ database: 0, keys: 3n, expiring: 1n }],
  types: [{ type: 'SORTED_SET', keys: 3n }], functions: 0, loadsOn: [{ engine: 'REDIS', minVersion: '7.0', maxVersion: null }], createdAt: AT, startedAt: AT,
  completedAt: AT, durationMs: 12, expiresAt: AT, retainedBecause: 'NEWEST_GOOD', damage: null, manifestSha256: null,
  verifications: [], lastVerifiedAt: null, ...over,
});

export const job = (over: Partial<JobRecord> = {}): JobRecord => ({
  id: newId('job'), projectId: PROJECT, kind: 'BACKUP', state: 'RUNNING', conclusion: null, phase: 'TRANSFERRING', phases: [{ phase: 'PREPARING', startedAt: AT, endedAt: AT }],
  progress: { bytesDone: 5n, bytesTotal: null, keysDone: 1n, keysTotal: 3n, bytesPerSecond: 1234.5, remainingSeconds: null, fraction: 0.25 }, failure: null, notices: [], attempt: 1,
  sequence: 4, createdAt: AT, startedAt: AT, completedAt: null, cancelRequestedAt: null, cancellable: true, instanceId: null, backupId: null, restoreId: null, verificationLevel: null, ...over,
});

export const event = (of: JobRecord, sequence: number, over: Partial<JobEventRecord> = {}): JobEventRecord => ({
  cursor: `c${sequence}`, sequence, kind: 'PROGRESS', at: AT, job: { ...of, sequence }, notice: null, ...over,
});

export const plan = (over: Partial<RestorePlanRecord> = {}): RestorePlanRecord => ({
  id: newId('restorePlan'), projectId: PROJECT, state: 'READY', backupId: newId('backup'), instanceId: newId('instance'), method: 'RESTORE_PIPELINE', methodReason: 'It was asked for.', mayFallBack: false,
  replacesEverything: false, losses: [], safetyBackup: true, pauseWrites: true, disklessLoad: false, targetEngine: 'REDIS', targetVersion: '7.0.15', targetRunId: 'a'.repeat(40), keysNow: [], keysAfter: [],
  compatibility: { loads: true, reason: null }, memory: { usedBytes: 1n, maxBytes: null, estimatedBytes: null }, blockers: [], warnings: [], confirmationText: 'orders', jobId: null, createdAt: AT, expiresAt: AT, ...over,
});

export const restore = (over: Partial<RestoreRecord> = {}): RestoreRecord => ({
  id: newId('restore'), projectId: PROJECT, planId: newId('restorePlan'), backupId: newId('backup'), instanceId: newId('instance'), method: 'RESTORE_PIPELINE', safetyBackupId: null, dataNow: 'NEW',
  unsavedWriteBytes: null, acceptedWarnings: [], report: null, jobId: newId('job'), createdAt: AT, completedAt: AT, ...over,
});
