import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, readlink, realpath, rename, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Redis } from 'ioredis';
import { DomainError, abortReason } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { acquireFolderLock } from './folder-lock.js';
import { freePort, isPortFree } from './free-port.js';
import { isAlive, signalProcess, waitUntilGone } from './process-identity.js';
import { seedSampleData } from './sample-data.js';

export interface SampleRedisOptions {
  /** Folder of its own: holds the data, the password, the settings and the log. Made when missing. */
  dataDir: string;
  /** Path of a Redis or Valkey server program. */
  binary: string;
  log: Log;
  signal?: AbortSignal | undefined;
}

export interface SampleRedis {
  host: string;
  /** The same at every start, unless somebody else has taken it meanwhile. */
  port: number;
  password: string;
  pid: number;
  /** Saves and ends the server. May be called more than once. */
  stop(): Promise<void>;
}

const HOST = '127.0.0.1';
const START_MS = 20_000;

/**
 * Runs a Redis server to try the service on: on loopback only, with a password made at its first start, saving its data to its folder,
 * filled once with a few thousand keys of every type. One that an earlier, killed service left running is taken over as it is.
 */
export const startSampleRedis = async (options: SampleRedisOptions): Promise<SampleRedis> => {
  const dataDir = resolve(options.dataDir);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = await acquireFolderLock(join(dataDir, 'service.lock'), { purpose: 'sample Redis', signal: options.signal });
  try {
    const password = await secretIn(join(dataDir, 'password'));
    const known = Number(await readFile(join(dataDir, 'port'), 'utf8').catch(() => ''));
    const adopted = known > 0 ? await identify(known, password) : null;
    const { port, pid } = adopted === null ? await launch({ ...options, dataDir }, password, known) : { port: known, pid: adopted };
    const stop = async (): Promise<void> => {
      await end(pid);
      await lock.release();
    };
    try {
      await seedOnce(dataDir, port, password);
    } catch (error) {
      await end(pid);
      throw error;
    }
    let stopping: Promise<void> | undefined;
    return { host: HOST, port, password, pid, stop: () => (stopping ??= stop()) };
  } catch (error) {
    await lock.release();
    throw error;
  }
};

const secretIn = async (file: string): Promise<string> => {
  const present = await readFile(file, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new DomainError('STORAGE_PERMISSION', `The sample server's password in ${file} cannot be read.`, { cause: error });
  });
  if (present !== null && present.trim() !== '') return present.trim();
  const secret = randomBytes(24).toString('base64url');
  await writeFile(file, `${secret}\n`, { mode: 0o600 });
  return secret;
};

/** Runs `use` on a connection that has logged in. AUTH is sent by hand: ioredis goes on when its own is refused. */
const withClient = async <T>(port: number, password: string, use: (client: Redis) => Promise<T>, commandTimeout = 30_000): Promise<T> => {
  const client = new Redis({
    host: HOST, port, lazyConnect: true, connectTimeout: 2_000, commandTimeout, retryStrategy: () => null,
    enableOfflineQueue: false, enableReadyCheck: false, maxRetriesPerRequest: 0, disableClientInfo: true,
  });
  // Failures arrive in the calls below.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.call('AUTH', password);
    return await use(client);
  } finally {
    client.disconnect();
  }
};

/** The pid of the server on the port if it is ours: no other takes a password that only our folder holds and asks none before. */
const identify = (port: number, password: string): Promise<number | null> =>
  withClient(port, password, async (client) => Number(/^process_id:(\d+)/m.exec(await client.info('server'))?.[1] ?? 0) || null, 1_000).catch(() => null);

const launch = async ({ binary, dataDir, log, signal }: SampleRedisOptions, password: string, known: number): Promise<{ port: number; pid: number }> => {
  await endUnresponsive(dataDir);
  const logFile = join(dataDir, 'redis.log');
  const deadline = performance.now() + START_MS;
  for (let port = known > 0 ? known : await freePort(); ; port = await freePort()) {
    if (!(await isPortFree(port))) {
      log.warn('The port of the sample server is taken; choosing another', { port });
      continue;
    }
    await writeFile(join(dataDir, 'redis.conf'), [
      `bind ${HOST}`, `port ${String(port)}`, `requirepass ${password}`, 'dir ./', 'dbfilename dump.rdb', 'pidfile redis.pid', 'daemonize no',
      'save 300 1', 'save 60 100', 'appendonly no', 'databases 16', 'repl-diskless-sync-delay 0', '',
    ].join('\n'), { mode: 0o600 });
    const from = await stat(logFile).then((info) => info.size, () => 0);
    const out = openSync(logFile, 'a', 0o600);
    const child = spawn(binary, ['redis.conf'], { cwd: dataDir, stdio: ['ignore', out, out], detached: true });
    closeSync(out);
    let failure: Error | undefined;
    child.once('error', (error) => { failure = error; });
    while (failure === undefined && child.exitCode === null && child.signalCode === null) {
      await new Promise((done) => setTimeout(done, 20));
      if (child.pid !== undefined && (await identify(port, password)) === child.pid) {
        child.unref();
        await writeFile(join(dataDir, 'port'), `${String(port)}\n`);
        return { port, pid: child.pid };
      }
      if (child.pid !== undefined && (signal?.aborted === true || performance.now() > deadline)) {
        await end(child.pid);
        if (signal?.aborted === true) throw abortReason(signal);
      }
    }
    const said = failure?.message ?? (await readFile(logFile)).subarray(from).toString('utf8').trim();
    if (!/Address already in use|Failed listening/i.test(said) || performance.now() > deadline) {
      throw new DomainError('INTERNAL', `The sample Redis server did not start: ${said.split('\n').slice(-3).join(' | ')}`, { hint: `See ${logFile}.` });
    }
  }
};

/** A leftover that holds our folder but does not answer: it would overwrite the file of the next one. */
const endUnresponsive = async (dataDir: string): Promise<void> => {
  const pid = Number(await readFile(join(dataDir, 'redis.pid'), 'utf8').catch(() => ''));
  if (!(await isAlive(pid))) return;
  const cwd = await readlink(`/proc/${String(pid)}/cwd`).catch(() => null);
  if (cwd === (await realpath(dataDir))) await end(pid);
};

/** SIGTERM saves first; a server that does not end within half a minute is killed. */
const end = async (pid: number): Promise<void> => {
  for (const [signal, patienceMs] of [['SIGTERM', 30_000], ['SIGKILL', 5_000]] as const) {
    if (!signalProcess(pid, signal) || (await waitUntilGone(pid, patienceMs))) return;
  }
  throw new DomainError('INTERNAL', `The sample Redis server (process ${String(pid)}) does not end.`);
};

/** Never again after it succeeded once, whatever has become of the data since: a restore into the sample must last. */
const seedOnce = async (dataDir: string, port: number, password: string): Promise<void> => {
  const mark = join(dataDir, 'seeded');
  if (await stat(mark).then(() => true, () => false)) return;
  await withClient(port, password, async (client) => {
    await client.flushall();
    await seedSampleData(client);
    await client.save();
  });
  await writeFile(`${mark}.new`, '');
  await rename(`${mark}.new`, mark);
};
