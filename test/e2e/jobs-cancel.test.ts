import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Instance } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { archivesOf, backUp, caught, firstEvent, flows, infoOf, loadSlowly, populate, register, saveSlowly, startRestore, storedFiles } from './scene.js';

describe('cancelling', () => {
  let service: TestService;
  let source: RedisServer;
  let other: RedisServer;
  let instance: Instance;
  let second: Instance;

  beforeAll(async () => {
    // One worker, so that a second job has to wait.
    const config = { rdbcompression: 'no' };
    [service, source, other] = await Promise.all([startService({ env: { CONCURRENT_JOBS: '1' } }), startRedis({ config }), startRedis({ config })]);
    await Promise.all([populate(source, 6_000, 1_000), populate(other, 100, 10)]);
    [instance, second] = await Promise.all([register(service, 'source', source), register(service, 'other', other)]);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop(), other?.stop()]);
  });

  it('a running backup and one that waits leaves nothing of either behind', async () => {
    const { sdk } = service;
    await saveSlowly(source, 10_000);
    const running = await sdk.backups.create({ instanceId: instance.id, name: 'running' });
    await firstEvent(service, running.job, flows);
    const waiting = await sdk.backups.create({ instanceId: second.id, name: 'waiting' });
    expect(await sdk.jobs.get(waiting.job)).toMatchObject({ state: 'QUEUED', cancellable: true, attempt: 0 });
    expect((await storedFiles(service)).length).toBeGreaterThan(0);

    // Over at once, though the only worker is busy: its server can be worked on again.
    const stopped = await sdk.jobs.cancel(waiting.job);
    expect(stopped).toMatchObject({ state: 'COMPLETED', conclusion: 'CANCELLED', cancellable: false, failure: null, startedAt: null, attempt: 0 });
    expect(stopped.cancelRequestedAt).toEqual(expect.any(String));
    expect((await sdk.instances.get(second))?.runningJob).toBeNull();

    expect((await sdk.jobs.cancel(running.job)).cancelRequestedAt).toEqual(expect.any(String));
    expect(await caught(sdk.jobs.wait(running.job, { timeoutMs: 60_000 }))).toMatchObject({ kind: 'job_failed', code: 'CANCELLED' });
    expect(await sdk.jobs.get(running.job)).toMatchObject({ state: 'COMPLETED', conclusion: 'CANCELLED', failure: null });
    // Once more is no fault, and changes nothing.
    expect(await sdk.jobs.cancel(running.job)).toMatchObject({ conclusion: 'CANCELLED' });

    expect(await storedFiles(service)).toEqual([]);
    expect(await sdk.backups.list().toArray({ limit: 10 })).toEqual([]);
    for (const { backup } of [running, waiting]) expect(await sdk.backups.get(backup)).toMatchObject({ state: 'DELETED' });
    await saveSlowly(source, 0);
    const [one, two] = [await backUp(service, instance.id, 'after'), await backUp(service, second.id, 'after')];
    expect([one, two]).toMatchObject([{ state: 'AVAILABLE', keys: '6000' }, { state: 'AVAILABLE', keys: '100' }]);
    expect(await storedFiles(service)).toEqual(archivesOf(one.id, two.id));
  });

  it('a restore before the target loads leaves its old data, and it takes writes again', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id, 'to restore');
    // Takes the payload from the socket, slowly: the transfer lasts as long as the load.
    const target = await startRedis({ config: { 'repl-diskless-load': 'swapdb' } });
    try {
      await populate(target, 50, 20, 'old');
      await loadSlowly(target, 3_000);
      const old = await digest(target);
      const { restore, job } = await startRestore(service, backup.id, await register(service, 'target', target), { safetyBackup: true });
      await firstEvent(service, job, (event) => event.job.phase === 'TRANSFERRING' && event.job.phases.some(({ phase }) => phase === 'SEALING'));
      expect((await sdk.jobs.get(job))?.cancellable).toBe(true);
      await sdk.jobs.cancel(job);
      expect(await caught(sdk.restores.wait(restore, { timeoutMs: 60_000 }))).toMatchObject({ code: 'CANCELLED' });
      const ended = await sdk.restores.get(restore);
      expect(ended).toMatchObject({ dataNow: 'OLD', report: { promoted: true, keysAfter: null }, safetyBackup: { state: 'AVAILABLE' } });
      expect(await digest(target)).toBe(old);
      expect(await infoOf(target)).toMatchObject({ role: 'master' });
      expect(await target.cli('SET', 'written', 'again')).toBe('OK');
    } finally {
      await target.stop();
    }
  });

  it('a restore that loads is refused with CONFLICT, and the restore goes on to its end', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id, 'to load');
    const target = await startRedis();
    try {
      await loadSlowly(target, 1_000);
      const { restore, job } = await startRestore(service, backup.id, await register(service, 'loading', target));
      const loading = await firstEvent(service, job, (event) => event.job.phase === 'LOADING');
      expect(loading.job.cancellable).toBe(false);
      const refused = await caught(sdk.jobs.cancel(job));
      expect(refused).toMatchObject({ kind: 'user_input', code: 'CONFLICT', userErrors: [{ field: ['jobId'] }] });
      expect(await sdk.restores.wait(restore, { timeoutMs: 60_000 })).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
      expect(await digest(target)).toBe(await digest(source));
    } finally {
      await target.stop();
    }
  });
});
