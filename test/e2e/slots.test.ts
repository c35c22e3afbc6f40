import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { type Instance } from '@snapback/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../server/config/config.js';
import { makeId } from '../../server/domain/ids.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { backUp, caught, register } from './scene.js';

describe('slots and recovery points', () => {
  let service: TestService;
  let redis: RedisServer;
  let client: Client;
  let instance: Instance;
  beforeAll(async () => {
    [service, redis] = await Promise.all([startService({ env: { NET_SECONDS: '1' } }), startRedis()]);
    client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    instance = await register(service, 'orders "1"', redis);
  });
  afterAll(async () => {
    await client?.end();
    await Promise.all([service?.stop(), redis?.stop()]);
  });

  const metrics = async (): Promise<string> => (await fetch(`${service.url}/metrics`)).text();

  it('show what could be restored, and when there will be something newer', async () => {
    const policy = await service.sdk.policies.get(instance);
    expect(instance.recovery).toEqual({ lastAvailableBackup: null, ageSeconds: null, nextRunAt: policy?.nextRunAt, status: 'NEVER' });
    expect(await metrics()).toContain(`snapback_last_good_backup_age_seconds{instance="${instance.id}",name="orders \\"1\\""} +Inf`);
    const backup = await backUp(service, instance.id);
    const { recovery } = (await service.sdk.instances.get(instance)) ?? {};
    expect(recovery).toMatchObject({ lastAvailableBackup: { id: backup.id, name: 'backup', completedAt: backup.completedAt }, nextRunAt: policy?.nextRunAt, status: 'OK' });
    expect(recovery?.ageSeconds).toBeLessThan(20);
    expect(await metrics()).toMatch(new RegExp(`snapback_last_good_backup_age_seconds\\{instance="${instance.id}",name="[^}]*"\\} \\d`));
    await service.sdk.policies.set({ instanceId: instance.id, enabled: false });
    expect(await service.sdk.instances.recovery(instance)).toMatchObject({ lastAvailableBackup: { id: backup.id }, nextRunAt: null, status: 'DISABLED' });
    await service.sdk.policies.set({ instanceId: instance.id, enabled: true });
    expect(await service.sdk.instances.recovery('ins_00000000000000000000000000')).toBeNull();
  });

  it('a run whose Agenda jobs are all gone is started by the net within a minute, and says so', async () => {
    const { rows } = await client.query<{ next_run_at: Date }>(`UPDATE backup_policies SET next_run_at = clock_timestamp() + interval '2 seconds' WHERE instance_id = $1 RETURNING next_run_at`, [instance.id]);
    await client.query('DELETE FROM agenda_jobs');
    const planned = rows[0]?.next_run_at ?? new Date(0);
    const slot = await waitFor(() => service.sdk.instances.slots(instance, { states: ['STARTED'] }).first(), { message: 'the net to start the run' });
    expect(slot).toMatchObject({ instance: { id: instance.id }, plannedAt: planned.toISOString(), state: 'STARTED', startedBy: 'NET', reason: null, job: { state: expect.any(String) as string } });
    const late = new Date(slot.job?.createdAt ?? 0).getTime() - planned.getTime();
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(60_000);
    expect(await service.sdk.backups.wait(slot.job?.backup?.id ?? '')).toMatchObject({ state: 'AVAILABLE', trigger: 'SCHEDULED' });
    // Agenda has been told of the next run: that one will be on time again.
    const policy = await service.sdk.policies.get(instance);
    const { rows: pending } = await client.query<{ next_run_at: Date }>(`SELECT next_run_at FROM agenda_jobs WHERE name = 'policy-due' AND data ->> 'subject' = $1`, [policy?.id]);
    expect(pending.map((row) => row.next_run_at.toISOString())).toEqual([policy?.nextRunAt]);
  });

  it('the net\'s default leaves room in that minute', () => {
    expect(readConfig({}).netMs).toBeLessThanOrEqual(30_000);
  });

  it('are a list by their instants, newest first, which is paged and filtered', async () => {
    const { sdk } = service;
    const policy = await sdk.policies.get(instance);
    const days = [1, 2, 3, 4, 5].map((day) => new Date(Date.UTC(2026, 0, day, 2)));
    for (const [index, plannedAt] of days.entries()) {
      await client.query(
        `INSERT INTO slots (id, project_id, policy_id, instance_id, planned_at, weekday, state, reason)
         SELECT $1, project_id, $2, instance_id, $3, 'MONDAY', 'MISSED', $4 FROM backup_policies WHERE id = $2`,
        [makeId('slot', new Date(), randomBytes(10)), policy?.id, plannedAt, `reason ${index}`],
      );
    }
    const all = await sdk.instances.slots(instance, { pageSize: 2 }).toArray({ limit: 100 });
    expect(all.map(({ state }) => state)).toEqual(['STARTED', 'MISSED', 'MISSED', 'MISSED', 'MISSED', 'MISSED']);
    expect(all.slice(1).map(({ plannedAt, reason, weekday, startedBy, job }) => ({ plannedAt, reason, weekday, startedBy, job })))
      .toEqual(days.map((day, index) => ({ plannedAt: day.toISOString(), reason: `reason ${index}`, weekday: 'MONDAY', startedBy: null, job: null })).reverse());
    const missed = sdk.instances.slots(instance, { states: ['MISSED'], order: 'OLDEST_FIRST', pageSize: 3 });
    expect((await missed.toArray({ limit: 100 })).map(({ plannedAt }) => plannedAt)).toEqual(days.map((day) => day.toISOString()));
    for await (const page of missed.pages()) expect(page.totalCount).toBe(5);
    const backwards = await fetch(`${service.url}/graphql`, {
      method: 'POST', headers: { 'content-type': 'application/json', authorization: `Bearer ${service.key}` },
      body: JSON.stringify({ query: `{ instance(id: "${instance.id}") { slots(last: 2) { nodes { plannedAt } pageInfo { hasPreviousPage } } } node(id: "${all[0]?.id}") { __typename ... on Slot { job { kind } } } }` }),
    });
    expect(await backwards.json()).toEqual({
      data: {
        instance: { slots: { nodes: [{ plannedAt: days[1]?.toISOString() }, { plannedAt: days[0]?.toISOString() }], pageInfo: { hasPreviousPage: true } } },
        node: { __typename: 'Slot', job: { kind: 'BACKUP' } },
      },
    });
    expect(await caught(sdk.instances.slots('ins_00000000000000000000000000').first())).toMatchObject({ code: 'NOT_FOUND' });
    expect(await caught(sdk.instances.slots(instance, { after: 'made up' }).first())).toMatchObject({ code: 'BAD_INPUT' });
  });
});
