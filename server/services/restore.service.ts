import { capabilities, type EngineGate, NOTHING_OFF } from '../domain/capability.js';
import { DomainError } from '../domain/errors.js';
import { authorise, may, type Principal } from '../domain/principal.js';
import { chooseMethod } from '../domain/restore-method.js';
import { type Clock, type Endpoint, type Log } from '../engine/ports.js';
import { type RestoreApi } from './api.js';
import { noted } from './audit.js';
import { instanceBusy } from './backup-start.js';
import { readableBackup } from './backup.service.js';
import { archiveOf } from './archive-ref.js';
import { notingDamage } from './damage.js';
import { openEndpoint } from './endpoint.js';
import { once, recalled, repeated } from './idempotency.js';
import { serverFacts } from './instance.service.js';
import { checkFilter, lookUp, shownId } from './lookup.js';
import { inOrder } from './order.js';
import { pageQuery, toPage } from './pagination.js';
import { type Database, type EnginePort, type Ids, type PlanRow, type Repositories, type RestoreDetail, type Vault, type WorkQueue } from './ports.js';
import { protectedInstance } from './protected-instance.js';
import { type BackupRecord, type InstanceRecord, type RestorePlanRecord } from './records.js';
import { restoreDetails } from './restore-details.js';
import { ownBlockers, planOn } from './restore-plan.js';
import { restoreRequest } from './restore-request.js';

/** A restore is not repeated; further attempts settle what the first one left behind. */
const MAX_ATTEMPTS = 10;
const MAX_PLAN_ATTEMPTS = 3;
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
  state: usedAt !== null ? 'USED' : plan.state === 'READY' && plan.expiresAt <= now ? 'EXPIRED' : plan.state,
});

/** Reads only, so it takes no server. */
const startPlanning = async (tx: Repositories, backup: BackupRecord, { instanceId, createdAt }: PlanRow, jobId: string): Promise<void> => {
  const job = await tx.jobs.insert({
    id: jobId, projectId: backup.projectId, kind: 'PLAN', createdAt, instanceId, backupId: backup.id, restoreId: null,
    serverRunId: null, cancellable: true, maxAttempts: MAX_PLAN_ATTEMPTS,
  });
  if (!job) throw new Error(`Planning with ${backup.id} was refused by a lock it does not take`);
};

export const createRestoreService = ({ db, engine, vault, gate, ids, clock, log, queue }: RestoreServiceDeps): RestoreApi => {
  const details = restoreDetails(vault);

  /** @param reached the owners that are there for the caller: of those only */
  const ofOwners = async <T>(caller: Principal, ownerIds: readonly string[], reached: () => Promise<{ id: string }[]>, open: (owner: Omit<RestoreDetail, 'sealed'>, sealed: Buffer) => T): Promise<(T | null)[]> => {
    if (!may(caller, 'operate')) return ownerIds.map(() => null);
    const there = caller.instanceIds === null ? ownerIds : (await reached()).map(({ id }) => id);
    const rows = inOrder(ownerIds, await db.read.restoreDetails.getMany(caller, there), ({ ownerId }) => ownerId);
    return rows.map((row) => row && open(row, row.sealed));
  };

  /** A plan is bound to the process that was just looked at; what was known of an earlier one would refuse it. */
  const knowAnew = async (instance: InstanceRecord, endpoint: Endpoint, { runId, version }: { runId: string; version: string }): Promise<void> => {
    if (instance.server.runId === runId && instance.server.version === version) return;
    const report = await engine.probe(endpoint);
    await db.read.instances.saveFacts(instance, { server: serverFacts(report, clock.now()), capabilities: capabilities(report, NOTHING_OFF, instance) });
  };

  return {
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

    async getPlans(caller, idList) {
      authorise(caller, 'read');
      const now = clock.now();
      return inOrder(idList, (await db.read.plans.getMany(caller, idList)).map((plan) => shown(plan, now)), ({ id }) => id);
    },

    async planDetails(caller, planIds) {
      authorise(caller, 'read');
      return ofOwners(caller, planIds, () => db.read.plans.getMany(caller, planIds), details.openPlan);
    },

    async keyFailures(caller, restoreIds) {
      authorise(caller, 'read');
      return ofOwners(caller, restoreIds, () => db.read.restores.getMany(caller, restoreIds), details.openFailures);
    },

    async createPlan(caller, { idempotencyKey, ...asked }) {
      authorise(caller, 'operate');
      const request = restoreRequest(asked, engine.lossNames);
      const { backupId, instanceId, safetyBackup, pauseWrites, disklessLoad } = asked;
      // Left out where it is not wanted, as in requests from before it was there.
      const input = { backupId, instanceId, safetyBackup, pauseWrites, ...(disklessLoad ? { disklessLoad } : {}), ...request.wish, ...request.options };
      const recall = async (repositories: Repositories, earlier: Record<string, string>): Promise<RestorePlanRecord> =>
        shown(recalled(await repositories.plans.get(caller, earlier['plan'] ?? '')), clock.now());
      // Before the target is looked at: a repeat gets the first answer although the target may be down by now.
      const repeat = await repeated(db.read, caller, { mutation: 'createRestorePlan', key: idempotencyKey, input, at: clock.now() });
      if (repeat) return recall(db.read, repeat);
      const backup = readableBackup(await lookUp('backup', backupId, (id) => db.read.backups.get(caller, id)), backupId);
      const instance = await protectedInstance(db.read, caller, instanceId);
      const endpoint = await openEndpoint(vault, db.read, instance);
      const findings = await notingDamage({ db, log }, caller, backupId, engine.inspectTarget(endpoint, archiveOf(backup), { safetyBackup, pauseWrites, disklessLoad }));
      await knowAnew(instance, endpoint, findings.facts);
      const at = clock.now();
      const found = [...ownBlockers(gate, findings.facts, { safetyBackup }), ...findings.blockers];
      const ofPlan = { projectId: caller.projectId, ownerId: ids.make('restorePlan') };
      const plan = planOn(
        { id: ofPlan.ownerId, projectId: caller.projectId, keyId: caller.keyId, backupId, instanceId, safetyBackup, pauseWrites, confirmationText: instance.name, createdAt: at },
        request, { backup, findings, found, choice: chooseMethod(request.wish, found), jobId: ids.make('job') },
      );
      const result = await db.transaction((tx) =>
        once(tx, caller, { mutation: 'createRestorePlan', key: idempotencyKey, input, ids: { plan: plan.id }, at }, async () => {
          // Locked: from the job on, no deletion passes it.
          if (plan.jobId !== null) await startPlanning(tx, readableBackup(await tx.backups.lock(caller, backupId), backupId), plan, plan.jobId);
          await tx.plans.insert(plan);
          await tx.restoreDetails.put(caller, { ownerId: plan.id, sealed: details.sealPlan(ofPlan, { options: request.options, selected: null }), at });
          await noted(tx, caller, { action: 'RESTORE_PLANNED', objectId: plan.id, instanceId, details: { backupId }, at });
          return shown(plan, at);
        }, (earlier) => recall(tx, earlier)),
      );
      if (result.state === 'PREPARING' && result.jobId !== null) await queue.enqueueJob(result.jobId);
      return result;
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
            id: made.restore, projectId: caller.projectId, planId, backupId: plan.backupId, instanceId: instance.id, method: plan.method ?? 'REPLICATION_LINK',
            safetyBackupId: null, dataNow: 'OLD', unsavedWriteBytes: null, report: null, acceptedWarnings: [...acceptedWarnings], jobId: job.id, createdAt: at,
            completedAt: null,
          });
          await noted(tx, caller, { action: 'RESTORE_STARTED', objectId: made.restore, instanceId: instance.id, details: { backupId: plan.backupId, planId, jobId: made.job }, at });
          return { restore: recalled(await tx.restores.get(caller, made.restore)), job };
        }, async (earlier) => ({
          restore: recalled(await tx.restores.get(caller, earlier['restore'] ?? '')),
          job: recalled(await tx.jobs.get(caller, earlier['job'] ?? '')),
        })),
      );
      if (result.job.state === 'QUEUED') await queue.enqueueJob(result.job.id);
      return result;
    },
  };
};

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
  if (plan.state === 'PREPARING') throw required('This plan is not ready yet.', 'planId', 'Wait for its job.');
  if (plan.state === 'FAILED') throw required('This plan came to nothing; its job says why.', 'planId');
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
