import { DomainError } from '../domain/errors.js';
import { nextRun } from '../domain/schedule.js';
import { type SlotStarter } from '../domain/slot.js';
import { type BackupStarter } from './backup-start.js';
import { type Database, type Ids, type PlannedPlace, type Repositories, type Scope, type WorkQueue } from './ports.js';
import { type InstanceRecord, type PolicyRecord, type SlotRecord } from './records.js';
import { type ScheduleTime } from './schedule-time.js';
import { type SlotPlanner } from './slots.js';

/** Policies and slots that are looked up at once. */
const BATCH = 1_000;
/** A wake-up that came too early is asked for again after this long: two clocks may differ by a little. */
const TOO_EARLY_MS = 1_000;
/** The queue is told again of runs that come this soon, but not of those that it is about to deliver. */
const REMIND_MS = { from: 3_000, to: 120_000 };

export interface DispatchDeps {
  db: Database;
  ids: Ids;
  time: ScheduleTime;
  queue: WorkQueue;
  slots: SlotPlanner;
  starter: BackupStarter;
  /** How long a slot may wait, after downtime or for a busy server, in ms. */
  catchUpMs: number;
}

/**
 * Turns planned runs into jobs. Not for callers: the clock calls it, over all tenants. The slot's unique `(policy, instant)` row makes a
 * run happen once, however often and on however many nodes this is called.
 */
export interface Dispatcher {
  /** The instant of this policy has come, or may have. */
  policyDue(policyId: string): Promise<void>;
  /** A job on this instance's server has ended: a run that waited for that begins. */
  serverFree(scope: Scope, instanceId: string): Promise<void>;
  /** The net: whatever is due and nobody was woken for. */
  dispatchDue(): Promise<void>;
  /** Tells the queue of the runs that come next, in case it has forgotten them: the net alone would start them late. */
  remind(): Promise<void>;
}

interface Decision {
  /** To be told to the queue after the commit. */
  nextRunAt: Date | null;
  jobId: string | null;
  /** Whether a run was due. */
  due: boolean;
}

const BUSY = 'Another backup or restore works on the server.';

export const createDispatcher = ({ db, ids, time, queue, slots, starter, catchUpMs }: DispatchDeps): Dispatcher => {
  /** The slot as it is to be saved; a busy server leaves it DUE until its catch-up time ends. */
  const attempt = async (tx: Repositories, slot: SlotRecord, instance: InstanceRecord | null, policy: PolicyRecord | null, now: Date, startedBy: SlotStarter): Promise<SlotRecord> => {
    const missed = (reason: string): SlotRecord => ({ ...slot, state: 'MISSED', reason });
    if (!instance || instance.removedAt !== null) return missed('The instance was removed.');
    if (!policy?.enabled) return missed('Automatic backups were switched off before it could start.');
    if (now.getTime() - slot.plannedAt.getTime() > catchUpMs) {
      return missed(slot.reason === null ? 'The service was not running in time.' : 'The server was busy until the catch-up time ended.');
    }
    if (await tx.jobs.runningOnServer(instance.server.runId)) return { ...slot, reason: BUSY };
    try {
      const name = `${instance.name} ${slot.plannedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
      const { job } = await starter.start(tx, { instance, backupId: ids.make('backup'), jobId: ids.make('job'), name: [...name].slice(-128).join(''), trigger: 'SCHEDULED', at: now });
      return { ...slot, state: 'STARTED', startedBy, jobId: job.id, reason: null };
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      // Lost a race for the server: the slot waits as for any other busy one.
      return error.code === 'INSTANCE_BUSY' ? { ...slot, reason: BUSY } : missed(error.message);
    }
  };

  /** Decides a slot that waits, and saves it. Locks are taken in one order everywhere: policy, slot, instance, event log. */
  const decide = async (tx: Repositories, slot: SlotRecord, policy: PolicyRecord | null, now: Date, startedBy: SlotStarter): Promise<string | null> => {
    const decided = await attempt(tx, slot, await tx.instances.lock(slot, slot.instanceId), policy, now, startedBy);
    await tx.slots.save(decided);
    if (decided.state === 'MISSED') await slots.tellMissed(tx, [decided], now);
    return decided.jobId;
  };

  /** Takes a policy's due run, if it still is one, and plans the next. `policy` is locked by the caller's transaction. */
  const run = async (tx: Repositories, policy: PolicyRecord, now: Date, startedBy: SlotStarter): Promise<Decision> => {
    const plannedAt = policy.nextRunAt;
    if (plannedAt === null) return { nextRunAt: null, jobId: null, due: false };
    if (plannedAt > now) return { nextRunAt: new Date(Math.max(plannedAt.getTime(), (await tx.now()).getTime() + TOO_EARLY_MS)), jobId: null, due: false };
    const slot = await slots.recordDue(tx, policy, now);
    const nextRunAt = nextRun(policy, policy.instanceId, now);
    await tx.policies.save({ ...policy, nextRunAt });
    return { nextRunAt, jobId: slot && (await decide(tx, slot, policy, now, startedBy)), due: true };
  };

  const runPolicy = async (policyId: string, startedBy: SlotStarter, options: { skipLocked: boolean }): Promise<Decision | null> => {
    const decision = await db.transaction(async (tx) => {
      const policy = await tx.policies.lock(policyId, options);
      return policy && run(tx, policy, await time(tx), startedBy);
    });
    // The job first: it is due now, the next run is not.
    if (decision?.jobId) await queue.enqueueJob(decision.jobId);
    if (decision) await queue.schedulePolicy(policyId, decision.nextRunAt);
    return decision;
  };

  const runSlot = async (slotId: string, startedBy: SlotStarter): Promise<void> => {
    const jobId = await db.transaction(async (tx) => {
      const slot = await tx.slots.lockWaiting(slotId);
      return slot && decide(tx, slot, await tx.policies.get(slot, slot.policyId), await time(tx), startedBy);
    });
    if (jobId !== null) await queue.enqueueJob(jobId);
  };

  /** Each in a transaction of its own: one that cannot be decided keeps no other from running, and none holds locks for all. */
  const each = async (page: (after: PlannedPlace | null) => Promise<PlannedPlace[]>, act: (id: string) => Promise<unknown>): Promise<unknown[]> => {
    const faults: unknown[] = [];
    for (let after: PlannedPlace | null = null; ; ) {
      const found: PlannedPlace[] = await page(after);
      for (const { id } of found) await act(id).catch((error: unknown) => faults.push(error));
      after = found.at(-1) ?? null;
      if (found.length < BATCH) return faults;
    }
  };

  return {
    async policyDue(policyId) {
      const decision = await runPolicy(policyId, 'AGENDA_JOB', { skipLocked: false });
      // Its run may have been recorded by a change of the policy, which left it to be started.
      if (decision?.due === false) for (const id of await db.read.slots.waitingOf(policyId)) await runSlot(id, 'AGENDA_JOB');
    },

    async serverFree(scope, instanceId) {
      for (const { id: policyId } of await db.read.policies.getByInstances(scope, [instanceId])) {
        for (const id of await db.read.slots.waitingOf(policyId)) await runSlot(id, 'NET');
      }
    },

    async dispatchDue() {
      const now = await time(db.read);
      const faults = await each((after) => db.read.policies.due(now, after, BATCH), (id) => runPolicy(id, 'NET', { skipLocked: true }));
      faults.push(...(await each((after) => db.read.slots.waiting(after, BATCH), (id) => runSlot(id, 'NET'))));
      if (faults.length > 0) throw new AggregateError(faults, `${faults.length} planned runs could not be decided; the next pass tries again.`);
    },

    async remind() {
      const now = (await time(db.read)).getTime();
      const soon = await db.read.policies.planned({ from: new Date(now + REMIND_MS.from), to: new Date(now + REMIND_MS.to) });
      for (const { id, nextRunAt } of soon) await queue.schedulePolicy(id, nextRunAt);
    },
  };
};
