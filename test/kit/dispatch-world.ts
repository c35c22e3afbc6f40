import { type DomainError } from '../../server/domain/errors.js';
import { type IdKind } from '../../server/domain/ids.js';
import { type Notice } from '../../server/domain/notice.js';
import { nextRun, type SchedulePolicy } from '../../server/domain/schedule.js';
import { type BackupStart, type BackupStarter } from '../../server/services/backup-start.js';
import { type PolicyApi } from '../../server/services/api.js';
import { createDispatcher, type Dispatcher } from '../../server/services/dispatch.service.js';
import { createPolicyService } from '../../server/services/policy.service.js';
import { type Database, type PlannedPlace, type Repositories, type WorkQueue } from '../../server/services/ports.js';
import { type InstanceRecord, type JobRecord, type PolicyRecord, type SlotRecord } from '../../server/services/records.js';
import { scheduleTime } from '../../server/services/schedule-time.js';
import { createSlotPlanner, type SlotPlanner } from '../../server/services/slots.js';

export const PROJECT = 'prj_world';

/** The dispatcher as it is, over rows in memory, with a clock that only the test moves. One thing at a time: what locks are for is shown elsewhere. */
export class DispatchWorld {
  now = 0;
  readonly policies = new Map<string, PolicyRecord>();
  readonly instances = new Map<string, InstanceRecord>();
  /** By policy and instant, as the unique index has them. */
  readonly slots = new Map<string, SlotRecord>();
  readonly notices: Notice[] = [];
  /** Backups that were started; they end when the test takes them away. */
  readonly started: BackupStart[] = [];
  /** Servers that something works on. */
  readonly busy = new Set<string>();
  /** What Agenda holds: the next instant of each policy. */
  readonly pending = new Map<string, number>();
  readonly dispatcher: Dispatcher;
  readonly planner: SlotPlanner;
  readonly policyApi: PolicyApi;
  readonly db: Database;
  private ids = 0;

  constructor(options: { catchUpMs: number; refuse?: (start: BackupStart) => DomainError | undefined }) {
    const clock = { now: () => new Date(this.now) };
    const ids = { make: (kind: IdKind) => `${kind}_${String((this.ids += 1))}` };
    const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    const starter: Pick<BackupStarter, 'start'> = {
      start: (_tx, start) => {
        const refusal = options.refuse?.(start);
        if (refusal) return Promise.reject(refusal);
        this.started.push(start);
        return Promise.resolve({ backup: {}, job: { id: start.jobId } } as Awaited<ReturnType<BackupStarter['start']>>);
      },
    };
    const repositories = this.repositories();
    this.db = { read: repositories, transaction: (work) => work(repositories), isTransient: () => false };
    this.planner = createSlotPlanner({ ids, log: quiet });
    const queue: WorkQueue = {
      enqueueJob: () => Promise.resolve(),
      schedulePolicy: (policyId, at) => {
        if (at) this.pending.set(policyId, at.getTime());
        else this.pending.delete(policyId);
        return Promise.resolve();
      },
    };
    const deps = { db: this.db, time: scheduleTime(clock), slots: this.planner, queue };
    this.dispatcher = createDispatcher({ ...deps, ids, starter: starter as BackupStarter, catchUpMs: options.catchUpMs });
    this.policyApi = createPolicyService({ ...deps, clock });
  }

  /** An instance with its policy, as if registered now. Agenda is told of its next run. */
  add(instanceId: string, schedule: SchedulePolicy): PolicyRecord {
    this.instances.set(instanceId, { id: instanceId, projectId: PROJECT, name: instanceId, removedAt: null, server: { runId: `server of ${instanceId}` } } as InstanceRecord);
    const policy: PolicyRecord = {
      ...schedule, id: `policy of ${instanceId}`, projectId: PROJECT, instanceId, retentionDays: 7, updatedAt: new Date(this.now),
      nextRunAt: nextRun(schedule, instanceId, new Date(this.now)),
    };
    this.policies.set(policy.id, policy);
    if (policy.nextRunAt) this.pending.set(policy.id, policy.nextRunAt.getTime());
    return policy;
  }

  /** The policy as it is now. */
  policy(instanceId: string): PolicyRecord {
    const policy = this.policies.get(`policy of ${instanceId}`);
    if (!policy) throw new Error(`No policy of ${instanceId}`);
    return policy;
  }

  slotsOf(instanceId: string): SlotRecord[] {
    return [...this.slots.values()].filter((slot) => slot.instanceId === instanceId).sort((a, b) => a.plannedAt.getTime() - b.plannedAt.getTime());
  }

  /** Lets Agenda deliver everything up to `until`, each at its instant, soonest first; the clock ends there. */
  async live(until: number, onDelivery?: (policyId: string) => Promise<void>): Promise<void> {
    for (;;) {
      let next: [string, number] | undefined;
      for (const entry of this.pending) if (entry[1] < (next?.[1] ?? until)) next = entry;
      if (!next) break;
      this.pending.delete(next[0]);
      this.now = Math.max(this.now, next[1]);
      await this.dispatcher.policyDue(next[0]);
      await onDelivery?.(next[0]);
    }
    this.now = until;
  }

  private repositories(): Repositories {
    const key = (slot: SlotRecord): string => `${slot.policyId} ${slot.plannedAt.getTime()}`;
    const due = new Map<string, SlotRecord>();
    const waiting = (): SlotRecord[] => [...due.values()];
    const put = (slot: SlotRecord): void => {
      this.slots.set(key(slot), slot);
      if (slot.state === 'DUE') due.set(slot.id, slot);
      else due.delete(slot.id);
    };
    const paged = (places: PlannedPlace[], after: PlannedPlace | null, limit: number): Promise<PlannedPlace[]> => {
      const order = (a: PlannedPlace, b: PlannedPlace): number => a.plannedAt.getTime() - b.plannedAt.getTime() || (a.id < b.id ? -1 : 1);
      return Promise.resolve(places.filter((place) => !after || order(place, after) > 0).sort(order).slice(0, limit));
    };
    const planned = (until: Date): PlannedPlace[] =>
      [...this.policies.values()].flatMap(({ id, nextRunAt }) => (nextRunAt && nextRunAt <= until ? [{ id, plannedAt: nextRunAt }] : []));
    const parts: { [K in 'now' | 'policies' | 'slots' | 'instances' | 'jobs' | 'notices' | 'audit']: Partial<Repositories[K]> } = {
      now: () => Promise.resolve(new Date(this.now)),
      policies: {
        get: (_scope, id) => Promise.resolve(this.policies.get(id) ?? null),
        getByInstances: (_scope, ids) => Promise.resolve([...this.policies.values()].filter(({ instanceId }) => ids.includes(instanceId))),
        lock: (id) => Promise.resolve(this.policies.get(id) ?? null),
        save: (policy) => Promise.resolve(void this.policies.set(policy.id, policy)),
        due: (now, after, limit) => paged(planned(now), after, limit),
        planned: (within) => Promise.resolve(planned(within?.to ?? new Date(8.64e15)).filter(({ plannedAt }) => !within || plannedAt >= within.from).map(({ id, plannedAt }) => ({ id, nextRunAt: plannedAt }))),
      },
      slots: {
        insert: (slot) => {
          if (this.slots.has(key(slot))) return Promise.resolve(false);
          put(slot);
          return Promise.resolve(true);
        },
        waiting: (after, limit) => paged(waiting(), after, limit),
        waitingOf: (policyId) => Promise.resolve(waiting().filter((slot) => slot.policyId === policyId).map(({ id }) => id)),
        lockWaiting: (id) => Promise.resolve(due.get(id) ?? null),
        endWaiting: (policyId, exceptId, reason) => {
          const ended = waiting().filter((slot) => slot.policyId === policyId && slot.id !== exceptId).map((slot): SlotRecord => ({ ...slot, state: 'MISSED', reason }));
          for (const slot of ended) put(slot);
          return Promise.resolve(ended);
        },
        save: (slot) => Promise.resolve(put(slot)),
      },
      instances: { get: (_scope, id) => Promise.resolve(this.instances.get(id) ?? null), lock: (_scope, id) => Promise.resolve(this.instances.get(id) ?? null) },
      jobs: { runningOnServer: (runId) => Promise.resolve(this.busy.has(runId) ? ({ id: 'job_busy' } as JobRecord) : null) },
      audit: { makeId: () => 'aud_1', lockEnd: ({ projectId }) => Promise.resolve({ projectId, sequence: 0n, hash: Buffer.alloc(32) }), append: () => Promise.resolve() },
      notices: { append: (notice) => Promise.resolve(void this.notices.push(notice)) },
    };
    return parts as unknown as Repositories;
  }
}
