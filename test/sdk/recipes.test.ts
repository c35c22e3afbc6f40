import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createElement, type ReactNode } from 'react';
import { create, type ReactTestRenderer } from 'react-test-renderer';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { type Client, type Job } from '../../sdk/src/index.js';
import { readSnippets, RECIPES, runSnippet } from '../integration/sdk/readme-snippets.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { checkRdb } from '../kit/redis-binary.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { waitFor } from '../kit/wait.js';

let service: TestService;
let production: RedisServer;
let staging: RedisServer;
let folder: string;
let said: string;

beforeAll(async () => {
  folder = makeTempDir('copies');
  [service, production, staging] = await Promise.all([startService(), startRedis(), startRedis()]);
  await production.cli('MSET', 'a', '1', 'b', '2', 'user:1', '3');
  await staging.cli('SET', 'old', 'yes');
  await service.sdk.instances.register({ name: 'orders-cache', host: production.host, port: production.port });
  await service.sdk.instances.register({ name: 'orders-staging', host: staging.host, port: staging.port });
});
afterAll(async () => {
  await Promise.all([service?.stop(), production?.stop(), staging?.stop()]);
  await removeTempDir(folder);
});
beforeEach(() => {
  said = '';
  vi.stubEnv('SNAPBACK_URL', service.url);
  vi.stubEnv('SNAPBACK_KEY', service.key);
  vi.stubEnv('COPY_FOLDER', folder);
  vi.spyOn(console, 'log').mockImplementation((...words: unknown[]) => { said += `${words.join(' ')}\n`; });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

const run = async (name: string): Promise<Record<string, unknown>> => {
  const snippet = readSnippets().find((found) => found.name === name);
  if (snippet === undefined) throw new Error(`sdk/README.md has no recipe ${name}.`);
  return runSnippet(snippet);
};

it('production is cloned to staging, and what was there can be had again', async () => {
  await run('clone');
  expect(said).toMatch(/^NEW Replaces everything/);
  expect((await staging.cli('MGET', 'a', 'b', 'user:1', 'old')).split('\n').map((line) => line.trim())).toEqual(['1', '2', '3', '']);
  // Run again on the same day, it takes no other backup of production.
  await run('clone');
  const [instance] = await service.sdk.instances.list({ nameContains: 'orders-cache' }).toArray({ limit: 1 });
  expect(await service.sdk.backups.list({ instanceId: instance!.id }).toArray({ limit: 9 })).toHaveLength(1);
});

it('copies are made once, whole, of each server', async () => {
  await run('nightly');
  const copies = readdirSync(folder);
  expect(copies).toHaveLength(2);
  for (const copy of copies) {
    expect(copy).toMatch(/^bak_\w+\.rdb$/);
    expect(await checkRdb(join(folder, copy))).toContain('RDB looks OK');
  }
  expect(said.trim().split('\n').sort()).toEqual([expect.stringMatching(/^orders-cache \d+ [0-9a-f]{64}$/), expect.stringMatching(/^orders-staging \d+ [0-9a-f]{64}$/)]);
  said = '';
  await run('nightly');
  expect(said).toBe('');
});

it('the bar ends full', async () => {
  let drawn = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    drawn += String(text);
    return true;
  });
  await run('terminal');
  vi.mocked(process.stdout.write).mockRestore();
  const bars = drawn.split('\r').filter((line) => line !== '');
  expect(bars.length).toBeGreaterThan(1);
  for (const bar of bars) expect(bar).toMatch(/^█*░* [A-Z]+ *$/);
  expect(bars.at(-1)).toMatch(/^█{24} /);
  expect(said).toMatch(/^\n\d+ bytes\n$/);
});

it('the hook shows the job up to its end, lets go with its component, and shows why it cannot be followed', async () => {
  const { useJob } = (await run('react-hook')) as { useJob: (client: Client, jobId: string) => { job?: Job; error?: unknown } };
  (globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = false;
  vi.spyOn(console, 'error').mockImplementation(() => undefined); // The test renderer says that it is not to be used in products.
  const drawn: string[] = [];
  const Progress = ({ jobId }: { jobId: string }): ReactNode => {
    const { job, error } = useJob(service.sdk, jobId);
    drawn.push(error === undefined ? (job?.state ?? 'nothing yet') : 'lost');
    return null;
  };
  const [instance] = await service.sdk.instances.list({ nameContains: 'orders-cache' }).toArray({ limit: 1 });
  const { job } = await service.sdk.backups.create({ instanceId: instance!.id, name: 'shown' });
  const root: ReactTestRenderer = create(createElement(Progress, { jobId: job.id }));
  await waitFor(() => drawn.at(-1) === 'COMPLETED');
  expect(drawn[0]).toBe('nothing yet');
  root.update(createElement(Progress, { jobId: 'job_unknown' }));
  await waitFor(() => drawn.at(-1) === 'lost');
  root.unmount();
  const before = drawn.length;
  service.sdk.close();
  expect(drawn).toHaveLength(before);
});

it('these are all the recipes that are not run elsewhere', () => {
  expect(readSnippets().map(({ name }) => name).filter((name) => RECIPES.includes(name))).toEqual(RECIPES);
});
