import { readFile, unlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { eventually, waitFor } from '../kit/wait.js';
import { backUp, expectFailedJob, firstEvent, infoOf, loadSlowly, populate, refusal, register, startRestore } from '../e2e/scene.js';

const isLoading = async (target: RedisServer): Promise<boolean> => {
  const info = await infoOf(target);
  return info['loading'] === '1' || info['async_loading'] === '1';
};

describe('a restore that something goes wrong with', () => {
  let service: TestService;
  let source: RedisServer;
  let backup: Backup;
  let wanted: string;
  const targets: RedisServer[] = [];

  beforeAll(async () => {
    [service, source] = await Promise.all([startService(), startRedis({ config: { rdbcompression: 'no' } })]);
    await populate(source, 6_000, 1_000);
    backup = await backUp(service, (await register(service, 'source', source)).id);
    wanted = await digest(source);
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop(), ...targets.map((target) => target.stop())]);
  });

  /** A target with old data on its disk; `swapdb` takes the payload from the socket as slowly as it loads. */
  const makeTarget = async (name: string, config: Record<string, string> = {}): Promise<{ target: RedisServer; instance: Instance; old: string }> => {
    const target = await startRedis({ config });
    targets.push(target);
    await populate(target, 30, 20, 'old');
    await target.cli('SAVE');
    return { target, instance: await register(service, name, target), old: await digest(target) };
  };
  /** The service goes on, and the target is whole: the next restore into it succeeds. */
  const expectNextOneToSucceed = async (target: RedisServer, instance: Instance): Promise<void> => {
    await target.cli('CONFIG', 'SET', 'key-load-delay', '0');
    const probed = await service.sdk.instances.probe(instance);
    const { restore } = await startRestore(service, backup.id, probed, { safetyBackup: true });
    expect(await service.sdk.restores.wait(restore, { timeoutMs: 60_000 })).toMatchObject({ dataNow: 'NEW', report: { promoted: true }, safetyBackup: { state: 'AVAILABLE' } });
    expect(await digest(target)).toBe(wanted);
  };

  it('the target is killed in the middle of the transfer: what it kept on its disk is there, and that is said', async () => {
    const { target, instance, old } = await makeTarget('killed', { 'repl-diskless-load': 'swapdb' });
    await loadSlowly(target, 3_000);
    const { restore, job } = await startRestore(service, backup.id, instance, { safetyBackup: true });
    await waitFor(() => isLoading(target));
    // What a job says of itself follows a moment later.
    await waitFor(async () => (await service.sdk.jobs.get(job))?.phase === 'TRANSFERRING');
    await target.restart({ signal: 'SIGKILL', config: { 'key-load-delay': '0' } });
    const ended = await expectFailedJob(service, job, 'CONNECT_FAILED');
    expect(ended.failure?.message).toContain('data from before the restore');
    expect(await service.sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD', report: { promoted: true }, safetyBackup: { state: 'AVAILABLE' } });
    expect(await digest(target)).toBe(old);
    expect(await target.cli('SET', 'written', 'again')).toBe('OK');
    await expectNextOneToSucceed(target, instance);
  });

  it('the target is killed while it loads, and a stranger comes to the listener: it is read back which data came up, and noted who was turned away', async () => {
    const { target, instance } = await makeTarget('killed while loading');
    await loadSlowly(target, 3_000);
    const { restore, job } = await startRestore(service, backup.id, instance);
    await firstEvent(service, job, ({ job: { phase } }) => phase === 'LOADING');
    await waitFor(() => isLoading(target));
    // The listener is the target's master, and keeps its port; whoever else comes gets not a byte.
    const stranger = connect(Number((await infoOf(target))['master_port']), '127.0.0.1');
    const heard: Buffer[] = [];
    stranger.on('data', (bytes: Buffer) => heard.push(bytes)).on('error', () => undefined).write('PING\r\n');
    await waitFor(() => stranger.closed);
    expect(heard).toEqual([]);
    // The received file is its dump.rdb by then, and what it starts from.
    await target.restart({ signal: 'SIGKILL', config: { 'key-load-delay': '0' } });
    await expectFailedJob(service, job, 'CONNECT_FAILED');
    expect(await service.sdk.restores.get(restore)).toMatchObject({ dataNow: 'NEW', report: { promoted: true } });
    expect(await digest(target)).toBe(wanted);
    expect((await infoOf(target))['role']).toBe('master');
    const noted = await service.sdk.audit.list({ actions: ['RESTORE_PEER_REFUSED'] }).toArray({ limit: 10 });
    expect(noted).toMatchObject([{ outcome: 'REFUSED', code: 'FORBIDDEN', credential: null, address: '127.0.0.1', objectId: restore.id, details: [{ name: 'reason', value: 'NOT_EXPECTED' }] }]);
  });

  const damage = async ({ id }: Backup): Promise<void> => {
    const file = join(service.storeRoot, 'backups', id, 'rdb');
    const bytes = await readFile(file);
    const at = Math.floor(bytes.length / 2);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(file, bytes);
  };
  const expectDamaged = async ({ id }: Backup): Promise<void> => {
    const { sdk } = service;
    expect(await sdk.backups.get(id)).toMatchObject({ state: 'DAMAGED', retainedBecause: null, damage: { code: 'CORRUPT', message: expect.stringContaining(id) as string } });
    expect(await refusal(sdk.backups.link(id))).toMatchObject({ code: 'BACKUP_DAMAGED' });
    expect(await refusal(sdk.restores.plan({ backupId: id, instanceId: backup.instance.id }))).toMatchObject({ code: 'BACKUP_DAMAGED', field: ['backupId'] });
  };

  it('the stored bytes are damaged: the target is not touched, no reader gets wrong data, and whoever notices first makes the backup DAMAGED', async () => {
    const { sdk } = service;
    const [damaged, downloaded] = [await backUp(service, backup.instance.id, 'damaged'), await backUp(service, backup.instance.id, 'downloaded')];
    await damage(damaged);
    await damage(downloaded);
    const late = await sdk.backups.link(damaged);
    const { target, instance, old } = await makeTarget('spared');
    const { restore, job } = await startRestore(service, damaged.id, instance);
    await expectFailedJob(service, job, 'CORRUPT');
    expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD', report: { promoted: true } });
    expect(await digest(target)).toBe(old);
    expect(await target.cli('SET', 'written', 'again')).toBe('OK');

    await expectDamaged(damaged);
    expect((await fetch(late.url)).status).toBe(404);

    const { url, sizeBytes } = await sdk.backups.link(downloaded);
    const response = await fetch(url);
    expect(response.headers.get('content-length')).toBe(sizeBytes);
    await expect(response.arrayBuffer()).rejects.toThrow();
    await eventually(() => expectDamaged(downloaded));
    await expectNextOneToSucceed(target, instance);
  });

  it('the stored bytes are gone', async () => {
    const lost = await backUp(service, backup.instance.id, 'lost');
    await unlink(join(service.storeRoot, 'backups', lost.id, 'rdb'));
    const { target, instance, old } = await makeTarget('spared too');
    const { restore, job } = await startRestore(service, lost.id, instance, { safetyBackup: true });
    const ended = await expectFailedJob(service, job, 'CORRUPT');
    expect(await service.sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD', safetyBackup: null });
    expect(await digest(target)).toBe(old);
    expect(ended.failure?.message).toContain(lost.id);
    await expectDamaged(lost);
  });
});
