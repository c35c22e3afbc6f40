import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BackupState, type Trigger } from '../../../server/domain/backup.js';
import { type SlotState } from '../../../server/domain/slot.js';
import { createRecoveryService } from '../../../server/services/recovery.service.js';
import { createRecoveryWatch } from '../../../server/services/recovery-watch.js';
import { type InstanceRecord, type RecoveryRecord } from '../../../server/services/records.js';
import { instance as anInstance } from '../graphql/records.js';
import { newId, type Rig, startRig } from './rig.js';

const HOUR = 3_600_000;
const CATCH_UP = 6 * HOUR;

describe('recovery points', () => {
  let rig: Rig;
  let instance: InstanceRecord;
  let policyId: string;
  let now: Date;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.stop());
  beforeEach(async () => {
    for (const table of ['notices', 'backup_policies', 'instances']) await rig.sql(`DELETE FROM ${table}`);
    now = new Date('2026-03-10T12:00:00Z');
    const { projectId } = rig.caller;
    const { server } = anInstance();
    instance = anInstance({ id: newId('instance'), projectId, name: `server ${randomBytes(4).toString('hex')}`, server: { ...server, runId: randomBytes(20).toString('hex') } });
    policyId = newId('policy');
    await rig.db.transaction(async (tx) => {
      await tx.instances.insert(instance, null);
      await tx.policies.insert({
        id: policyId, projectId, instanceId: instance.id, enabled: true, weekdays: ['MONDAY'], startTime: '02:00', windowMinutes: 60, timeZone: 'UTC',
        retentionDays: 7, nextRunAt: new Date('2026-03-11T02:00:00Z'), updatedAt: now,
      });
    });
  });

  const time = () => Promise.resolve(now);
  const recovery = async (): Promise<RecoveryRecord | null | undefined> =>
    (await createRecoveryService({ db: rig.db, time, catchUpMs: CATCH_UP }).getManyByInstance(rig.caller, [instance.id]))[0];
  const status = async (): Promise<string | undefined> => (await recovery())?.status;
  const backup = async (completedAt: string, state: BackupState = 'AVAILABLE', trigger: Trigger = 'SCHEDULED'): Promise<string> => {
    const id = newId('backup');
    const scope = rig.caller;
    await rig.db.transaction(async (tx) => {
      await tx.backups.insert({
        id, projectId: scope.projectId, instanceId: instance.id, jobId: newId('job'), name: id, trigger, engine: 'REDIS', engineVersion: '7.0.15',
        coverage: { kind: 'INSTANCE' }, createdAt: new Date(completedAt),
      });
      await tx.backups.change(scope, id, ['CREATING'], { state, completedAt: new Date(completedAt) });
    });
    return id;
  };
  const slot = (plannedAt: string, state: SlotState, jobId: string | null = null): Promise<boolean> =>
    rig.db.read.slots.insert({
      id: newId('slot'), projectId: rig.caller.projectId, policyId, instanceId: instance.id, plannedAt: new Date(plannedAt), weekday: 'MONDAY', state,
      startedBy: state === 'STARTED' ? 'NET' : null, jobId, reason: state === 'MISSED' ? 'Because.' : null,
    });
  const endJob = (id: string): Promise<unknown> => rig.db.transaction((tx) => tx.jobs.change(id, {}, { state: 'COMPLETED', conclusion: 'SUCCEEDED', completedAt: now }, { kind: 'STATE', at: now }));
  const told = async (): Promise<string[]> => (await rig.sql<{ body: string }>(`SELECT body FROM notices WHERE kind = 'RECOVERY_LATE' ORDER BY id`)).map(({ body }) => (JSON.parse(body) as { instance: { id: string } }).instance.id);
  const look = (): Promise<void> => createRecoveryWatch({ db: rig.db, time, catchUpMs: CATCH_UP, log: rig.log }).look();

  it('are NEVER without a good backup, whatever was tried', async () => {
    expect(await recovery()).toEqual({ instanceId: instance.id, lastAvailableBackupId: null, ageSeconds: null, nextRunAt: new Date('2026-03-11T02:00:00Z'), status: 'NEVER' });
    await backup('2026-03-10T10:00:00Z', 'FAILED');
    await backup('2026-03-10T10:00:00Z', 'DAMAGED');
    await backup('2026-03-10T10:00:00Z', 'AVAILABLE', 'PRE_RESTORE');
    await slot('2026-03-10T02:00:00Z', 'MISSED');
    expect(await status()).toBe('NEVER');
  });

  it('are the newest good backup, with its age', async () => {
    await backup('2026-03-09T02:05:00Z');
    const newest = await backup('2026-03-10T11:59:30.5Z', 'AVAILABLE', 'MANUAL');
    await backup('2026-03-10T11:59:59Z', 'AVAILABLE', 'PRE_RESTORE');
    expect(await recovery()).toMatchObject({ lastAvailableBackupId: newest, ageSeconds: 29, status: 'OK' });
  });

  it('are LATE when a planned run has had its catch-up time and nothing newer is there', async () => {
    await backup('2026-03-09T02:05:00Z');
    await slot('2026-03-10T02:00:00Z', 'MISSED');
    now = new Date('2026-03-10T08:00:00Z');
    expect(await status()).toBe('OK');
    now = new Date('2026-03-10T08:00:00.001Z');
    expect(await status()).toBe('LATE');
    await backup('2026-03-10T08:00:00Z', 'AVAILABLE', 'MANUAL');
    expect(await status()).toBe('OK');
  });

  it('are LATE, too, when nobody has taken the planned run up at all', async () => {
    await backup('2026-03-09T02:05:00Z');
    now = new Date('2026-03-11T08:00:01Z');
    expect(await status()).toBe('LATE');
  });

  it('are not LATE while the backup of the slot itself still runs, and stay LATE while a later one does', async () => {
    await backup('2026-03-09T02:05:00Z');
    const slow = await rig.insertJob({ instanceId: instance.id });
    await slot('2026-03-10T02:00:00Z', 'STARTED', slow.id);
    now = new Date('2026-03-10T13:00:00Z');
    expect(await status()).toBe('OK');
    await endJob(slow.id);
    expect(await status()).toBe('LATE');
    const next = await rig.insertJob({ instanceId: instance.id });
    await slot('2026-03-10T03:00:00Z', 'STARTED', next.id);
    expect(await status()).toBe('LATE');
  });

  it('are DISABLED when nothing is promised', async () => {
    await backup('2026-03-01T02:05:00Z');
    await slot('2026-03-09T02:00:00Z', 'MISSED');
    const [policy] = await rig.db.read.policies.getByInstances(rig.caller, [instance.id]);
    if (!policy) throw new Error('No policy');
    await rig.db.read.policies.save({ ...policy, enabled: false, nextRunAt: null });
    expect(await recovery()).toMatchObject({ status: 'DISABLED', nextRunAt: null, ageSeconds: 9 * 86_400 + 9 * 3_600 + 55 * 60 });
  });

  it('are told of once each time they go late, however many nodes look', async () => {
    await backup('2026-03-09T02:05:00Z');
    await slot('2026-03-10T02:00:00Z', 'MISSED');
    await look();
    await Promise.all(Array.from({ length: 5 }, look));
    expect(await told()).toEqual([instance.id]);
    const [{ body } = { body: '' }] = await rig.sql<{ body: string }>('SELECT body FROM notices');
    expect(JSON.parse(body)).toMatchObject({
      kind: 'RECOVERY_LATE', projectId: rig.caller.projectId, instance: { id: instance.id, name: instance.name }, at: now.toISOString(),
      details: { completedAt: '2026-03-09T02:05:00.000Z', plannedAt: '2026-03-10T02:00:00.000Z', ageSeconds: 33 * 3_600 + 55 * 60 },
    });
    // A change of the policy leaves it as it is known.
    const [policy] = await rig.db.read.policies.getByInstances(rig.caller, [instance.id]);
    if (!policy) throw new Error('No policy');
    await rig.db.read.policies.save({ ...policy, startTime: '03:00' });
    await look();
    expect(await told()).toHaveLength(1);

    await backup('2026-03-10T11:00:00Z');
    await look();
    expect(await rig.sql('SELECT late_since FROM backup_policies WHERE id = $1', [policyId])).toEqual([{ late_since: null }]);
    await slot('2026-03-11T02:00:00Z', 'MISSED');
    now = new Date('2026-03-11T12:00:00Z');
    await look();
    await look();
    expect(await told()).toEqual([instance.id, instance.id]);
  });

  it('have ages of all protected instances, those without a good backup too', async () => {
    const without = anInstance({ id: newId('instance'), projectId: rig.caller.projectId, name: 'without', server: { ...instance.server, runId: 'none' } });
    const removed = anInstance({ id: newId('instance'), projectId: rig.caller.projectId, name: 'removed', removedAt: now, server: { ...instance.server, runId: 'gone' } });
    for (const row of [without, removed]) await rig.db.read.instances.insert(row, null);
    await backup(new Date(Date.now() - 90_000).toISOString());
    const ages = new Map((await rig.db.read.recovery.ages()).map(({ id, name, seconds }) => [id, { name, seconds }]));
    expect(ages.get(without.id)).toEqual({ name: 'without', seconds: null });
    expect(ages.has(removed.id)).toBe(false);
    expect(ages.get(instance.id)?.name).toBe(instance.name);
    expect(ages.get(instance.id)?.seconds).toBeGreaterThanOrEqual(90);
    expect(ages.get(instance.id)?.seconds).toBeLessThan(100);
  });
});
