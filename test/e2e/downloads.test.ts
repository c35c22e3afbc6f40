import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, createClient } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { checkRdb } from '../kit/redis-binary.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { backUp, refusal, register } from './scene.js';

const HOUR = 3_600_000;

describe('downloads', () => {
  let offset = 0;
  let service: TestService;
  let source: RedisServer;
  let backup: Backup;
  let other: Backup;
  let folder: string;

  beforeAll(async () => {
    [service, source, folder] = await Promise.all([startService({ clock: { now: () => new Date(Date.now() + offset) } }), startRedis(), makeTempDir('downloads')]);
    await seedAllTypes(source, { keysPerType: 20 });
    const instance = await register(service, 'source', source);
    backup = await backUp(service, instance.id, 'Sicherung "№1" 備份/../x');
    other = await backUp(service, instance.id, 'other');
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), source?.stop(), removeTempDir(folder)]);
  });

  it('are plain RDB files that the tools take and a server starts from', async () => {
    const link = await service.sdk.backups.link(backup);
    expect(link).toMatchObject({ sizeBytes: backup.sizeBytes, sha256: backup.sha256 });
    expect(link.url.startsWith(`${service.url}/downloads/`)).toBe(true);
    // A link is all that is needed: no header, no key.
    const response = await fetch(link.url);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(response.status).toBe(200);
    expect(bytes.subarray(0, 5).toString()).toBe('REDIS');
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(backup.sha256);
    const file = join(folder, 'dump.rdb');
    await writeFile(file, bytes);
    expect(await checkRdb(file)).toContain('\\o/');
    const started = await startRedis({ dir: folder });
    try {
      expect(await digest(started)).toBe(await digest(source));
    } finally {
      await started.stop();
    }
  });

  it('that were cut go on with another link when theirs does not work any more', async () => {
    const { url, key: token, sdk } = service;
    const gets: string[] = [];
    const cutOff = createClient({
      url, token,
      fetch: async (...args) => {
        const response = await fetch(...args);
        if (!response.url.includes('/downloads/')) return response;
        gets.push(response.url);
        if (gets.length > 1) return response;
        const whole = new Uint8Array(await response.arrayBuffer());
        await sdk.backups.revokeLinks(backup);
        return new Response(whole.subarray(0, 1_000), { status: response.status, headers: response.headers });
      },
    });
    const parts: Uint8Array[] = [];
    const to = new WritableStream<Uint8Array>({ write: (part) => void parts.push(part) });
    expect(await cutOff.backups.download(backup, { to })).toMatchObject({ bytes: Number(backup.sizeBytes), sha256: backup.sha256 });
    expect(parts[0]).toHaveLength(1_000);
    expect(createHash('sha256').update(Buffer.concat(parts)).digest('hex')).toBe(backup.sha256);
    // The first link, the same once more in vain, another.
    expect([gets.length, new Set(gets).size]).toEqual([3, 2]);
  });

  it('say what they are before they are fetched, and can be fetched in parts', async () => {
    const { url, fileName } = await service.sdk.backups.link(backup);
    const head = await fetch(url, { method: 'HEAD' });
    expect(head.status).toBe(200);
    expect(Object.fromEntries(head.headers)).toMatchObject({
      'content-length': backup.sizeBytes, 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes', 'cache-control': 'no-store', etag: `"${backup.sha256}"`, 'x-content-sha256': backup.sha256,
      'repr-digest': `sha-256=:${Buffer.from(backup.sha256 ?? '', 'hex').toString('base64')}:`,
    });
    expect((await head.arrayBuffer()).byteLength).toBe(0);
    expect(fileName).toMatch(/^Sicherung-_№1_-備份_\.\._x-\d{8}T\d{6}Z\.rdb$/);
    expect(head.headers.get('content-disposition')).toBe(`attachment; filename="${fileName.replace(/[^\x20-\x7e]/g, '_')}"; filename*=UTF-8''${encodeURIComponent(fileName)}`);

    const whole = Buffer.from(await (await fetch(url)).arrayBuffer());
    const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
    const part = async (range: string): Promise<{ status: number; range: string | null; sha: string }> => {
      const response = await fetch(url, { headers: { range } });
      return { status: response.status, range: response.headers.get('content-range'), sha: sha(Buffer.from(await response.arrayBuffer())) };
    };
    const size = whole.length;
    expect(await part('bytes=0-8')).toEqual({ status: 206, range: `bytes 0-8/${size}`, sha: sha(whole.subarray(0, 9)) });
    expect(await part('bytes=100-')).toEqual({ status: 206, range: `bytes 100-${size - 1}/${size}`, sha: sha(whole.subarray(100)) });
    expect(await part('bytes=-8')).toEqual({ status: 206, range: `bytes ${size - 8}-${size - 1}/${size}`, sha: sha(whole.subarray(size - 8)) });
    expect(await part(`bytes=${size}-`)).toMatchObject({ status: 416, range: `bytes */${size}` });
    expect((await fetch(url, { headers: { 'if-none-match': `"${backup.sha256}"` } })).status).toBe(304);
    expect((await fetch(url, { headers: { 'if-match': '"something else"' } })).status).toBe(412);
  });

  it('last as long as was asked for, an hour by default', async () => {
    const { sdk } = service;
    for (const expiresInSeconds of [59, 604_801, 0, -1]) {
      expect(await refusal(sdk.backups.link(backup, { expiresInSeconds }))).toEqual({ code: 'BAD_INPUT', field: ['expiresInSeconds'] });
    }
    for (const [expiresInSeconds, lasts] of [[undefined, HOUR], [60, 60_000], [604_800, 7 * 24 * HOUR]] as const) {
      const { url, expiresAt } = await sdk.backups.link(backup, expiresInSeconds === undefined ? {} : { expiresInSeconds });
      const from = Date.now() + offset;
      expect(Math.abs(new Date(expiresAt).getTime() - from - lasts)).toBeLessThan(5_000);
      const before = offset;
      try {
        offset = before + lasts - 10_000;
        expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
        offset = before + lasts + 10_000;
        expect((await fetch(url, { method: 'HEAD' })).status).toBe(404);
      } finally {
        offset = before;
      }
    }
  });

  it('are refused alike, whatever is wrong with the link', async () => {
    const { sdk } = service;
    const [{ url }, { url: elsewhere }] = [await sdk.backups.link(backup), await sdk.backups.link(other)];
    const token = url.split('/').at(-1) ?? '';
    const [body = '', signature = ''] = token.split('.');
    const [otherBody = '', otherSignature = ''] = (elsewhere.split('/').at(-1) ?? '').split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as unknown[];
    const prolonged = Buffer.from(JSON.stringify(claims.map((claim) => (typeof claim === 'number' && claim > 1e9 ? claim + 1e6 : claim)))).toString('base64url');
    const gone = await backUp(service, backup.instance.id, 'soon gone');
    const { url: dead } = await sdk.backups.link(gone);
    expect((await fetch(dead, { method: 'HEAD' })).status).toBe(200);
    await sdk.jobs.wait((await sdk.backups.delete({ backupId: gone.id, force: true })).job);
    const revoked = await sdk.backups.link(backup);
    expect(await sdk.backups.revokeLinks(backup, { linkId: revoked.id })).toBe(1);
    const once = await sdk.backups.link(backup, { singleUse: true });
    await (await fetch(once.url)).arrayBuffer();

    const answers = new Map<string, string>();
    for (const [what, forged] of Object.entries({
      'another backup with this signature': `${otherBody}.${signature}`, 'another signature': `${body}.${otherSignature}`, prolonged: `${prolonged}.${signature}`, cut: token.slice(0, -1),
      longer: `${token}A`, 'no signature': body, 'no claims': `.${signature}`, nonsense: 'x', 'a backup id': backup.id, 'a key': service.key, huge: 'x'.repeat(5_000), deleted: dead.split('/').at(-1) ?? '',
      revoked: revoked.url.split('/').at(-1) ?? '', used: once.url.split('/').at(-1) ?? '',
    })) {
      const response = await fetch(`${service.url}/downloads/${forged}`);
      expect(response.status, what).toBe(404);
      expect(response.headers.get('etag')).toBeNull();
      expect([response.headers.get('cache-control'), response.headers.get('x-content-type-options')]).toEqual(['no-store', 'nosniff']);
      answers.set(what, (await response.text()).replace(/"(requestId|id)":"[^"]*"/g, ''));
    }
    expect(new Set(answers.values()).size).toBe(1);
    expect((await fetch(url, { method: 'POST' })).status).toBe(405);
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
  });

  it('can be revoked, one or all of a backup, and made for one use, which HEAD is not', async () => {
    const { sdk } = service;
    const status = async (url: string, method = 'HEAD'): Promise<number> => {
      const response = await fetch(url, { method });
      await response.arrayBuffer();
      return response.status;
    };
    const [one, two, single] = [await sdk.backups.link(backup), await sdk.backups.link(backup), await sdk.backups.link(backup, { singleUse: true })];
    const elsewhere = await sdk.backups.link(other);
    expect([one.singleUse, single.singleUse, single.id]).toEqual([false, true, expect.stringMatching(/^lnk_/)]);
    expect(await sdk.backups.revokeLinks(other, { linkId: one.id })).toBe(0);
    expect(await sdk.backups.revokeLinks(backup, { linkId: one.id })).toBe(1);
    expect(await sdk.backups.revokeLinks(backup, { linkId: one.id })).toBe(0);
    expect([await status(one.url), await status(two.url), await status(single.url), await status(single.url)]).toEqual([404, 200, 200, 200]);
    // Of those who come at once, one is served.
    const served = await Promise.all(Array.from({ length: 8 }, () => status(single.url, 'GET')));
    expect(served.sort()).toEqual([200, ...Array.from({ length: 7 }, () => 404)]);
    expect([await status(single.url), await status(two.url, 'GET'), await status(two.url, 'GET')]).toEqual([404, 200, 200]);
    expect(await sdk.backups.revokeLinks(backup)).toBeGreaterThanOrEqual(1);
    expect([await status(two.url), await status(elsewhere.url)]).toEqual([404, 200]);
    expect(await refusal(sdk.backups.revokeLinks('bak_none'))).toEqual({ code: 'NOT_FOUND', field: ['backupId'] });
    expect(await refusal(sdk.backups.revokeLinks(backup, { linkId: 'x\0' }))).toEqual({ code: 'NOT_FOUND', field: ['linkId'] });
  });

  it('stay open over a restart of the service, and over the removal of the instance', async () => {
    const { url } = await service.sdk.backups.link(backup);
    const path = new URL(url).pathname;
    await service.restart();
    expect((await fetch(`${service.url}${path}`, { method: 'HEAD' })).status).toBe(200);
    await service.sdk.instances.remove(backup.instance.id);
    expect(Buffer.from(await (await fetch(`${service.url}${path}`)).arrayBuffer())).toHaveLength(Number(backup.sizeBytes));
  });
});
