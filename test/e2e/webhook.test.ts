import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client } from 'pg';
import { type Instance } from '@snapback/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NOTICE_KINDS } from '../../server/domain/notice.js';
import { codeIn, readBlocks, readTable } from '../kit/docs.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { type Delivery, startReceiver, type Receiver } from '../kit/webhook.js';
import { backUp, caught, register } from './scene.js';

const DOC = 'server/README.md';
const SECRET = 'sixteen letters and some more';
const codeOf = (name: string): string => readBlocks(DOC).find(({ run }) => run === name)?.code ?? '';

interface Notice {
  id: string;
  kind: string;
  at: string;
  projectId: string | null;
  instance: { id: string; name: string } | null;
  message: string;
  details: Record<string, unknown>;
}
type ReadNotice = (headers: Delivery['headers'], body: string, secret: string) => Notice | null;

describe('the webhook', () => {
  let service: TestService;
  let redis: RedisServer;
  let receiver: Receiver;
  let client: Client;
  let instance: Instance;
  let folder: string;
  let readNotice: ReadNotice;
  beforeAll(async () => {
    folder = makeTempDir('receiver');
    const module = join(folder, 'receiver.mjs');
    writeFileSync(module, codeOf('webhook'));
    ({ readNotice } = (await import(/* @vite-ignore */ pathToFileURL(module).href)) as { readNotice: ReadNotice });
    rmSync(module);
    receiver = await startReceiver();
    [service, redis] = await Promise.all([startService({ env: { NET_SECONDS: '1', UPKEEP_SECONDS: '1', WEBHOOK_URL: receiver.url, WEBHOOK_SECRET: SECRET } }), startRedis()]);
    client = new Client({ connectionString: service.databaseUrl });
    await client.connect();
    instance = await register(service, 'orders', redis);
  });
  afterAll(async () => {
    await client?.end();
    await Promise.all([service?.stop(), redis?.stop()]);
    await receiver?.stop();
    await removeTempDir(folder);
  });

  /** The first of a kind, read as the manual says. */
  const told = async (kind: string): Promise<{ notice: Notice; delivery: Delivery }> => {
    const delivery = await waitFor(() => receiver.deliveries.find(({ headers }) => headers['x-snapback-kind'] === kind), { message: () => `${kind}; logged: ${service.logs().slice(-3_000)}` });
    const notice = readNotice(delivery.headers, delivery.body, SECRET);
    if (!notice) throw new Error(`${kind} is not accepted: ${JSON.stringify(delivery)}`);
    expect(notice).toMatchObject({ id: delivery.headers['x-snapback-delivery'], kind });
    return { notice, delivery };
  };
  const documented = (kind: string): string[] => {
    const row = readTable(DOC, 'Kinds of notices').find(([name = '']) => codeIn(name)[0] === kind);
    // What stands in brackets or behind a colon explains the word before it.
    return codeIn((row?.[2] ?? '').replace(/\([^)]*\)+|:.*/g, '')).sort();
  };

  it('is told of a missed slot, and once that the recovery point has gone late', async () => {
    await backUp(service, instance.id);
    // The newest backup is of the day before yesterday, and nobody was there for the run of seven hours ago.
    await service.sdk.policies.set({ instanceId: instance.id, startTime: new Date(Date.now() - 7 * 3_600_000).toISOString().slice(11, 16), windowMinutes: 1, timeZone: 'UTC' });
    await client.query(`UPDATE backups SET completed_at = completed_at - interval '2 days' WHERE instance_id = $1`, [instance.id]);
    await client.query(`UPDATE backup_policies SET next_run_at = clock_timestamp() - interval '7 hours 2 minutes' WHERE instance_id = $1`, [instance.id]);
    const { notice: missed } = await told('SLOT_MISSED');
    const [slot] = await service.sdk.instances.slots(instance).toArray({ limit: 1 });
    expect(missed).toMatchObject({
      instance: { id: instance.id, name: 'orders' }, message: 'A planned backup was missed: The service was not running in time.',
      details: { slotId: slot?.id, plannedAt: slot?.plannedAt, reason: slot?.reason, missedSlots: 1 },
    });
    expect(Object.keys(missed.details).sort()).toEqual(documented('SLOT_MISSED'));
    const { notice: late } = await told('RECOVERY_LATE');
    expect(late).toMatchObject({ instance: { id: instance.id }, details: { plannedAt: slot?.plannedAt } });
    expect(Object.keys(late.details).sort()).toEqual(documented('RECOVERY_LATE'));
    expect((await service.sdk.instances.recovery(instance))?.status).toBe('LATE');
  });

  it('is told of a job that failed', async () => {
    const { port } = redis;
    await redis.stop();
    const started = await service.sdk.backups.create({ instanceId: instance.id, name: 'of a server that is gone' });
    const { code } = await caught(service.sdk.backups.wait(started));
    const { notice } = await told('JOB_FAILED');
    expect(notice).toMatchObject({
      instance: { id: instance.id }, message: expect.stringContaining(`127.0.0.1:${port}`) as string,
      details: { jobId: started.job.id, jobKind: 'BACKUP', conclusion: 'FAILED', code, backupId: started.backup.id, hint: expect.any(String) as string },
    });
    expect(Object.keys(notice.details).sort()).toEqual(documented('JOB_FAILED'));
  });

  it('is told that retention stands still, which concerns no instance', async () => {
    await client.query(`UPDATE service_settings SET value = 'another store' WHERE name = 'store-id'`);
    const { notice } = await told('RETENTION_STOPPED');
    expect(notice).toMatchObject({ projectId: null, instance: null, message: expect.stringContaining('store:adopt') as string, details: { cause: 'STORE' } });
    expect(Object.keys(notice.details).sort()).toEqual(documented('RETENTION_STOPPED'));
  });

  it('is told each thing once, and nothing more', async () => {
    const metrics = async (): Promise<string> => (await fetch(`${service.url}/metrics`)).text();
    await waitFor(async () => (await metrics()).includes('snapback_notices_pending 0\n'), { message: 'the outbox to be empty' });
    expect(receiver.deliveries.map(({ headers }) => headers['x-snapback-kind']).sort()).toEqual([...NOTICE_KINDS].sort());
  });

  it('gets what the manual says, and the manual\'s receiver takes nothing else', async () => {
    const { notice, delivery: { headers, body } } = await told('SLOT_MISSED');
    const example = JSON.parse(codeOf('notice')) as Notice;
    expect([Object.keys(example), Object.keys(example.details)]).toEqual([Object.keys(notice), Object.keys(notice.details)]);
    expect(readTable(DOC, 'Kinds of notices').map(([name = '']) => codeIn(name)[0])).toEqual([...NOTICE_KINDS]);
    expect(readTable(DOC, 'Receiving notices').map(([name = '']) => codeIn(name)[0]).sort()).toEqual(Object.keys(headers).filter((name) => name.startsWith('x-')).sort());
    expect(readNotice(headers, body.replace('orders', 'others'), SECRET)).toBeNull();
    expect(readNotice(headers, body, `${SECRET}!`)).toBeNull();
    expect(readNotice({ ...headers, 'x-snapback-timestamp': String(Number(headers['x-snapback-timestamp']) + 1) }, body, SECRET)).toBeNull();
    expect(readNotice({ ...headers, 'x-snapback-signature': 'v1=' }, body, SECRET)).toBeNull();
    expect(readNotice({}, body, SECRET)).toBeNull();
  });

  it('has its address and its secret in no line of the log, also while it cannot be reached', async () => {
    await receiver.stop();
    await caught(service.sdk.backups.wait(await service.sdk.backups.create({ instanceId: instance.id, name: 'again' })));
    await waitFor(() => service.logs().includes('could not be delivered'), { message: 'the first attempt' });
    expect(service.logs()).not.toContain(SECRET);
    expect(service.logs()).not.toContain('team=data');
    expect(await (await fetch(`${service.url}/metrics`)).text()).toContain('snapback_notices_pending 1\n');
  });
});
