import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup } from '@snapback/sdk';
import { digest } from '../kit/digest.js';
import { readBlocks } from '../kit/docs.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { eventually, waitFor } from '../kit/wait.js';
import { archivesOf, backUp, register, startRestore, storedFiles } from '../e2e/scene.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const MASTER_KEY = 'ab'.repeat(32);

interface Check {
  name: string;
  ok: boolean;
  reason?: string;
}

describe('a store that outlives its database', () => {
  let source: RedisServer;
  let target: RedisServer;
  let folder: string;
  const services: TestService[] = [];

  const start = async (): Promise<TestService> => {
    const service = await startService({ env: { STORE_URL: `file://${join(folder, 'store')}`, MASTER_KEY, UPKEEP_SECONDS: '1', UNSEALED_SECONDS: '1' } });
    services.push(service);
    return { ...service, storeRoot: join(folder, 'store') };
  };
  const upkeepOf = async ({ url }: TestService): Promise<{ status: number; check: Check | undefined }> => {
    const response = await fetch(`${url}/readyz`);
    const { checks } = (await response.json()) as { checks: Check[] };
    return { status: response.status, check: checks.find(({ name }) => name === 'upkeep') };
  };
  /** The command as an operator runs it. */
  const adopt = (service: TestService, ...args: string[]) => inShell(service, `node dist/server/store-adopt.js ${args.join(' ')}`);
  const inShell = async (service: Pick<TestService, 'dataDir' | 'databaseUrl' | 'storeRoot'> | undefined, script: string): Promise<{ code: number | null; output: string }> => {
    let output = '';
    const settings = service && { DATA_DIR: service.dataDir, DATABASE_URL: service.databaseUrl, STORE_URL: `file://${service.storeRoot}`, MASTER_KEY };
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], ...settings };
    const child = spawn('sh', ['-euc', script], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, output };
  };
  const passes = async (service: TestService, count: number): Promise<void> => {
    for (let pass = 0; pass < count; pass += 1) expect(await eventually(async () => (await service.app.upkeep.pass()) ?? Promise.reject(new Error('busy')))).toMatchObject({ swept: 0, removed: 0, adopted: 0 });
  };

  beforeAll(async () => {
    await inShell(undefined, 'node start.mjs --prepare');
    [source, target, folder] = await Promise.all([startRedis(), startRedis(), makeTempDir('outlives')]);
    await seedAllTypes(source, { keysPerType: 20 });
  });
  afterAll(async () => {
    for (const service of services) await service.stop();
    await Promise.all([source?.stop(), target?.stop(), removeTempDir(folder)]);
  });

  it('is left alone by a new database until an operator adopts it; then its backups are there again, proven, and can be restored', async () => {
    const first = await start();
    const kept: Backup = await backUp(first, (await register(first, 'orders', source)).id, 'before the loss');
    expect(await upkeepOf(first)).toMatchObject({ status: 200, check: { ok: true } });
    await first.stop();
    services.pop();
    // What the sweep would take, were it allowed to.
    const leftover = join(folder, 'store', '.tmp', `backups+bak_${'0'.repeat(26)}+rdb~${randomBytes(9).toString('hex')}`);
    await writeFile(leftover, 'half');
    await utimes(leftover, new Date(0), new Date(0));

    const second = await start();
    const { status, check } = await upkeepOf(second);
    expect(status).toBe(200);
    expect(check).toMatchObject({ ok: false, reason: expect.stringMatching(/belongs to catalogue .* Sweeping and retention are off until "npm run store:adopt"/) as string });
    expect(second.logs()).toContain('Sweeping and retention are off');
    await passes(second, 2);
    expect(await storedFiles(second)).toEqual([`.tmp/${leftover.split('/').at(-1)}`, ...archivesOf(kept.id)].sort());
    expect(await second.sdk.backups.list().toArray({ limit: 10 })).toEqual([]);
    // It works otherwise.
    const restored = await register(second, 'restored', target);
    const own = await backUp(second, restored.id, 'of the new database');

    const plan = await adopt(second);
    expect(plan).toMatchObject({ code: 0, output: expect.stringContaining('Nothing was changed. To do it: npm run store:adopt -- --yes') as string });
    expect(plan.output).toMatch(/put 1 archive of the unknown project prj_\w+ \("orders"\) into project "default"/);
    expect(await upkeepOf(second)).toMatchObject({ check: { ok: false } });
    expect(await adopt(second, '--yes', '--project', 'prj_x=nowhere')).toMatchObject({ code: 1, output: expect.stringContaining('No archive without a record names a project "prj_x"') as string });
    expect(await adopt(second, '--project', 'x')).toMatchObject({ code: 2, output: expect.stringContaining('FROM=INTO') as string });
    expect(await adopt(second, '--yes')).toMatchObject({ code: 0, output: expect.stringContaining('Done.') as string });

    // The service that runs goes on by itself.
    await waitFor(async () => (await upkeepOf(second)).check?.ok);
    const { sdk } = second;
    await waitFor(async () => (await sdk.backups.get(kept.id))?.state === 'AVAILABLE');
    const { sha256, sizeBytes, keys, databases, types, loadsOn, completedAt, expiresAt, name, trigger, integrity } = kept;
    expect(await sdk.backups.get(kept.id)).toMatchObject({ sha256, sizeBytes, keys, databases, types, loadsOn, completedAt, expiresAt, name, trigger, integrity, job: null, instance: { name: 'orders' } });
    expect((await sdk.backups.wait(kept.id)).id).toBe(kept.id);
    await waitFor(async () => !(await readdir(join(folder, 'store', '.tmp'))).some((file) => leftover.endsWith(file)));
    expect(await sdk.backups.get(own.id)).toMatchObject({ state: 'AVAILABLE' });

    // The instance is there again, without a credential and not planned; looked at, it is as before.
    const orders = await sdk.instances.list({ nameContains: 'orders' }).first();
    expect(orders).toMatchObject({ port: source.port, hasPassword: false, policy: { enabled: false, nextRunAt: null }, capabilities: { backup: { possible: false } } });
    expect(await sdk.instances.probe(orders!)).toMatchObject({ capabilities: { backup: { possible: true } } });
    await backUp(second, orders!.id, 'after the loss');

    const { restore } = await startRestore(second, kept.id, restored);
    expect(await sdk.restores.wait(restore, { timeoutMs: 60_000 })).toMatchObject({ dataNow: 'NEW' });
    expect(await digest(target)).toBe(await digest(source));
    expect(await adopt(second)).toMatchObject({ code: 0, output: expect.stringContaining('belong together already') as string });
  });

  it('has one catalogue: a service on another database beside it takes nothing away, and says so after it lost the store', async () => {
    const [second] = services;
    const third = await start();
    await passes(third, 2);
    const asDocumented = readBlocks('server/README.md').find(({ run }) => run === 'store-adopt');
    expect(await inShell(third, asDocumented?.code ?? 'false')).toMatchObject({ code: 0, output: expect.stringMatching(/Nothing was changed[^]*Done\./) as string });
    await waitFor(async () => (await upkeepOf(second!)).check?.ok === false);
    expect((await upkeepOf(second!)).check?.reason).toContain('belongs to catalogue');
    const files = await storedFiles(third);
    await passes(second!, 2);
    expect(await storedFiles(third)).toEqual(files);
  });
});
