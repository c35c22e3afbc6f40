import { DomainError } from '../domain/errors.js';
import { nextRun, runsAfter } from '../domain/schedule.js';
import { type Clock, type Log } from '../engine/ports.js';
import { type BackupStarter } from './backup-start.js';
import { type Database, type Ids, type Repositories, type SlotRow, type WorkQueue } from './ports.js';
import { type InstanceRecord, type PolicyRecord } from './records.js';

/** Most policies and slots of one pass; what is left over is for the next. */
const BATCH = 1_000;
/** A wake-up that came too early is asked for again after this long: two clocks may differ by a little. */
const TOO_EARLY_MS = 1_000;
/** Slots that are recorded after a downtime; those before are of no use to anybody. */
const MOST_MISSED = 400;

export interface DispatchDeps {
  db: Database;
  ids: Ids;
  /** Default: the database's clock, so that a node whose own clock is off neither runs early nor late. */
  clock?: Clock | undefined;
  log: Log;
  queue: WorkQueue;
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
  /** The net: whatever is due and nobody was woken for. */
  dispatchDue(): Promise<void>;
}

interface Decision {
  /** To be told to the queue after the commit. */
  nextRunAt: Date | null;
  jobId: string | null;
}

/** The planned instants from `plannedAt` to now, oldest first; of a very long time the newest ones. */
const passedSince = (policy: PolicyRecord, plannedAt: Date, now: Date): Date[] => {
  const passed = [plannedAt];
  for (const run of runsAfter(policy, policy.instanceId, plannedAt)) {
    if (run.plannedAt > now) break;
    passed.push(run.plannedAt);
    if (passed.length > MOST_MISSED) passed.shift();
  }
  return passed;
};

export const createDispatcher = ({ db, ids, clock, log, queue, starter, catchUpMs }: DispatchDeps): Dispatcher => {
  const time = (tx: Repositories): Promise<Date> => (clock ? Promise.resolve(clock.now()) : tx.now());

  const missed = (slot: SlotRow, reason: string): SlotRow => {
    log.warn('A planned backup was missed.', { policyId: slot.policyId, plannedAt: slot.plannedAt.toISOString(), reason });
    return { ...slot, state: 'MISSED', reason };
  };

  /** What becomes of a slot now; a busy server leaves it DUE until its catch-up time ends. */
  const attempt = async (tx: Repositories, slot: SlotRow, instance: InstanceRecord | null, now: Date): Promise<SlotRow> => {
    if (!instance || instance.removedAt !== null) return missed(slot, 'The instance was removed.');
    const late = now.getTime() - slot.plannedAt.getTime() > catchUpMs;
    if (late) return missed(slot, slot.reason ?? 'The service was not running in time.');
    const running = await tx.jobs.runningOnServer(instance.server.runId);
    if (running) return { ...slot, reason: 'The server was busy until the catch-up time ended.' };
    try {
      const name = `${instance.name} ${slot.plannedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
      const { job } = await starter.start(tx, { instance, backupId: ids.make('backup'), jobId: ids.make('job'), name: [...name].slice(-128).join(''), trigger: 'SCHEDULED', at: now });
      return { ...slot, state: 'STARTED', jobId: job.id, reason: null };
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      // Lost a race for the server: the slot waits as for any other busy one.
      if (error.code === 'INSTANCE_BUSY') return { ...slot, reason: 'The server was busy until the catch-up time ended.' };
      return missed(slot, error.message);
    }
  };

  /** Takes a policy's due run, if it still is one, and plans the next. `policy` is locked by the caller's transaction. */
  const run = async (tx: Repositories, policy: PolicyRecord, now: Date): Promise<Decision> => {
    const plannedAt = policy.nextRunAt;
    if (plannedAt === null) return { nextRunAt: null, jobId: null };
    if (plannedAt > now) return { nextRunAt: new Date(Math.max(plannedAt.getTime(), (await tx.now()).getTime() + TOO_EARLY_MS)), jobId: null };
    const nextRunAt = nextRun(policy, policy.instanceId, now);
    await tx.policies.save({ ...policy, nextRunAt });
    // After downtime several slots have passed: the newest may still give a run, and stands for the others.
    const passed = passedSince(policy, plannedAt, now);
    const slotAt = (instant: Date): SlotRow => ({
      id: ids.make('slot'), projectId: policy.projectId, policyId: policy.id, instanceId: policy.instanceId, plannedAt: instant, state: 'DUE', jobId: null, reason: null,
    });
    for (const instant of passed.slice(0, -1)) await tx.slots.insert(missed(slotAt(instant), 'The service was not running in time; a later slot has come since.'));
    const slot = slotAt(passed.at(-1) ?? plannedAt);
    if (!(await tx.slots.insert(slot))) return { nextRunAt, jobId: null };
    const decided = await attempt(tx, slot, await tx.instances.lock(policy, policy.instanceId), now);
    await tx.slots.save(decided);
    return { nextRunAt, jobId: decided.jobId };
  };

  /** The job first: it is due now, the next run is not. */
  const announce = async (policyId: string, { nextRunAt, jobId }: Decision): Promise<void> => {
    if (jobId !== null) await queue.enqueueJob(jobId);
    await queue.schedulePolicy(policyId, nextRunAt);
  };

  const runPolicy = async (policyId: string, options: { skipLocked: boolean }): Promise<void> => {
    const decision = await db.transaction(async (tx) => {
      const policy = await tx.policies.lock(policyId, options);
      return policy ? run(tx, policy, await time(tx)) : undefined;
    });
    if (decision) await announce(policyId, decision);
  };

  const runSlot = async (slotId: string): Promise<void> => {
    const jobId = await db.transaction(async (tx) => {
      const slot = await tx.slots.lockWaiting(slotId);
      if (!slot) return null;
      const decided = await attempt(tx, slot, await tx.instances.lock(slot, slot.instanceId), await time(tx));
      await tx.slots.save(decided);
      return decided.jobId;
    });
    if (jobId !== null) await queue.enqueueJob(jobId);
  };

  /** Each in a transaction of its own: one that cannot be decided keeps no other from running, and none holds locks for all. */
  const each = async (found: readonly string[], act: (id: string) => Promise<void>): Promise<unknown[]> => {
    const faults: unknown[] = [];
    for (const id of found) await act(id).catch((error: unknown) => faults.push(error));
    return faults;
  };

  return {
    policyDue: (policyId) => runPolicy(policyId, { skipLocked: false }),
    async dispatchDue() {
      const faults = await each(await db.read.policies.due(await time(db.read), BATCH), (id) => runPolicy(id, { skipLocked: true }));
      faults.push(...(await each(await db.read.slots.waiting(BATCH), runSlot)));
      if (faults.length > 0) throw new AggregateError(faults, `${faults.length} planned runs could not be decided; the next pass tries again.`);
    },
  };
};
