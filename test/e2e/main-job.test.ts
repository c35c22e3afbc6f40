import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type JobEvent } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { checkRdb } from '../kit/redis-binary.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';

describe('the main job', () => {
  let service: TestService;
  let source: RedisServer;
  let target: RedisServer;
  let folder: string;

  beforeAll(async () => {
    [service, source, target, folder] = await Promise.all([startService(), startRedis({ password: 'geheim' }), startRedis(), makeTempDir('download')]);
    await seedAllTypes(source, { keysPerType: 50 });
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop(), target?.stop(), removeTempDir(folder)]);
  });

  it('registers, backs up, follows, lists, downloads and restores', async () => {
    const { sdk } = service;
    const instance = await sdk.instances.register({ name: 'source', host: source.host, port: source.port, password: 'geheim' });
    expect(instance).toMatchObject({ name: 'source', server: { engine: 'REDIS', role: 'MASTER' }, capabilities: { backup: { possible: true } } });

    const { backup, job } = await sdk.backups.create({ instanceId: instance.id, name: 'Sicherung №1 備份' });
    const events: JobEvent[] = [];
    for await (const event of sdk.jobs.watch(job.id)) events.push(event);
    expect(events.at(-1)?.job).toMatchObject({ state: 'COMPLETED', conclusion: 'SUCCEEDED' });
    const available = await sdk.backups.get(backup.id);
    expect(available).toMatchObject({ state: 'AVAILABLE', name: 'Sicherung №1 備份', integrity: 'STRUCTURE_AND_CHECKSUM', trigger: 'MANUAL' });

    const bytes = Buffer.from(await new Response(await sdk.backups.download(backup.id)).arrayBuffer());
    expect(BigInt(bytes.length)).toBe(BigInt(available?.sizeBytes ?? 0));
    const file = join(folder, 'dump.rdb');
    await writeFile(file, bytes);
    await checkRdb(file);

    const other = await sdk.instances.register({ name: 'target', host: target.host, port: target.port });
    const plan = await sdk.restores.plan({ backupId: backup.id, instanceId: other.id });
    expect(plan.blockers).toEqual([]);
    const { restore } = await sdk.restores.run({
      planId: plan.id, confirmation: 'target', acceptedWarnings: plan.warnings.filter((w) => w.mustAccept).map((w) => w.name),
    });
    const done = await sdk.restores.wait(restore.id);
    expect(done).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
    expect(await digest(target)).toBe(await digest(source));
    expect(await target.cli('INFO', 'replication')).toContain('role:master');
  });
});
