import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance } from '@snapback/sdk';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { eventually, waitFor } from '../kit/wait.js';
import { archivesOf, backUp, caught, firstEvent, loadSlowly, populate, refusal, register, startRestore, storedFiles } from './scene.js';

const HOUR = 3_600_000;

describe('backups that are downloaded and deleted', () => {
  let ahead = 0;
  let service: TestService;
  let source: RedisServer;
  let instance: Instance;
  let big: Backup;

  beforeAll(async () => {
    const clock = { now: () => new Date(Date.now() + ahead) };
    [service, source] = await Promise.all([startService({ clock }), startRedis({ config: { rdbcompression: 'no' } })]);
    // More than sockets hold, so that a reader who pauses holds the download open.
    await populate(source, 32, 1_048_576);
    instance = await register(service, 'source', source);
    big = await backUp(service, instance.id, 'big one/../№1');
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop()]);
  });

  it('a link gives the file with its length, digest and name, whole and in parts', async () => {
    const { sdk } = service;
    const link = await sdk.backups.link(big);
    expect(link).toMatchObject({ sizeBytes: big.sizeBytes, sha256: big.sha256, fileName: expect.stringMatching(/^[^/\\]+\.rdb$/) as string });
    expect(Math.abs(new Date(link.expiresAt).getTime() - Date.now() - HOUR)).toBeLessThan(60_000);
    const head = await fetch(link.url, { method: 'HEAD' });
    expect(head.status).toBe(200);
    const etag = `"${big.sha256 ?? ''}"`;
    expect(Object.fromEntries(head.headers)).toMatchObject({
      'content-length': big.sizeBytes, 'accept-ranges': 'bytes', etag, 'x-content-sha256': big.sha256, 'content-type': 'application/octet-stream',
      'content-disposition': expect.stringMatching(/^attachment; filename="[^"/\\]+\.rdb"; filename\*=UTF-8''/) as string,
    });
    expect((await head.arrayBuffer()).byteLength).toBe(0);

    const whole = Buffer.from(await (await fetch(link.url)).arrayBuffer());
    expect(createHash('sha256').update(whole).digest('hex')).toBe(big.sha256);
    const size = whole.length;
    for (const [range, from, to] of [['bytes=0-8', 0, 9], ['bytes=524280-524300', 524_280, 524_301], ['bytes=-9', size - 9, size], [`bytes=${String(size - 1)}-`, size - 1, size], [`bytes=5-${String(size * 2)}`, 5, size]] as const) {
      const part = await fetch(link.url, { headers: { range } });
      expect([part.status, part.headers.get('content-range')]).toEqual([206, `bytes ${String(from)}-${String(to - 1)}/${String(size)}`]);
      expect(Buffer.from(await part.arrayBuffer()).equals(whole.subarray(from, to))).toBe(true);
    }
    expect((await fetch(link.url, { headers: { range: `bytes=${String(size)}-` } })).status).toBe(416);
    expect((await fetch(link.url, { headers: { 'if-none-match': etag } })).status).toBe(304);
    expect((await fetch(link.url, { headers: { range: 'bytes=0-8', 'if-range': '"another"' }, method: 'HEAD' })).status).toBe(200);
    expect((await fetch(link.url, { method: 'POST' })).status).toBe(405);
  });

  it('links that are made up, changed, or too old are all alike', async () => {
    const { sdk } = service;
    const { url } = await sdk.backups.link(big, { expiresInSeconds: 60 });
    const token = url.slice(url.lastIndexOf('/') + 1);
    const [body = '', signature = ''] = token.split('.');
    const fields = JSON.parse(Buffer.from(body, 'base64url').toString()) as unknown[];
    const other = await backUp(service, instance.id, 'another');
    const rewrite = (change: (fields: unknown[]) => unknown): string => Buffer.from(JSON.stringify(change([...fields]))).toString('base64url');
    const lives = [60, 7 * 24 * 3_600];
    for (const expiresInSeconds of [59, 0, -1, 7 * 24 * 3_600 + 1]) {
      expect(await refusal(sdk.backups.link(big, { expiresInSeconds }))).toEqual({ code: 'BAD_INPUT', field: ['expiresInSeconds'] });
    }
    for (const expiresInSeconds of lives) expect((await fetch((await sdk.backups.link(big, { expiresInSeconds })).url, { method: 'HEAD' })).status).toBe(200);

    const answers = new Set<string>();
    const refused = async (path: string): Promise<void> => {
      const response = await fetch(`${service.url}/downloads/${path}`);
      expect(response.status, path.slice(0, 60)).toBe(404);
      expect(response.headers.get('etag')).toBeNull();
      const { errors } = (await response.json()) as { errors: { message: string; extensions: { code: string } }[] };
      answers.add(`${errors[0]?.extensions.code ?? ''} ${errors[0]?.message ?? ''}`);
    };
    for (const bad of [
      'x', `${body}.`, `.${signature}`, body, `${token}x`, `${body}.${'A'.repeat(signature.length)}`, `${body}.${signature.slice(0, -2)}`, 'x'.repeat(5_000),
      `${rewrite((f) => f.map((field) => (field === big.id ? other.id : field)))}.${signature}`,
      `${rewrite((f) => f.map((field) => (typeof field === 'number' && field > 1e9 ? field + 1e6 : field)))}.${signature}`,
      `${rewrite(() => null)}.${signature}`, encodeURIComponent('../../etc/passwd'), big.id,
    ]) await refused(bad);
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
    ahead = 61_000;
    await refused(token);
    ahead = 0;
    expect([...answers]).toHaveLength(1);
    expect([...answers][0]).toMatch(/^NOT_FOUND /);
    expect(service.logs()).not.toContain(token);
    await sdk.jobs.wait((await sdk.backups.delete({ backupId: other.id, force: true })).job);
  });

  it('what is being read is not deleted: neither during a slow download nor during a restore', async () => {
    const { sdk } = service;
    const newest = await backUp(service, instance.id, 'newest');
    const response = await fetch((await sdk.backups.link(big)).url);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    expect(await refusal(sdk.backups.delete({ backupId: big.id, force: true }))).toEqual({ code: 'BACKUP_IN_USE', field: ['backupId'] });
    expect(await sdk.backups.get(big)).toMatchObject({ state: 'AVAILABLE', retainedBecause: 'IN_USE' });
    await reader.cancel();
    await eventually(async () => { expect((await sdk.backups.get(big))?.retainedBecause).toBeNull(); });

    const target = await startRedis();
    try {
      await loadSlowly(target, 50_000);
      const { restore, job } = await startRestore(service, big.id, await register(service, 'target', target));
      await firstEvent(service, job, ({ job: { phase } }) => phase === 'LOADING');
      expect(await refusal(sdk.backups.delete(big))).toEqual({ code: 'BACKUP_IN_USE', field: ['backupId'] });
      await target.cli('CONFIG', 'SET', 'key-load-delay', '0');
      await sdk.restores.wait(restore, { timeoutMs: 60_000 });
    } finally {
      await target.stop();
    }
    // Read again after all: nothing was lost by it.
    expect((await new Response(await sdk.backups.download(big.id)).arrayBuffer()).byteLength).toBe(Number(big.sizeBytes));
    await sdk.jobs.wait((await sdk.backups.delete({ backupId: newest.id, force: true })).job);
  });

  it('the newest good one needs force; what is deleted is gone from the store and from every list', async () => {
    const { sdk } = service;
    const [older, newest] = [await backUp(service, instance.id, 'older'), await backUp(service, instance.id, 'newest')];
    expect((await sdk.backups.get(newest))?.retainedBecause).toBe('NEWEST_GOOD');
    const { url } = await sdk.backups.link(older);
    const { backup, job } = await sdk.backups.delete(older.id);
    expect([backup.state, job.kind]).toEqual(['DELETING', 'DELETE']);
    await sdk.jobs.wait(job);
    expect(await sdk.backups.get(older)).toMatchObject({ state: 'DELETED' });
    expect((await fetch(url)).status).toBe(404);
    expect(await storedFiles(service)).toEqual(archivesOf(big.id, newest.id));
    for (const work of [() => sdk.backups.delete(older.id), () => sdk.backups.link(older), () => sdk.restores.plan({ backupId: older.id, instanceId: instance.id })]) {
      expect(await caught(work())).toMatchObject({ code: 'NOT_FOUND' });
    }
    expect((await sdk.backups.list().toArray({ limit: 100 })).map(({ id }) => id)).not.toContain(older.id);
    expect((await sdk.backups.list({ states: ['DELETED'] }).toArray({ limit: 100 })).map(({ id }) => id)).toContain(older.id);

    expect(await refusal(sdk.backups.delete(newest.id))).toEqual({ code: 'CONFLICT', field: ['force'] });
    expect(await sdk.backups.get(newest)).toMatchObject({ state: 'AVAILABLE' });
    const [first, second] = await Promise.allSettled([sdk.backups.delete({ backupId: newest.id, force: true }), sdk.backups.delete({ backupId: newest.id, force: true })]);
    expect([first.status, second.status].sort()).toEqual(['fulfilled', 'rejected']);
    await waitFor(async () => (await sdk.backups.get(newest))?.state === 'DELETED');
    expect(await storedFiles(service)).toEqual(archivesOf(big.id));
    expect((await sdk.backups.get(big))?.retainedBecause).toBe('NEWEST_GOOD');
  });
});
