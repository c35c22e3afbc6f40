import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from 'pg';
import { type Instance } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { eventually, waitFor } from '../kit/wait.js';
import { archivesOf, backUp, caught, firstEvent, flows, infoOf, loadSlowly, populate, register, saveSlowly, startRestore, storedFiles } from '../e2e/scene.js';

describe('work that is cut off', () => {
  let service: TestService;
  let source: RedisServer;
  let instance: Instance;
  let observer: Client;

  const sql = async (text: string, parameters: unknown[] = []): Promise<unknown[]> => (await observer.query(text, parameters)).rows;
  /** As if the worker had been stopped for longer than its lease. */
  const expire = (job: { id: string }) => sql(`UPDATE jobs SET lease_until = clock_timestamp() - interval '1 second' WHERE id = $1 AND state = 'RUNNING'`, [job.id]);
  const cut = () => sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()');

  beforeAll(async () => {
    [service, source] = await Promise.all([startService({ env: { LEASE_SECONDS: '60', LEASE_RENEW_SECONDS: '1', LEASE_COLLECT_SECONDS: '0.5' } }), startRedis({ config: { rdbcompression: 'no' } })]);
    observer = new Client({ connectionString: service.databaseUrl });
    observer.on('error', () => undefined);
    await observer.connect();
    await populate(source, 3_000, 1_000);
    instance = await register(service, 'source', source);
  });
  afterAll(async () => {
    await observer?.end();
    await Promise.all([service?.stop(), source?.stop()]);
  });

  it('a restore before the target could load is settled by the next attempt: OLD, and it takes writes', async () => {
    const { sdk } = service;
    // More than the kernels' buffers hold, which would take all of it at once.
    const large = await startRedis({ config: { rdbcompression: 'no' } });
    await populate(large, 12_000, 3_000);
    const backup = await backUp(service, (await register(service, 'early-source', large)).id);
    await large.stop();
    const target = await startRedis({ config: { 'repl-diskless-load': 'swapdb' } });
    try {
      await populate(target, 50, 20, 'old');
      const old = await digest(target);
      await loadSlowly(target, 500);
      const { restore, job } = await startRestore(service, backup.id, await register(service, 'early', target));
      await firstEvent(service, job, (event) => event.job.phase === 'TRANSFERRING');
      await waitFor(async () => (await infoOf(target))['role'] === 'slave');
      await expire(job);
      const failure = await caught(sdk.restores.wait(restore, { timeoutMs: 60_000 }));
      expect(failure).toMatchObject({ code: 'INTERRUPTED' });
      expect(await sdk.jobs.get(job)).toMatchObject({ state: 'COMPLETED', conclusion: 'FAILED', attempt: 2 });
      expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD', completedAt: expect.any(String) as string });
      expect(await infoOf(target)).toMatchObject({ role: 'master' });
      await eventually(async () => expect(await digest(target)).toBe(old));
      expect(await target.cli('SET', 'written', 'again')).toBe('OK');
      expect(await sql('SELECT undo_record FROM restores WHERE id = $1', [restore.id])).toEqual([{ undo_record: null }]);
    } finally {
      await target.stop();
    }
  });

  it('a restore while the target loads is settled after the load: NEW, never begun anew', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id);
    const target = await startRedis();
    try {
      await loadSlowly(target, 500);
      const { restore, job } = await startRestore(service, backup.id, await register(service, 'late', target));
      await firstEvent(service, job, (event) => event.job.phase === 'LOADING');
      await expire(job);
      expect(await caught(sdk.restores.wait(restore, { timeoutMs: 60_000 }))).toMatchObject({ code: 'INTERRUPTED' });
      expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'NEW' });
      const done = await sdk.jobs.get(job);
      expect(done).toMatchObject({ conclusion: 'FAILED', attempt: 2, failure: { hint: expect.stringContaining('holds the backup') as string } });
      expect(done?.phases.filter(({ phase }) => phase === 'TRANSFERRING')).toHaveLength(1);
      expect(await infoOf(target)).toMatchObject({ role: 'master' });
      expect(await digest(target)).toBe(await digest(source));
    } finally {
      await target.stop();
    }
  });

  it('a restore that no attempt could settle says UNKNOWN, and is settled once its target answers; the target takes writes again', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id);
    const target = await startRedis();
    try {
      await loadSlowly(target, 1_000);
      const { restore, job } = await startRestore(service, backup.id, await register(service, 'given up', target));
      await firstEvent(service, job, (event) => event.job.phase === 'LOADING');
      await sql('UPDATE jobs SET max_attempts = 1 WHERE id = $1', [job.id]);
      await expire(job);
      expect(await caught(sdk.restores.wait(restore, { timeoutMs: 60_000 }))).toMatchObject({ code: 'INTERRUPTED' });
      expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'UNKNOWN', completedAt: expect.any(String) as string });
      const kept = () => sql('SELECT undo_record IS NOT NULL AS kept FROM restores WHERE id = $1', [restore.id]);
      expect(await kept()).toEqual([{ kept: true }]);
      await waitFor(async () => (await infoOf(target))['loading'] === '0');
      expect(await infoOf(target)).toMatchObject({ role: 'slave' });
      const settling = () => sql(`SELECT id, state, conclusion FROM jobs WHERE restore_id = $1 AND id <> $2`, [restore.id, job.id]);
      // Not at once after an attempt, and not while something else works on the server.
      const ended = (ago: string) => sql(`UPDATE jobs SET completed_at = clock_timestamp() - $2::interval WHERE id = $1`, [job.id, ago]);
      await ended('-1 minute');
      await service.app.upkeep.pass();
      expect(await settling()).toEqual([]);
      await ended('1 minute');
      await sql(`UPDATE jobs SET state = 'QUEUED', not_before = 'infinity' WHERE id = $1`, [job.id]);
      await service.app.upkeep.pass();
      expect(await settling()).toEqual([]);
      await sql(`UPDATE jobs SET state = 'COMPLETED', not_before = NULL WHERE id = $1`, [job.id]);
      await service.app.upkeep.pass();
      await waitFor(async () => (await settling()).some((row) => (row as { state: string }).state === 'COMPLETED'));
      const [late] = (await settling()) as { id: string }[];
      expect(await sdk.jobs.get(late!.id)).toMatchObject({ kind: 'RESTORE', conclusion: 'SUCCEEDED' });
      expect(await sql(`SELECT notice ->> 'code' AS code FROM job_events WHERE job_id = $1 AND notice IS NOT NULL`, [late!.id])).toEqual([{ code: 'SETTLED_PROMOTED' }]);
      expect(await kept()).toEqual([{ kept: false }]);
      expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'NEW', job: { id: job.id, conclusion: 'FAILED' } });
      expect(await infoOf(target)).toMatchObject({ role: 'master' });
      expect(await digest(target)).toBe(await digest(source));
      await service.app.upkeep.pass();
      expect(await settling()).toHaveLength(1);
    } finally {
      await target.stop();
    }
  });

  it('the target of an ended restore that does not answer is asked at each pass, and gets no job', async () => {
    const backup = await backUp(service, instance.id);
    const target = await startRedis();
    const into = await register(service, 'gone', target);
    const { restore, job } = await startRestore(service, backup.id, into);
    await service.sdk.restores.wait(restore, { timeoutMs: 60_000 });
    await target.stop();
    await sql(`UPDATE restores SET undo_record = '{"format":1}' WHERE id = $1`, [restore.id]);
    await sql(`UPDATE jobs SET completed_at = completed_at - interval '1 minute' WHERE id = $1`, [job.id]);
    await service.app.upkeep.pass();
    expect(service.logs()).toContain('cannot be settled yet');
    expect(await sql('SELECT 1 FROM jobs WHERE restore_id = $1', [restore.id])).toHaveLength(1);

    // Without credentials nobody could settle it later.
    const removal = await caught(service.sdk.instances.remove(into));
    expect(removal).toMatchObject({ code: 'CONFIRMATION_REQUIRED', userErrors: [{ field: ['abandonTarget'], message: expect.stringContaining(restore.id) as string }] });
    expect(await service.sdk.instances.get(into.id)).toMatchObject({ removedAt: null });
    await service.sdk.instances.remove({ instanceId: into.id, abandonTarget: true });
    expect(await service.sdk.instances.get(into.id)).toMatchObject({ removedAt: expect.any(String) as string });
  });

  it('a setting that could not be put back is put back later, and the restore says what it said', async () => {
    const backup = await backUp(service, instance.id);
    const target = await startRedis();
    try {
      const into = await register(service, 'left', target);
      const plan = await service.sdk.restores.plan({ backupId: backup.id, instanceId: into.id, safetyBackup: false, disklessLoad: true });
      // Holds the record as it was written before the target was touched; the end takes it away.
      await sql(`CREATE TABLE kept_record AS SELECT undo_record FROM restores WHERE false`);
      await sql(`CREATE FUNCTION keep_record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO kept_record VALUES (OLD.undo_record); RETURN NEW; END $$`);
      await sql(`CREATE TRIGGER keep_record BEFORE UPDATE ON restores FOR EACH ROW WHEN (OLD.undo_record IS NOT NULL AND NEW.undo_record IS NULL) EXECUTE FUNCTION keep_record()`);
      const { restore, job } = await service.sdk.restores.run({ planId: plan.id, confirmation: into.name, acceptedWarnings: [] });
      await service.sdk.restores.wait(restore, { timeoutMs: 25_000 });
      const setting = () => target.cli('CONFIG', 'GET', 'repl-diskless-load');
      expect(await setting()).toContain('disabled');
      await sql('DROP TRIGGER keep_record ON restores');
      await sql('UPDATE restores SET undo_record = (SELECT undo_record FROM kept_record) WHERE id = $1', [restore.id]);
      await sql('DROP TABLE kept_record');
      await target.cli('CONFIG', 'SET', 'repl-diskless-load', 'swapdb');
      // Its owner has gone on meanwhile.
      await target.cli('SET', 'written', 'since');
      await sql(`UPDATE jobs SET completed_at = completed_at - interval '1 minute' WHERE id = $1`, [job.id]);
      await service.app.upkeep.pass();
      await waitFor(async () => (await setting()).includes('disabled'));
      await waitFor(async () => (await sql('SELECT 1 FROM restores WHERE id = $1 AND undo_record IS NULL', [restore.id])).length === 1);
      expect(await service.sdk.restores.get(restore)).toMatchObject({ dataNow: 'NEW' });
      expect(await infoOf(target)).toMatchObject({ role: 'master' });
      expect(await target.cli('GET', 'written')).toBe('since');
    } finally {
      await target.stop();
    }
  });

  it('during the safety backup: nothing was touched, the safety backup is FAILED, and of it nothing is stored', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id);
    const before = await storedFiles(service);
    const target = await startRedis({ config: { rdbcompression: 'no' } });
    try {
      await populate(target, 3_000, 1_000, 'old');
      await saveSlowly(target, 1_000);
      const { restore, job } = await startRestore(service, backup.id, await register(service, 'safety', target), { safetyBackup: true });
      await firstEvent(service, job, flows);
      await expire(job);
      expect(await caught(sdk.restores.wait(restore, { timeoutMs: 60_000 }))).toMatchObject({ code: 'INTERRUPTED' });
      const ended = await sdk.restores.get(restore);
      expect(ended).toMatchObject({ dataNow: 'OLD', safetyBackup: { state: 'FAILED' } });
      expect(await infoOf(target)).toMatchObject({ role: 'master' });
      await eventually(async () => expect(await storedFiles(service)).toEqual(before));
    } finally {
      await target.stop();
    }
  });

  it('a backup between its seal and its row: the next attempt takes the archive as it lies there', async () => {
    const { sdk } = service;
    const once = await startRedis();
    await populate(once, 100, 10);
    const own = await register(service, 'once', once);
    const { backup, job } = await sdk.backups.create({ instanceId: own.id, name: 'sealed' });
    const good = await sdk.backups.wait({ backup, job });
    // The server is gone: another transfer is impossible.
    await once.stop();
    await sql(`UPDATE backups SET state = 'CREATING', size_bytes = NULL, sha256 = NULL, completed_at = NULL, expires_at = NULL, loads_on = NULL WHERE id = $1`, [backup.id]);
    await sql(`UPDATE jobs SET state = 'RUNNING', conclusion = NULL, completed_at = NULL, lease_until = clock_timestamp() - interval '1 second' WHERE id = $1`, [job.id]);
    await waitFor(async () => (await sdk.jobs.get(job))?.state === 'COMPLETED');
    expect(await sdk.jobs.get(job)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 2 });
    const { state, sha256, sizeBytes, expiresAt, loadsOn } = good;
    expect(await sdk.backups.get(backup)).toMatchObject({ state, sha256, sizeBytes, expiresAt, loadsOn });
    expect(await storedFiles(service)).toEqual(expect.arrayContaining(archivesOf(backup.id)));
  });

  it('a backup whose database connections are cut ends well, in the same attempt; the service goes on', async () => {
    const { sdk } = service;
    await saveSlowly(source, 500);
    const { backup, job } = await sdk.backups.create({ instanceId: instance.id, name: 'cut' });
    await firstEvent(service, job, flows);
    expect((await cut()).length).toBeGreaterThan(3);
    const states: string[] = [];
    for await (const event of sdk.jobs.watch(job.id, { signal: AbortSignal.timeout(60_000) })) states.push(event.job.state);
    expect(states.at(-1)).toBe('COMPLETED');
    expect(await sdk.jobs.get(job)).toMatchObject({ conclusion: 'SUCCEEDED', attempt: 1 });
    expect(await sdk.backups.get(backup)).toMatchObject({ state: 'AVAILABLE' });
    await saveSlowly(source, 0);

    await cut();
    // The clock's own connections and the announcements included.
    await eventually(() => backUp(service, instance.id, 'after'));
    await eventually(async () => expect((await fetch(`${service.url}/readyz`)).status).toBe(200));
  });
});
