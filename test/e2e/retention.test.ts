import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance } from '@snapback/sdk';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { archivesOf, backUp, refusal, register, storedFiles } from './scene.js';

describe('retention', () => {
  let service: TestService;
  let source: RedisServer;
  let instance: Instance;
  let database: Client;

  beforeAll(async () => {
    [service, source] = await Promise.all([startService({ env: { MAX_DELETIONS: '50' } }), startRedis()]);
    await source.cli('SET', 'key', 'value');
    instance = await register(service, 'source', source);
    database = new Client({ connectionString: service.databaseUrl });
    await database.connect();
  });
  afterAll(async () => {
    await database?.end();
    await Promise.all([service?.stop(), source?.stop()]);
  });

  const age = async ({ id }: Backup, days: number): Promise<void> => {
    await database.query(`UPDATE backups SET completed_at = completed_at - $2 * interval '1 day', expires_at = expires_at - $2 * interval '1 day' WHERE id = $1`, [id, days]);
  };
  const preview = async (filter = {}): Promise<Record<string, string>> =>
    Object.fromEntries((await service.sdk.backups.retentionPreview(filter).toArray({ limit: 100 })).map(({ backup, action, because }) => [backup.name, `${action} ${because}`]));

  it('shows beforehand what the next pass does with each backup and why, and the pass does it', async () => {
    const { sdk, app } = service;
    const [old, read, newest] = [await backUp(service, instance.id, 'old'), await backUp(service, instance.id, 'read'), await backUp(service, instance.id, 'newest')];
    expect(await preview()).toEqual({ old: 'KEEP NOT_EXPIRED', read: 'KEEP NOT_EXPIRED', newest: 'KEEP NOT_EXPIRED' });
    for (const backup of [old, read, newest]) await age(backup, 8);
    const { url } = await sdk.backups.link(read);
    await database.query(`INSERT INTO backup_leases (id, project_id, backup_id, holder, expires_at) SELECT 'lease', project_id, id, 'test', now() + interval '1 minute' FROM backups WHERE id = $1`, [read.id]);
    const verdicts = { old: 'DELETE EXPIRED', read: 'KEEP IN_USE', newest: 'KEEP NEWEST_GOOD' };
    expect(await preview()).toEqual(verdicts);
    expect(await preview({ instanceId: instance.id, pageSize: 1, order: 'OLDEST_FIRST' })).toEqual(verdicts);
    expect(await preview({ instanceId: `ins_${'0'.repeat(26)}` })).toEqual({});
    expect(await refusal(sdk.backups.retentionPreview({ instanceId: 'x' }).first())).toMatchObject({ code: 'BAD_INPUT' });
    expect(await sdk.backups.get(read)).toMatchObject({ retainedBecause: 'IN_USE' });
    expect(await sdk.backups.get(newest)).toMatchObject({ retainedBecause: 'NEWEST_GOOD' });

    const before = Date.now();
    expect(await app.upkeep.pass()).toMatchObject({ removed: 1, stoppedBecause: null });
    expect(await preview()).toEqual({ read: 'KEEP IN_USE', newest: 'KEEP NEWEST_GOOD' });
    expect(await sdk.backups.get(old)).toMatchObject({ state: 'DELETED' });
    expect(await storedFiles(service)).toEqual(archivesOf(read.id, newest.id));
    expect((await fetch(url)).status).toBe(200);
    const { retention } = await sdk.service.info();
    expect(retention).toMatchObject({ maxDeletions: 50, stoppedBecause: null });
    expect(Math.abs(Date.parse(retention.lastPassAt!) - before)).toBeLessThan(10_000);
    expect(Date.parse(retention.nextPassAt!) - Date.parse(retention.lastPassAt!)).toBe(600_000);

    await database.query(`DELETE FROM backup_leases`);
    expect(await preview()).toEqual({ read: 'DELETE EXPIRED', newest: 'KEEP NEWEST_GOOD' });
    // A removed instance keeps nothing past its time.
    await sdk.instances.remove(instance);
    expect(await preview()).toEqual({ read: 'DELETE EXPIRED', newest: 'DELETE EXPIRED' });
    expect(await app.upkeep.pass()).toMatchObject({ removed: 2 });
    expect(await storedFiles(service)).toEqual([]);
  });

  it('shows that nothing goes while it stands still', async () => {
    const { sdk, app } = service;
    const again = await register(service, 'again', source);
    const [old] = [await backUp(service, again.id, 'old'), await backUp(service, again.id, 'new')];
    await age(old!, 8);
    await database.query(`UPDATE service_settings SET value = 'another' WHERE name = 'catalogue-id'`);
    expect(await preview()).toEqual({ old: 'KEEP STOPPED', new: 'KEEP NOT_EXPIRED' });
    expect((await sdk.service.info()).retention.stoppedBecause).toContain('store:adopt');
    // While it stands still, the service looks by itself every few seconds, too.
    expect(await waitFor(() => app.upkeep.pass())).toMatchObject({ removed: 0 });
    expect(await sdk.backups.get(old!)).toMatchObject({ state: 'AVAILABLE' });
  });

  it('passes by itself, at the start and regularly', async () => {
    const quick = await startService({ env: { UPKEEP_SECONDS: '1' } });
    try {
      const own = await register(quick, 'own', source);
      const [old] = [await backUp(quick, own.id, 'old'), await backUp(quick, own.id, 'new')];
      const client = new Client({ connectionString: quick.databaseUrl });
      await client.connect();
      await client.query(`UPDATE backups SET completed_at = completed_at - interval '8 days', expires_at = expires_at - interval '8 days' WHERE id = $1`, [old!.id]);
      await client.end();
      await waitFor(async () => (await quick.sdk.backups.get(old!))?.state === 'DELETED');
      expect(await (await fetch(`${quick.url}/metrics`)).text()).toMatch(/snapback_retention_stopped 0\n[^]*snapback_upkeep_last_pass_timestamp_seconds 1\d{9}/);
    } finally {
      await quick.stop();
    }
  });
});
