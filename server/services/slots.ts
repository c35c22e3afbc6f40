import { noticeOfMissed } from '../domain/notice.js';
import { type Run, runsAfter } from '../domain/schedule.js';
import { type Log } from '../engine/ports.js';
import { type Ids, type Repositories } from './ports.js';
import { type PolicyRecord, type SlotRecord } from './records.js';

/** Slots that are recorded after a downtime; those before are of no use to anybody. */
const MOST_MISSED = 400;

export interface SlotPlannerDeps {
  ids: Ids;
  log: Log;
}

/** Makes rows of planned instants. Not for callers: over all tenants, in transactions that hold the policy's lock. */
export interface SlotPlanner {
  /**
   * Records the instants of a policy that have come by `now`, by the policy as it is before any change. The newest one waits, DUE, and
   * stands for the others; they are MISSED, as is what waited already. Null when none has come, or when the newest is recorded already.
   */
  recordDue(tx: Repositories, policy: PolicyRecord, now: Date): Promise<SlotRecord | null>;
  /** Tells of slots of one policy that were missed, oldest first: in the log, and whoever wants to be told. */
  tellMissed(tx: Repositories, missed: readonly SlotRecord[], at: Date): Promise<void>;
}

type Planned = Pick<Run, 'plannedAt'> & { weekday: Run['weekday'] | null };

/** From the policy's next run to now, oldest first; of a very long time the newest ones. Never empty. */
const passedSince = (policy: PolicyRecord, next: Date, now: Date): Planned[] => {
  const passed: Planned[] = [];
  for (const run of runsAfter(policy, policy.instanceId, new Date(next.getTime() - 1))) {
    if (run.plannedAt > now) break;
    passed.push(run);
    if (passed.length > MOST_MISSED) passed.shift();
  }
  // What was promised is kept, also when newer zone data would have planned it elsewhere.
  return passed.length > 0 ? passed : [{ plannedAt: next, weekday: null }];
};

export const createSlotPlanner = ({ ids, log }: SlotPlannerDeps): SlotPlanner => {
  const planner: SlotPlanner = {
    async recordDue(tx, policy, now) {
      if (policy.nextRunAt === null || policy.nextRunAt > now) return null;
      const slots = passedSince(policy, policy.nextRunAt, now).map(({ plannedAt, weekday }): SlotRecord => ({
        id: ids.make('slot'), projectId: policy.projectId, policyId: policy.id, instanceId: policy.instanceId, plannedAt, weekday,
        state: 'DUE', startedBy: null, jobId: null, reason: null,
      }));
      const missed: SlotRecord[] = [];
      for (const slot of slots.slice(0, -1)) {
        const over: SlotRecord = { ...slot, state: 'MISSED', reason: 'The service was not running in time; a later slot has come since.' };
        if (await tx.slots.insert(over)) missed.push(over);
      }
      const newest = slots.at(-1);
      if (!newest || !(await tx.slots.insert(newest))) {
        await planner.tellMissed(tx, missed, now);
        return null;
      }
      const waited = await tx.slots.endWaiting(policy.id, newest.id, 'The server was busy until a later slot came.');
      await planner.tellMissed(tx, [...waited, ...missed], now);
      return newest;
    },

    async tellMissed(tx, missed, at) {
      const notice = noticeOfMissed(missed, at);
      if (!notice) return;
      log.warn(missed.length === 1 ? 'A planned backup was missed.' : 'Planned backups were missed.', notice.details);
      await tx.notices.append(notice);
    },
  };
  return planner;
};
