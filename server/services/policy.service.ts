import { DomainError } from '../domain/errors.js';
import { authorise } from '../domain/principal.js';
import { nextRun, upcomingRuns, validatePolicy, WEEKDAYS } from '../domain/schedule.js';
import { type Clock } from '../engine/ports.js';
import { type PolicyApi } from './api.js';
import { givenFields, noted } from './audit.js';
import { once, recalled } from './idempotency.js';
import { inOrder } from './order.js';
import { type Database, type WorkQueue } from './ports.js';
import { lockedInstance, protectedInstance } from './protected-instance.js';
import { type PolicyRecord, type SlotRecord } from './records.js';
import { type ScheduleTime } from './schedule-time.js';
import { type SlotPlanner } from './slots.js';

export interface PolicyServiceDeps {
  db: Database;
  clock: Clock;
  time: ScheduleTime;
  queue: WorkQueue;
  slots: SlotPlanner;
}

export const createPolicyService = ({ db, clock, time, queue, slots }: PolicyServiceDeps): PolicyApi => ({
  async get(caller, id) {
    authorise(caller, 'read');
    return db.read.policies.get(caller, id);
  },

  async getManyByInstance(caller, instanceIds) {
    authorise(caller, 'read');
    return inOrder(instanceIds, await db.read.policies.getByInstances(caller, instanceIds), ({ instanceId }) => instanceId);
  },

  async set(caller, input) {
    authorise(caller, 'operate');
    const { idempotencyKey: key, ...given } = input;
    const call = { mutation: 'setBackupPolicy', key, input: given, ids: {}, at: clock.now() };
    const { saved, due } = await db.transaction((tx) => once<{ saved: PolicyRecord; due: SlotRecord | null }>(tx, caller, call, async () => {
      await protectedInstance(tx, caller, input.instanceId);
      const [found] = await tx.policies.getByInstances(caller, [input.instanceId]);
      // A run that comes due just now is decided by the policy as it was: wait for it.
      const policy = found && (await tx.policies.lock(found.id));
      if (!policy) throw new DomainError('NOT_FOUND', `Instance ${input.instanceId} has no policy.`, { field: ['instanceId'] });
      const now = await time(tx);
      // A run whose instant has come, and which nobody has taken yet, was planned by the policy as it was: the change applies from the next one.
      const recorded = await slots.recordDue(tx, policy, now);
      // A removal meanwhile has ended the policy for good.
      await lockedInstance(tx, caller, input.instanceId);
      const weekdays = input.weekdays ?? policy.weekdays;
      const changed: PolicyRecord = {
        ...policy,
        enabled: input.enabled ?? policy.enabled,
        weekdays: WEEKDAYS.filter((day) => weekdays.includes(day)),
        startTime: input.startTime ?? policy.startTime,
        windowMinutes: input.windowMinutes ?? policy.windowMinutes,
        timeZone: input.timeZone ?? policy.timeZone,
        updatedAt: now,
      };
      const [issue, ...others] = validatePolicy(changed);
      if (issue) throw new DomainError('BAD_INPUT', [issue, ...others].map(({ message }) => message).join(' '), { field: issue.field });
      changed.nextRunAt = nextRun(changed, changed.instanceId, now);
      await tx.policies.save(changed);
      await noted(tx, caller, { action: 'POLICY_SET', objectId: changed.id, instanceId: changed.instanceId, details: { fields: givenFields(input) }, at: now });
      return { saved: changed, due: recorded };
    }, async () => ({ saved: recalled((await tx.policies.getByInstances(caller, [input.instanceId]))[0] ?? null), due: null })));
    await queue.schedulePolicy(saved.id, due?.plannedAt ?? saved.nextRunAt);
    return saved;
  },

  upcomingRuns(caller, policy, first) {
    authorise(caller, 'read');
    if (first < 1 || first > 100) throw new DomainError('BAD_INPUT', '"first" must be from 1 to 100.', { field: ['first'] });
    return upcomingRuns(policy, policy.instanceId, clock.now(), first).map(({ plannedAt, windowStart, windowEnd, weekday }) => ({ plannedAt, windowStart, windowEnd, weekday }));
  },
});
