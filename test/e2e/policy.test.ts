import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';

const HOUR = 3_600_000;

/** A clock that tests move; the database's own clock, which leases are judged by, goes on as ever. */
const movableClock = (start: string) => {
  let offset = new Date(start).getTime() - Date.now();
  return { now: () => new Date(Date.now() + offset), moveTo: (to: Date) => (offset = to.getTime() - Date.now()) };
};

describe('policies', () => {
  const clock = movableClock('2026-03-27T12:00:00Z');
  let service: TestService;
  let redis: RedisServer;

  beforeAll(async () => {
    [service, redis] = await Promise.all([startService({ clock, env: { DEFAULT_TIME_ZONE: 'Europe/Berlin' } }), startRedis()]);
    await redis.cli('SET', 'key', 'value');
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), redis?.stop()]);
  });

  const sql = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> => {
    const client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    try {
      return (await client.query(text, values)).rows as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };

  it('turns a planned run into exactly one SCHEDULED backup, and plans the next across the change to summer time', async () => {
    const { sdk, app } = service;
    const instance = await sdk.instances.register({ name: 'scheduled', host: redis.host, port: redis.port });
    const policy = await sdk.policies.get(instance.id, { upcomingRuns: 4 });
    expect(policy).toMatchObject({ enabled: true, startTime: '02:00', windowMinutes: 60, timeZone: 'Europe/Berlin', retentionDays: 7 });
    expect(policy?.weekdays).toHaveLength(7);

    // Berlin goes from +01:00 to +02:00 on 29 March at 02:00: that day has no 02:00, its window opens at 03:00 local, 01:00 UTC.
    const days = policy?.upcomingRuns.map(({ windowStart }) => windowStart);
    expect(days).toEqual(['2026-03-28T01:00:00.000Z', '2026-03-29T01:00:00.000Z', '2026-03-30T00:00:00.000Z', '2026-03-31T00:00:00.000Z']);
    const planned = new Date(policy?.nextRunAt ?? 0);
    expect(policy?.upcomingRuns[0]?.plannedAt).toBe(policy?.nextRunAt);

    clock.moveTo(new Date(planned.getTime() - 1_000));
    await app.dispatcher.policyDue(policy?.id ?? '');
    expect(await sdk.backups.list({ triggers: ['SCHEDULED'] }).toArray({ limit: 10 })).toEqual([]);

    clock.moveTo(new Date(planned.getTime() + 500));
    await Promise.all([app.dispatcher.policyDue(policy?.id ?? ''), app.dispatcher.dispatchDue(), app.dispatcher.policyDue(policy?.id ?? '')]);
    const [backup, ...others] = await waitFor(async () => {
      const found = await sdk.backups.list({ triggers: ['SCHEDULED'] }).toArray({ limit: 10 });
      return found.length > 0 ? found : null;
    }, { message: 'a scheduled backup' });
    expect(others).toEqual([]);
    expect(await sdk.backups.wait(backup?.id ?? '')).toMatchObject({ state: 'AVAILABLE', trigger: 'SCHEDULED', keys: '1' });
    const after = await sdk.policies.get(instance.id);
    expect(after?.nextRunAt).toBe(policy?.upcomingRuns[1]?.plannedAt);
    expect(await sql('SELECT state FROM slots WHERE policy_id = $1', [policy?.id])).toEqual([{ state: 'STARTED' }]);
  });

  it('runs once after a downtime inside the catch-up time, and records a run past it as MISSED', async () => {
    const { sdk, app } = service;
    const [instance] = await sdk.instances.list({ nameContains: 'scheduled' }).toArray({ limit: 1 });
    const before = await sdk.policies.get(instance?.id ?? '');
    const runs = async (): Promise<number> => (await sdk.backups.list({ triggers: ['SCHEDULED'] }).toArray({ limit: 100 })).length;
    const count = await runs();

    // Two days down, back four hours (five, as the clocks have changed) after the third instant: that one may still run, and stands for the two before.
    clock.moveTo(new Date(new Date(before?.nextRunAt ?? 0).getTime() + 2 * 24 * HOUR + 4 * HOUR));
    await app.dispatcher.dispatchDue();
    // Agenda may have been first; then the row is being worked on, and this pass has skipped it.
    await waitFor(async () => (await runs()) === count + 1, { message: 'the caught-up run' });
    expect(await sql(`SELECT reason FROM slots WHERE state = 'MISSED' ORDER BY planned_at`)).toEqual([1, 2].map(() => ({ reason: expect.stringContaining('a later slot') as string })));

    // Back too late for the newest: no run.
    const next = await sdk.policies.get(instance?.id ?? '');
    clock.moveTo(new Date(new Date(next?.nextRunAt ?? 0).getTime() + 7 * HOUR));
    await app.dispatcher.dispatchDue();
    await waitFor(async () => (await sql(`SELECT reason FROM slots WHERE state = 'MISSED'`)).length === 3, { message: 'the third MISSED slot' });
    expect(await sql(`SELECT reason FROM slots WHERE state = 'MISSED' ORDER BY planned_at DESC LIMIT 1`)).toEqual([{ reason: 'The service was not running in time.' }]);
    expect(await runs()).toBe(count + 1);
    await waitFor(async () => (await sdk.jobs.list({ states: ['QUEUED', 'RUNNING'] }).toArray({ limit: 1 })).length === 0, { message: 'the caught-up run ends' });
  });

  it('plans nothing while it is off, and again when it is on', async () => {
    const { sdk } = service;
    const [instance] = await sdk.instances.list({ nameContains: 'scheduled' }).toArray({ limit: 1 });
    const instanceId = instance?.id ?? '';
    expect(await sdk.policies.set({ instanceId, enabled: false })).toMatchObject({ enabled: false, nextRunAt: null });
    const on = await sdk.policies.set({ instanceId, enabled: true, weekdays: ['SUNDAY', 'MONDAY'], startTime: '23:30', windowMinutes: 90, timeZone: '+08:00' });
    expect(on).toMatchObject({ enabled: true, weekdays: ['MONDAY', 'SUNDAY'], startTime: '23:30', timeZone: '+08:00' });
    expect(new Date(on.nextRunAt ?? 0).getTime()).toBeGreaterThan(clock.now().getTime());
  });
});

describe('the clock', () => {
  it('starts a planned run at its instant, also after a restart', async () => {
    const [service, redis] = await Promise.all([startService(), startRedis()]);
    try {
      const { id } = await service.sdk.instances.register({ name: 'ticking', host: redis.host, port: redis.port });
      const client = new Client({ connectionString: service.databaseUrl });
      await client.connect();
      await client.query(`UPDATE backup_policies SET next_run_at = now() + interval '12 seconds' WHERE instance_id = $1`, [id]);
      await service.restart();
      const [row] = (await client.query('SELECT next_run_at FROM backup_policies WHERE instance_id = $1', [id])).rows as { next_run_at: Date }[];
      await client.end();
      const planned = row?.next_run_at ?? new Date(0);
      const backup = await waitFor(async () => (await service.sdk.backups.list({ triggers: ['SCHEDULED'] }).toArray({ limit: 1 }))[0], { intervalMs: 50, message: 'a scheduled backup' });
      const late = new Date(backup.createdAt).getTime() - planned.getTime();
      expect(late).toBeGreaterThanOrEqual(0);
      // By itself: the net, which looks each half minute, would say so.
      expect(late).toBeLessThan(30_000);
      expect(await service.sdk.instances.slots(id).first()).toMatchObject({ state: 'STARTED', startedBy: 'AGENDA_JOB', plannedAt: planned.toISOString() });
    } finally {
      await Promise.all([service.stop(), redis.stop()]);
    }
  });
});
