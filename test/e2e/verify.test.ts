import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TypedDocumentString, type Backup, type Instance } from '@snapback/sdk';
import { createArchive, openArchive } from '../../server/engine/archive/archive.js';
import { openFilesystemStore } from '../../server/engine/store/filesystem.js';
import { masterKeysFromFile } from '../../server/security/master-key.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { eventually } from '../kit/wait.js';
import { backUp, caught, firstEvent, populate, refusal, register, saveSlowly, startRestore } from './scene.js';

const WAIT = { timeoutMs: 60_000 };

describe('verifying backups', () => {
  let service: TestService;
  let source: RedisServer;
  let instance: Instance;
  beforeAll(async () => {
    [service, source] = await Promise.all([startService({ env: { CONCURRENT_JOBS: '1', UPKEEP_SECONDS: '86400' } }), startRedis()]);
    await seedAllTypes(source, { keysPerType: 10 });
    instance = await register(service, 'orders', source);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop()]);
  });

  const folderOf = ({ id }: Backup): string => join(service.storeRoot, 'backups', id);
  /** The one worker takes a backup that does not end by itself. */
  const keepWorkerBusy = async (): Promise<{ free(): Promise<unknown>; stop(): Promise<void> }> => {
    const { sdk } = service;
    const slow = await startRedis();
    await populate(slow, 2_000, 100);
    await saveSlowly(slow, 20_000);
    const { job } = await sdk.backups.create({ instanceId: (await register(service, `slow ${String(slow.port)}`, slow)).id, name: 'slow' });
    await firstEvent(service, job, ({ job: { phase } }) => phase === 'SNAPSHOTTING' || phase === 'TRANSFERRING');
    return { free: () => sdk.jobs.cancel(job), stop: () => slow.stop() };
  };
  const keyIn = async (folder: string): Promise<string> => (await readdir(folder)).find((name) => name.startsWith('key.')) ?? '';
  const flip = async (file: string, at: number): Promise<void> => {
    const bytes = await readFile(file);
    bytes[at] = (bytes[at] ?? 0) ^ 8;
    await writeFile(file, bytes);
  };
  /** Neither to be restored nor downloaded, by a link of before either; and not to be verified back to life. */
  const expectUseless = async ({ id }: Backup, link: string): Promise<void> => {
    const { sdk } = service;
    expect(await sdk.backups.get(id)).toMatchObject({ state: 'DAMAGED', damage: { code: 'CORRUPT', message: expect.stringContaining(id) as string } });
    for (const ask of [() => sdk.backups.link(id), () => sdk.restores.plan({ backupId: id, instanceId: instance.id }), () => sdk.backups.verify(id)]) {
      expect(await refusal(ask())).toEqual({ code: 'BACKUP_DAMAGED', field: ['backupId'] });
    }
    expect((await fetch(link)).status).toBe(404);
  };

  it('a good backup passes at both levels and says so; the same key is the same job', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id);
    expect(backup).toMatchObject({ lastVerifiedAt: null, verification: null });
    const phases = new Set<string>();
    const started = await sdk.backups.verify(backup, { idempotencyKey: 'once' });
    expect(started).toMatchObject({ backup: { id: backup.id, state: 'AVAILABLE' }, job: { kind: 'VERIFY', verificationLevel: 'CONTENT', cancellable: true, backup: { id: backup.id }, instance: { id: instance.id } } });
    const verified = await sdk.backups.wait(started, { ...WAIT, onProgress: ({ phase }) => phases.add(phase ?? '') });
    expect([...phases]).toEqual(expect.arrayContaining(['VERIFYING']));
    expect(verified).toMatchObject({ state: 'AVAILABLE', verification: { level: 'CONTENT', result: 'PASSED', job: { id: started.job.id } } });
    expect(verified.lastVerifiedAt).toBe(verified.verification?.verifiedAt);
    expect(await sdk.jobs.get(started.job)).toMatchObject({ conclusion: 'SUCCEEDED', progress: { bytesDone: backup.sizeBytes, bytesTotal: backup.sizeBytes, keysDone: backup.keys, fraction: 1 } });

    expect((await sdk.backups.verify({ backupId: backup.id, level: 'CONTENT', idempotencyKey: 'once' })).job.id).toBe(started.job.id);
    expect(await refusal(sdk.backups.verify({ backupId: backup.id, level: 'STRUCTURE', idempotencyKey: 'once' }))).toEqual({ code: 'IDEMPOTENCY_CONFLICT', field: ['idempotencyKey'] });
    const again = await sdk.backups.wait(await sdk.backups.verify({ backupId: backup.id, level: 'STRUCTURE' }), WAIT);
    expect(again.verification).toMatchObject({ level: 'STRUCTURE', result: 'PASSED' });
    const OfContent = new TypedDocumentString<{ backup: { verification: { level: string; job: { id: string } } } }, { id: string }>('query ($id: ID!) { backup(id: $id) { verification(level: CONTENT) { level job { id } } } }');
    expect(await sdk.execute(OfContent, { id: backup.id })).toEqual({ backup: { verification: { level: 'CONTENT', job: { id: started.job.id } } } });
  });

  it('one flipped byte passes the structure, fails the content, and then the backup is of no use to anybody', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id);
    const { url } = await sdk.backups.link(backup);
    await flip(join(folderOf(backup), 'rdb'), 90);
    const passed = await sdk.backups.wait(await sdk.backups.verify({ backupId: backup.id, level: 'STRUCTURE' }), WAIT);
    const { job } = await sdk.backups.verify(backup);
    expect(await caught(sdk.jobs.wait(job, WAIT))).toMatchObject({ kind: 'job_failed', code: 'BACKUP_DAMAGED' });
    const message = expect.stringMatching(/block 0 at byte 64: its tag is wrong/) as string;
    expect(await sdk.jobs.get(job)).toMatchObject({ conclusion: 'FAILED', failure: { code: 'BACKUP_DAMAGED', message, phase: 'VERIFYING', hint: expect.any(String) as string } });
    expect(await sdk.backups.get(backup)).toMatchObject({
      damage: { code: 'CORRUPT', message }, lastVerifiedAt: passed.lastVerifiedAt, verification: { level: 'CONTENT', result: 'DAMAGED', job: { id: job.id } },
    });
    await expectUseless(backup, url);
  });

  it('a missing key or an unreachable store is nobody\'s damage: the backup is as good as before once they are back', async () => {
    const { sdk } = service;
    const backup = await backUp(service, instance.id);
    const folder = folderOf(backup);
    const key = await keyIn(folder);
    // As if it had been written under a master key that this service has not.
    await rename(join(folder, key), join(folder, 'key.00000000'));
    for (const level of ['STRUCTURE', 'CONTENT'] as const) {
      const { job } = await sdk.backups.verify({ backupId: backup.id, level });
      expect(await caught(sdk.jobs.wait(job, WAIT))).toMatchObject({ code: 'KEY_UNAVAILABLE' });
    }
    await rename(join(folder, 'key.00000000'), join(folder, key));
    await rename(service.storeRoot, `${service.storeRoot}.aside`);
    try {
      const { job } = await sdk.backups.verify(backup);
      expect(await caught(sdk.jobs.wait(job, WAIT))).toMatchObject({ code: 'STORAGE_IO' });
    } finally {
      await rm(service.storeRoot, { recursive: true, force: true });
      await rename(`${service.storeRoot}.aside`, service.storeRoot);
    }
    expect(await sdk.backups.get(backup)).toMatchObject({ state: 'AVAILABLE', damage: null, verification: null, lastVerifiedAt: null });
    expect(await sdk.backups.wait(await sdk.backups.verify(backup), WAIT)).toMatchObject({ verification: { result: 'PASSED' } });
  });

  it('a backup that waits to be verified is in use: nothing deletes it', async () => {
    const { sdk } = service;
    const [backup] = [await backUp(service, instance.id), await backUp(service, instance.id)];
    const worker = await keepWorkerBusy();
    try {
      const started = await sdk.backups.verify(backup!);
      expect(started).toMatchObject({ job: { state: 'QUEUED' }, backup: { retainedBecause: 'IN_USE' } });
      expect(await refusal(sdk.backups.delete(backup!))).toEqual({ code: 'BACKUP_IN_USE', field: ['backupId'] });
      await worker.free();
      await sdk.backups.wait(started, WAIT);
      expect(await sdk.backups.get(backup!)).toMatchObject({ state: 'AVAILABLE', retainedBecause: null });
      await sdk.backups.wait(await sdk.backups.delete(backup!), WAIT);
    } finally {
      await worker.stop();
    }
    expect(await refusal(sdk.backups.verify(backup!))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
    expect(await refusal(sdk.backups.verify('bak_1'))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
  });

  describe('finds another archive in the place of the one that was sealed', () => {
    /** Whatever somebody who can write to the store, and even knows the master key, can put there; each sound in itself. */
    const forgeries: [string, (backup: Backup) => Promise<void>][] = [
      ['another backup\'s', async (backup) => {
        const other = await backUp(service, instance.id);
        await rm(folderOf(backup), { recursive: true });
        await cp(folderOf(other), folderOf(backup), { recursive: true });
      }],
      ['one of its own, not encrypted', (backup) => rewrite(backup, false)],
      ['one of its own, sealed once more', (backup) => rewrite(backup, true)],
    ];
    const rewrite = async ({ id }: Backup, encrypted: boolean): Promise<void> => {
      const store = await openFilesystemStore({ root: service.storeRoot, create: false });
      const { keys } = await masterKeysFromFile(service.config.masterKeyFile, { create: false });
      const archive = await openArchive(store, id, { keys });
      const parts: Uint8Array[] = [];
      for await (const part of archive.read()) parts.push(part);
      const { artifacts: [{ rdb, coverage, replication }], backup: { projectId, name, trigger }, source: from, capture, startedAt, completedAt, createdBy } = archive.manifest;
      await rm(join(service.storeRoot, 'backups', id), { recursive: true });
      const writer = await createArchive(store, { backupId: id, ...(encrypted ? { keys } : {}) });
      await writer.write(Buffer.concat(parts));
      await writer.seal({ rdb, coverage, replication, backup: { projectId, name, trigger }, source: from, capture, startedAt, completedAt, createdBy });
    };

    it.each(forgeries)('%s: by verification', async (_, forge) => {
      const { sdk } = service;
      const backup = await backUp(service, instance.id);
      const { url } = await sdk.backups.link(backup);
      await forge(backup);
      const { job } = await sdk.backups.verify({ backupId: backup.id, level: 'STRUCTURE' });
      expect(await caught(sdk.jobs.wait(job, WAIT))).toMatchObject({ code: 'BACKUP_DAMAGED' });
      await expectUseless(backup, url);
    });

    it('by download', async () => {
      const { sdk } = service;
      const backup = await backUp(service, instance.id);
      const { url } = await sdk.backups.link(backup);
      await rewrite(backup, false);
      const response = await fetch(url);
      expect([response.status, (await response.arrayBuffer()).byteLength < 1_000]).toEqual([404, true]);
      await expectUseless(backup, url);
    });

    it('by planning a restore', async () => {
      const { sdk } = service;
      const backup = await backUp(service, instance.id);
      const { url } = await sdk.backups.link(backup);
      await rewrite(backup, true);
      expect(await refusal(sdk.restores.plan({ backupId: backup.id, instanceId: instance.id }))).toEqual({ code: 'BACKUP_DAMAGED', field: ['backupId'] });
      await expectUseless(backup, url);
    });

    it('by restoring, and the target is not touched', async () => {
      const { sdk } = service;
      const backup = await backUp(service, instance.id);
      const { url } = await sdk.backups.link(backup);
      const [target, worker] = await Promise.all([startRedis(), keepWorkerBusy()]);
      try {
        await target.cli('SET', 'old', 'data');
        const { job } = await startRestore(service, backup.id, await register(service, 'target', target));
        await rewrite(backup, false);
        await worker.free();
        expect(await caught(sdk.jobs.wait(job, WAIT))).toMatchObject({ code: 'CORRUPT' });
        expect(await target.cli('GET', 'old')).toBe('data');
        await eventually(() => expectUseless(backup, url));
      } finally {
        await Promise.all([target.stop(), worker.stop()]);
      }
    });
  });
});
