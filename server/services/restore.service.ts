import { type EngineGate } from '../domain/capability.js';
import { DomainError } from '../domain/errors.js';
import { authorise, type Principal } from '../domain/principal.js';
import { type Clock, type Log } from '../engine/ports.js';
import { type TargetFindings } from '../engine/target/check.js';
import { type RestoreApi } from './api.js';
import { instanceBusy } from './backup-start.js';
import { readableBackup } from './backup.service.js';
import { archiveOf } from './archive-ref.js';
import { notingDamage } from './damage.js';
import { openEndpoint } from './endpoint.js';
import { once, recalled, repeated } from './idempotency.js';
import { checkFilter, lookUp, shownId } from './lookup.js';
import { inOrder } from './order.js';
import { pageQuery, toPage } from './pagination.js';
import { type Database, type EnginePort, type Ids, type PlanRow, type Repositories, type Vault, type WorkQueue } from './ports.js';
import { protectedInstance } from './protected-instance.js';
import { type BackupRecord, type BlockerRecord, type InstanceRecord, type RestorePlanRecord, type WarningRecord } from './records.js';

export const PLAN_SECONDS = 600;
/** A restore is not repeated; further attempts settle what the first one left behind. */
const MAX_ATTEMPTS = 10;
const WARNING_NAME = /^[A-Z][A-Z0-9_]{0,63}$/;

export interface RestoreServiceDeps {
  db: Database;
  engine: EnginePort;
  vault: Vault;
  gate: EngineGate;
  ids: Ids;
  clock: Clock;
  log: Log;
  queue: WorkQueue;
}

const shown = ({ keyId: _keyId, usedAt, ...plan }: PlanRow, now: Date): RestorePlanRecord => ({
  ...plan,
  state: usedAt !== null ? 'USED' : plan.expiresAt <= now ? 'EXPIRED' : plan.state,
});

/** What the service knows besides what the engine found at the target. */
const ownBlockers = (gate: EngineGate, { facts }: TargetFindings): BlockerRecord[] =>
  gate.isOff(facts.engine, facts.version)
    ? [{ name: 'ENGINE_SWITCHED_OFF', code: 'ENGINE_UNSUPPORTED', message: `The operator of this service has switched ${facts.engine} ${facts.version} off.`, hint: 'Ask the operator, or restore into another server.' }]
    : [];

const ownWarnings = (backup: BackupRecord): WarningRecord[] =>
  backup.coverage.kind === 'SHARD'
    ? [{ name: 'PARTIAL_BACKUP', mustAccept: true, message: 'The backup holds one node of a cluster, not the whole database.', hint: 'Restore the other nodes\' backups elsewhere too.' }]
    : [];

export const createRestoreService = ({ db, engine, vault, gate, ids, clock, log, queue }: RestoreServiceDeps): RestoreApi => ({
  async getPlan(caller, id) {
    authorise(caller, 'read');
    const plan = await db.read.plans.get(caller, id);
    return plan ? shown(plan, clock.now()) : null;
  },

  async get(caller, id) {
    authorise(caller, 'read');
    return db.read.restores.get(caller, id);
  },

  async getMany(caller, idList) {
    authorise(caller, 'read');
    return inOrder(idList, await db.read.restores.getMany(caller, idList), ({ id }) => id);
  },

  async list(caller, filter, page) {
    authorise(caller, 'read');
    const query = pageQuery('restores', page);
    return toPage('restores', query, await db.read.restores.list(caller, checkFilter(filter), query), () => db.read.restores.count(caller, filter));
  },

  async createPlan(caller, { backupId, instanceId, safetyBackup, pauseWrites, idempotencyKey }) {
    authorise(caller, 'operate');
    const input = { backupId, instanceId, safetyBackup, pauseWrites };
    const recall = async (repositories: Repositories, earlier: Record<string, string>): Promise<RestorePlanRecord> =>
      shown(recalled(await repositories.plans.get(caller, earlier['plan'] ?? '')), clock.now());
    // Before the target is looked at: a repeat gets the first answer although the target may be down by now.
    const repeat = await repeated(db.read, caller, { mutation: 'createRestorePlan', key: idempotencyKey, input, at: clock.now() });
    if (repeat) return recall(db.read, repeat);
    const backup = readableBackup(await lookUp('backup', backupId, (id) => db.read.backups.get(caller, id)), backupId);
    const instance = await protectedInstance(db.read, caller, instanceId);
    const endpoint = await openEndpoint(vault, db.read, instance);
    const findings = await notingDamage({ db, log }, caller, backupId, engine.inspectTarget(endpoint, archiveOf(backup), { safetyBackup, pauseWrites }));
    const at = clock.now();
    const { facts } = findings;
    const blockers = [...ownBlockers(gate, findings), ...findings.blockers.map(({ name, code, message, hint }) => ({ name, code, message, hint }))];
    const plan: PlanRow = {
      id: ids.make('restorePlan'), projectId: caller.projectId, keyId: caller.keyId, usedAt: null,
      state: 'READY', backupId, instanceId, safetyBackup, pauseWrites,
      method: blockers.length > 0 ? null : 'REPLICATION_LINK',
      targetEngine: facts.engine, targetVersion: facts.version, targetRunId: facts.runId,
      keysNow: facts.keysNow, keysAfter: findings.keysAfter,
      compatibility: findings.compatibility,
      memory: { usedBytes: facts.usedMemory, maxBytes: facts.maxMemory, estimatedBytes: findings.estimatedMemory },
      blockers,
      warnings: [...ownWarnings(backup), ...findings.warnings.map(({ name, message, hint, mustAccept }) => ({ name, message, hint, mustAccept }))],
      confirmationText: instance.name,
      jobId: null, createdAt: at, expiresAt: new Date(at.getTime() + PLAN_SECONDS * 1000),
    };
    return db.transaction((tx) =>
      once(tx, caller, { mutation: 'createRestorePlan', key: idempotencyKey, input, ids: { plan: plan.id }, at }, async () => {
        await tx.plans.insert(plan);
        return shown(plan, at);
      }, (earlier) => recall(tx, earlier)),
    );
  },

  async restoreBackup(caller, { planId, confirmation, acceptedWarnings, idempotencyKey }) {
    authorise(caller, 'operate');
    if (acceptedWarnings.length > 100 || acceptedWarnings.some((name) => !WARNING_NAME.test(name))) {
      throw new DomainError('BAD_INPUT', 'Warnings are accepted by their names, such as "UNCHECKED_CONFIG".', { field: ['acceptedWarnings'] });
    }
    const at = clock.now();
    const made = { restore: ids.make('restore'), job: ids.make('job') };
    const input = { planId, confirmation, acceptedWarnings: [...acceptedWarnings].sort() };
    const result = await db.transaction((tx) =>
      once(tx, caller, { mutation: 'restoreBackup', key: idempotencyKey, input, ids: made, at }, async () => {
        const plan = await lookUp('restorePlan', planId, (id) => tx.plans.get(caller, id));
        if (!plan) throw new DomainError('NOT_FOUND', `There is no restore plan ${shownId(planId)}.`, { field: ['planId'] });
        const instance = await tx.instances.lock(caller, plan.instanceId);
        if (!instance || instance.removedAt !== null) throw required('The target of this plan is no longer protected.', 'planId');
        confirmed(plan, { caller, instance, confirmation, acceptedWarnings, at });
        // Locked: from the job on, no deletion passes it.
        readableBackup(await tx.backups.lock(caller, plan.backupId), plan.backupId, 'planId');
        if (!(await tx.plans.use(caller, planId, at))) throw used();
        const job = await tx.jobs.insert({
          id: made.job, projectId: caller.projectId, kind: 'RESTORE', createdAt: at, instanceId: instance.id, backupId: plan.backupId,
          restoreId: made.restore, serverRunId: plan.targetRunId, cancellable: true, maxAttempts: MAX_ATTEMPTS,
        });
        if (!job) throw instanceBusy(instance, await tx.jobs.runningOnServer(plan.targetRunId));
        await tx.restores.insert({
          id: made.restore, projectId: caller.projectId, planId, backupId: plan.backupId, instanceId: instance.id, method: 'REPLICATION_LINK',
          safetyBackupId: null, dataNow: 'OLD', unsavedWriteBytes: null, report: null, acceptedWarnings: [...acceptedWarnings], jobId: job.id, createdAt: at,
          completedAt: null,
        });
        return { restore: recalled(await tx.restores.get(caller, made.restore)), job };
      }, async (earlier) => ({
        restore: recalled(await tx.restores.get(caller, earlier['restore'] ?? '')),
        job: recalled(await tx.jobs.get(caller, earlier['job'] ?? '')),
      })),
    );
    if (result.job.state === 'QUEUED') await queue.enqueueJob(result.job.id);
    return result;
  },
});

const required = (message: string, field: string, hint = 'Make a new plan.'): DomainError => new DomainError('CONFIRMATION_REQUIRED', message, { hint, field: [field] });

const used = (): DomainError => required('This plan was used already.', 'planId');

interface Confirmation {
  caller: Principal;
  instance: InstanceRecord;
  confirmation: string;
  acceptedWarnings: readonly string[];
  at: Date;
}

/** Whether the plan may be carried out by this caller, now, as confirmed. What only the target itself can tell is looked at again by the job. */
const confirmed = (plan: PlanRow, { caller, instance, confirmation, acceptedWarnings, at }: Confirmation): void => {
  if (plan.keyId !== caller.keyId) throw required('This plan was made by another caller.', 'planId', 'Make a plan of your own.');
  if (plan.usedAt !== null) throw used();
  if (plan.expiresAt <= at) throw required('This plan has expired.', 'planId');
  const [blocker] = plan.blockers;
  if (blocker) {
    throw new DomainError('TARGET_BLOCKED', plan.blockers.map(({ name, message }) => `${name}: ${message}`).join(' '), {
      hint: `${blocker.hint ?? 'Remove what stands in the way.'} Then make a new plan.`, field: ['planId'],
    });
  }
  if (instance.server.runId !== plan.targetRunId || instance.server.version !== plan.targetVersion) {
    throw required('The target has been restarted or replaced since this plan was made.', 'planId');
  }
  if (confirmation !== instance.name) {
    throw required('The confirmation is not the name of the target instance.', 'confirmation', `Type the name of the instance that will be overwritten: "${instance.name}".`);
  }
  const open = plan.warnings.filter(({ name, mustAccept }) => mustAccept && !acceptedWarnings.includes(name));
  if (open.length > 0) {
    throw required(`These warnings must be accepted by name: ${open.map(({ name }) => name).join(', ')}.`, 'acceptedWarnings', 'Read them in the plan and name them in acceptedWarnings.');
  }
};
