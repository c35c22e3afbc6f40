import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '@snapback/sdk';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';
import { backUp, refusal, register, startRestore, storedFiles } from './scene.js';

const NEW_KEY = 'c0ffee'.repeat(10) + 'beef';

describe('changing the master key', () => {
  let service: TestService;
  let source: RedisServer;
  let file: string;
  let old: string;
  beforeAll(async () => {
    [service, source] = await Promise.all([startService(), startRedis({ password: 'of-the-source' })]);
    file = join(service.dataDir, 'master.key');
    old = (await readFile(file, 'utf8')).trim();
  });
  afterAll(() => Promise.all([service.stop(), source.stop()]));

  it('seals passwords and keys of archives anew in the background, touches no data, and says when the old key may go', async () => {
    await source.client().set('k', 'before');
    const instance = await register(service, 'source', source, { password: 'of-the-source' });
    const backup = await backUp(service, instance.id);
    const link = await service.sdk.backups.link(backup);
    const robot = { name: 'robot', role: 'VIEWER', idempotencyKey: 'robot' } as const;
    const { token } = await service.sdk.apiKeys.create(robot);
    const data = await readFile(join(service.storeRoot, `backups/${backup.id}/rdb`));

    await writeFile(file, `${NEW_KEY}\n${old}\n`);
    await service.restart();
    await waitFor(() => service.logs().includes('Everything is sealed under the current master key now'));
    expect((await storedFiles(service)).filter((name) => name.includes('/key'))).toHaveLength(1);
    expect(await readFile(join(service.storeRoot, `backups/${backup.id}/rdb`))).toEqual(data);
    // A link that was given out goes on, as long as its key is there.
    expect((await fetch(link.url.replace(/^https?:\/\/[^/]+/, service.url))).status).toBe(200);

    expect((await service.sdk.apiKeys.create(robot)).token).toBe(token);

    await writeFile(file, `${NEW_KEY}\n`);
    await service.restart();
    // Nobody can make its text again. The key is as good as ever.
    expect(await refusal(service.sdk.apiKeys.create(robot))).toEqual({ code: 'CONFLICT', field: ['idempotencyKey'] });
    expect((await createClient({ url: service.url, token }).viewer()).role).toBe('VIEWER');
    await source.client().set('k', 'after');
    await backUp(service, instance.id, 'under the new key');
    const { restore } = await startRestore(service, backup.id, instance);
    expect(await service.sdk.restores.wait(restore)).toMatchObject({ dataNow: 'NEW' });
    expect(await source.client().get('k')).toBe('before');
  });

  it('is refused when a key is missing under which something is sealed: nothing is written', async () => {
    await writeFile(file, `${'1'.repeat(64)}\n`);
    await expect(service.restart()).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE', message: expect.stringMatching(/under master key [0-9a-f]{8}; configured: [0-9a-f]{8}/) as string });
    await writeFile(file, `${NEW_KEY}\n`);
    await service.restart();
    expect(await service.sdk.backups.list().toArray({ limit: 10 })).toHaveLength(2);
  });
});
