import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Client } from 'pg';
import { DomainError, abortReason } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { acquireFolderLock } from './folder-lock.js';
import { freePort } from './free-port.js';
import { postgresBinaries } from './postgres-binaries.js';
import { type Cluster, SUPERUSER, folderName, openCluster } from './postgres-cluster.js';
import { type SystemUser, postgresUser } from './postgres-user.js';
import { endPostmaster, readPostmasterFile, settleLeftover } from './postmaster.js';

export interface EmbeddedPostgresOptions {
  /** Folder of its own: holds the cluster, its password, its log and the lock. Made when missing. */
  dataDir: string;
  /** Folder with PostgreSQL's `bin`, `lib` and `share`; default: the installed package. */
  binariesFrom?: string | undefined;
  /** Where a copy of the programs is kept when the user PostgreSQL runs as cannot reach them. Default /var/tmp. */
  binariesCopyIn?: string | undefined;
  /** Server settings over ours, by their postgresql.conf names. */
  settings?: Readonly<Record<string, string>> | undefined;
  log: Log;
  /** Ends the start, not the running server. */
  signal?: AbortSignal | undefined;
}

export interface EmbeddedPostgres {
  /** With the password: not for logs. */
  url: string;
  port: number;
  pid: number;
  /** Resolves when the server's process has ended, whether `stop` was called or not. */
  ended: Promise<void>;
  /** Cuts all sessions, flushes, ends the server, frees the folder. May be called more than once. */
  stop(): Promise<void>;
}

const DATABASE = 'snapback';
const START_MS = 60_000;
const LOG_BYTES = 4 * 1024 * 1024;

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  password_encryption: 'scram-sha-256',
  max_connections: '100',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'warning',
};

/**
 * Runs PostgreSQL on a free loopback port as a child that our signals do not reach, in a folder that one service at a time may use
 * (CONFLICT otherwise). A server that an earlier, killed service left running in the folder is stopped first. Works as root (it then
 * runs as another user) and as anybody else.
 */
export const startEmbeddedPostgres = async (options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> => {
  const { log, signal, binariesFrom, binariesCopyIn } = options;
  const dataDir = resolve(options.dataDir);
  await mkdir(dataDir, { recursive: true });
  const lock = await acquireFolderLock(join(dataDir, 'service.lock'), { purpose: 'embedded PostgreSQL', signal });
  try {
    const cluster = join(dataDir, 'cluster');
    const user = await postgresUser(cluster);
    // Another user must be able to pass this folder; what lies in it is closed on its own.
    await chmod(dataDir, user === null ? 0o700 : 0o711);
    const binaries = await postgresBinaries({ from: binariesFrom, forAnybody: user !== null, copiesIn: binariesCopyIn });
    await settleLeftover(cluster, log);
    const opened = await openCluster({ dataDir, binaries, user, durable: options.settings?.['fsync'] !== 'off', signal });
    const server = await startServer({ options, dataDir, postgres: binaries.postgres, user, opened });
    let stopping: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      await endPostmaster(server.pid);
      await server.ended;
      await lock.release();
    };
    const address = (database: string): string => `postgresql://${SUPERUSER}:${opened.password}@127.0.0.1:${String(server.port)}/${database}`;
    try {
      await ensureDatabase(address('postgres'));
    } catch (error) {
      await endPostmaster(server.pid);
      throw error;
    }
    return { url: address(DATABASE), port: server.port, pid: server.pid, ended: server.ended, stop: () => (stopping ??= stop()) };
  } catch (error) {
    await lock.release();
    throw error;
  }
};

/** Address of the server that a running service keeps in this folder; null when none runs there. With the password: not for logs. */
export const runningEmbeddedPostgres = async (dataDir: string): Promise<string | null> => {
  const file = await readPostmasterFile(join(resolve(dataDir), 'cluster'));
  const password = await readFile(join(resolve(dataDir), 'password'), 'utf8').catch(() => null);
  if (file === null || !file.ready || password === null) return null;
  return `postgresql://${SUPERUSER}:${password.trim()}@127.0.0.1:${String(file.port)}/${DATABASE}`;
};

interface StartOptions {
  options: EmbeddedPostgresOptions;
  dataDir: string;
  postgres: string;
  user: SystemUser | null;
  opened: Cluster;
}

interface Running {
  pid: number;
  port: number;
  ended: Promise<void>;
}

/** Repeats a start that lost its port to somebody, or that met the last children of a postmaster that was killed. */
const startServer = async ({ options, dataDir, postgres, user, opened }: StartOptions): Promise<Running> => {
  const logFile = join(dataDir, 'postgres.log');
  const { name, cwd } = await folderName(opened.folder, user);
  const deadline = performance.now() + START_MS;
  if (await stat(logFile).then((info) => info.size > LOG_BYTES, () => false)) await rename(logFile, `${logFile}.1`);
  for (;;) {
    const port = await freePort();
    const settings = { ...SETTINGS, port: String(port), ...options.settings };
    const from = await stat(logFile).then((info) => info.size, () => 0);
    const out = openSync(logFile, 'a', 0o600);
    const child = spawn(postgres, ['-D', name, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])], {
      cwd, stdio: ['ignore', out, out], detached: true, uid: user?.uid, gid: user?.gid,
    });
    closeSync(out);
    const ended = endOf(child);
    const ready = await becomesReady(child, opened.folder, deadline, options.signal);
    if (ready !== null) {
      child.unref();
      return { pid: ready, port, ended };
    }
    const said = (await readFile(logFile)).subarray(from).toString('utf8').trim();
    const transient = /could not bind|could not create any TCP\/IP sockets|pre-existing shared memory block/.test(said);
    if (!transient || performance.now() >= deadline) {
      throw new DomainError('INTERNAL', `PostgreSQL did not start in ${dataDir}: ${said.split('\n').slice(-4).join(' | ') || 'it said nothing'}`, { hint: `See ${logFile}.` });
    }
    await new Promise((done) => setTimeout(done, 100));
  }
};

const endOf = (child: ChildProcess): Promise<void> =>
  new Promise((done) => {
    child.once('exit', () => { done(); });
    child.once('error', () => { done(); });
  });

/** The pid once the server accepts connections; null when it ended instead. */
const becomesReady = async (child: ChildProcess, folder: string, deadline: number, signal: AbortSignal | undefined): Promise<number | null> => {
  let failure: Error | undefined;
  child.once('error', (error) => { failure = error; });
  for (;;) {
    await new Promise((done) => setTimeout(done, 10));
    if (failure !== undefined) throw new DomainError('INTERNAL', `PostgreSQL cannot be executed: ${failure.message}`, { cause: failure });
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return null;
    const file = await readPostmasterFile(folder);
    if (file !== null && file.pid === child.pid && file.ready) return child.pid;
    if (signal?.aborted === true || performance.now() >= deadline) {
      await endPostmaster(child.pid);
      if (signal?.aborted === true) throw abortReason(signal);
      return null;
    }
  }
};

const ensureDatabase = async (adminUrl: string): Promise<void> => {
  const client = new Client({ connectionString: adminUrl, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
};
