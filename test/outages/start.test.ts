import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClient } from '@snapback/sdk';
import { runningEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { isAlive } from '../../server/embedded/process-identity.js';
import { canary, dumpOf, manifestsIn, shownOf } from '../kit/canary.js';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { redisBinary } from '../kit/redis-binary.js';
import { waitFor } from '../kit/wait.js';

const START = fileURLToPath(new URL('../../start.mjs', import.meta.url));

/** What `npm run store:adopt` runs; the service's start has built it. */
const ADOPT = fileURLToPath(new URL('../../dist/server/store-adopt.js', import.meta.url));

/** Ids of the processes that work in a folder. */
const processesIn = async (folder: string): Promise<number[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map(async (pid) => (await readlink(`/proc/${pid}/cwd`).catch(() => '')).startsWith(folder) && Number(pid)));
  return found.filter((pid) => pid !== false);
};

const exitCode = async (child: ChildProcess): Promise<number | null> => {
  await exited(child);
  return child.exitCode;
};

interface Started {
  child: ChildProcess;
  url: string;
  output: () => string;
}

describe('npm start', () => {
  let dataDir: string;
  let redisServer: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    dataDir = await makeTempDir('start');
    redisServer = (await redisBinary()).server;
  });
  afterAll(async () => {
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await exited(child);
      }
    }
    await removeTempDir(dataDir);
  });

  /** Of this Node, whichever runs the tests; a supervisor ends it when the tests are killed. */
  const start = async (): Promise<Started> => {
    let output = '';
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], DATA_DIR: dataDir, PORT: '0', REDIS_SERVER_BIN: redisServer };
    const child = spawn(process.execPath, [START], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    const { pid } = child;
    if (pid === undefined) throw new Error('The service could not be spawned');
    guardProcess(pid, 'TERM');
    child.once('exit', () => releaseProcess(pid));
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const url = await waitFor(() => {
      if (child.exitCode !== null) throw new Error(`The service ended (${child.exitCode}):\n${output}`);
      return /running at (http:\S+)/.exec(output)?.[1];
    }, { message: () => `the service to start:\n${output}` });
    // The databases it runs outlive a killed service, but must not outlive the tests.
    for (const server of await processesIn(dataDir)) guardProcess(server);
    return { child, url, output: () => output };
  };
  const adopt = async (): Promise<string> => {
    let output = '';
    const child = spawn(process.execPath, [ADOPT], { env: { PATH: process.env['PATH'], DATA_DIR: dataDir }, stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await exitCode(child);
    return output;
  };
  const adminKey = async (): Promise<string> => (await readFile(join(dataDir, 'admin-key'), 'utf8')).trim();
  const postgresPid = async (): Promise<number> => Number((await readFile(join(dataDir, 'postgres', 'cluster', 'postmaster.pid'), 'utf8')).split('\n')[0]);

  it('sets everything up, stops cleanly, finds everything again, and survives kill -9', async () => {
    const first = await start();
    const key = await adminKey();
    expect(first.output().split(key)).toHaveLength(2);
    expect((await stat(join(dataDir, 'admin-key'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(dataDir, 'master.key'))).mode & 0o777).toBe(0o600);
    const sdk = createClient({ url: first.url, token: key });
    const [sample] = await sdk.instances.list().toArray({ limit: 10 });
    expect(sample).toMatchObject({ name: 'sample', hasPassword: true });
    expect(Number(sample?.server.keys)).toBeGreaterThan(1_000);
    const { backup } = await sdk.backups.create({ instanceId: sample?.id ?? '', name: 'first' });
    expect(await sdk.backups.wait(backup.id)).toMatchObject({ state: 'AVAILABLE' });
    expect(await (await fetch(`${first.url}/readyz`)).json()).toMatchObject({ status: 'ready' });
    expect((await fetch(`${first.url}/`)).headers.get('content-type')).toContain('text/html');
    expect(first.output()).toMatch(new RegExp(`Dashboard +${first.url}/dashboard\n`));
    expect(await (await fetch(`${first.url}/dashboard`)).text()).toMatch(/<script type="module" [^>]*src="\/dashboard\/assets\//);
    expect(await (await fetch(`${first.url}/metrics`)).text()).toContain('snapback_job_duration_seconds');
    const database = await postgresPid();

    first.child.kill('SIGINT');
    expect(await exitCode(first.child)).toBe(0);
    expect(await isAlive(database)).toBe(false);

    const second = await start();
    expect(second.output()).not.toContain(key);
    const again = createClient({ url: second.url, token: key });
    expect(await again.backups.get(backup.id)).toMatchObject({ state: 'AVAILABLE', name: 'first' });
    expect(await again.instances.probe(sample?.id ?? '')).toMatchObject({ name: 'sample' });
    second.child.kill('SIGKILL');
    await exited(second.child);

    const third = await start();
    const restored = createClient({ url: third.url, token: key });
    expect(await restored.instances.list().toArray({ limit: 10 })).toHaveLength(1);
    const later = await restored.backups.create({ instanceId: sample?.id ?? '', name: 'after a kill' });
    expect(await restored.backups.wait(later.backup.id)).toMatchObject({ state: 'AVAILABLE' });
    const lastDatabase = await postgresPid();

    // But for the one line of the very first start, no secret of this folder stands anywhere: not even where its own database and sample server show themselves.
    const said = [first, second, third].map(({ output }) => output());
    said[0] = said[0]?.replace(key, '') ?? '';
    const leave = canary?.enter();
    const texts = { output: said.join(''), processes: '', database: '', manifests: await manifestsIn(join(dataDir, 'store')), logs: '' };
    for (const pid of await processesIn(dataDir)) texts.processes += await shownOf(pid);
    for (const log of ['postgres/postgres.log', 'sample-redis/redis.log']) texts.logs += await readFile(join(dataDir, log), 'utf8');
    texts.database = await dumpOf((await runningEmbeddedPostgres(join(dataDir, 'postgres'))) ?? '');
    for (const secret of [key.slice(30, 73), ...(await Promise.all(['master.key', 'postgres/password', 'sample-redis/password'].map((file) => readFile(join(dataDir, file), 'utf8'))))]) {
      expect(secret.trim().length).toBeGreaterThanOrEqual(16);
      canary?.hide(secret.trim());
    }
    for (const [where, text] of Object.entries(texts)) expect(text.length, where).toBeGreaterThan(0);
    leave?.('npm start', texts);
    // The embedded database serves an operator's command beside the service, and is started for it where none runs.
    expect(await adopt()).toContain('belong together already');
    expect(await postgresPid()).toBe(lastDatabase);
    third.child.kill('SIGTERM');
    expect(await exitCode(third.child)).toBe(0);
    expect(await adopt()).toContain('belong together already');
    expect(await processesIn(dataDir)).toEqual([]);
    expect(await isAlive(lastDatabase)).toBe(false);
  });

  it('says everything that is wrong with its settings at once, without their values', async () => {
    const child = spawn(process.execPath, [START], {
      env: { PATH: process.env['PATH'], DATA_DIR: dataDir, PORT: 'many', DATABASE_URL: 'mysql://user:hunter2@host/db', LOG_LEVEL: 'loud' }, stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(child);
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    expect(await exitCode(child)).toBe(2);
    for (const name of ['PORT', 'DATABASE_URL', 'LOG_LEVEL']) expect(errors).toContain(name);
    expect(errors).not.toContain('hunter2');
  });
});
