import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis, type RedisOptions } from 'ioredis';
import { type Engine } from '../../server/domain/backup.js';
import { exited, freePort, guardProcess, makeTempDir, releaseProcess, removeTempDir } from './processes.js';
import { type TestRedisBinary, compareVersions, redisBinary } from './redis-binary.js';
import { type TlsFiles, tlsFiles } from './redis-tls.js';
import { sleep, waitFor } from './wait.js';

export interface RedisServerOptions {
  /** A folder name of the version matrix; default: the server `redisBinary()` finds. */
  version?: string | undefined;
  /** Of the default user (`requirepass`); the kit's own connections use it. */
  password?: string | undefined;
  /** Rules after the word `user`, e.g. `backup on >secret +psync +replconf +ping`. From 6.0. */
  acl?: readonly string[] | undefined;
  /** Lines of redis.conf over the kit's own; the value stands as the file wants it. An array gives a line each. */
  config?: Readonly<Record<string, string | readonly string[]>> | undefined;
  /** Extra arguments of the command line. */
  args?: readonly string[] | undefined;
  /** Listens with TLS only. `true` makes certificates for localhost and 127.0.0.1. */
  tls?: boolean | TlsFiles | undefined;
  /** With TLS: whether clients need a certificate. Default false. */
  tlsAuthClients?: boolean | undefined;
  /** A node in cluster mode; `slots` are assigned once it is up (default all; `[]` for none), each range inclusive. */
  cluster?: boolean | { slots: readonly (readonly [number, number])[] } | undefined;
  replicaOf?: { host: string; port: number; password?: string | undefined } | undefined;
  /** Default: a random free one. */
  port?: number | undefined;
  /** Start in this folder (which stays afterwards) instead of a temporary one, e.g. to load a dump.rdb that lies there. */
  dir?: string | undefined;
  /** Time to load and listen. Default 15,000 ms. */
  startTimeoutMs?: number | undefined;
}

/** A running server. `stop` (or the end of the process) removes it with its folder. */
export interface RedisServer {
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  readonly dir: string;
  readonly version: string;
  readonly engine: Engine;
  readonly binary: TestRedisBinary;
  readonly password: string | undefined;
  readonly tls: TlsFiles | undefined;
  /** Whether DEBUG may be called. */
  readonly debug: boolean;
  /** Output of redis-cli, without the last line end. */
  cli(...args: string[]): Promise<string>;
  /** A connection of its own, closed by `stop`. Options go over the kit's. */
  client(options?: RedisOptions): Redis;
  /** Everything it has logged since its first start. */
  log(): string;
  running(): boolean;
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on its port and in its folder, after ending it by `signal` (default SIGTERM) if it runs. `config` is added. */
  restart(options?: { signal?: NodeJS.Signals; config?: Readonly<Record<string, string | readonly string[]>> }): Promise<void>;
  stop(): Promise<void>;
}

const run = promisify(execFile);
const READY = /ready to accept connections|^.*\+monitor |Sentinel (ID|runid) is/im;

/** Starts a real server on 127.0.0.1: no persistence, immediate diskless sync, DEBUG allowed, unless the options say otherwise. */
export const startRedis = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
  const binary = await redisBinary(options.version);
  const dir = options.dir ?? makeTempDir('redis');
  chmodSync(dir, 0o700);
  const tls = options.tls === true ? await tlsFiles() : options.tls === false ? undefined : options.tls;
  const config = { ...defaults(binary, options, tls), ...options.config };
  try {
    return await launch({ binary, dir, tls, options, config, mode: 'server' });
  } catch (error) {
    if (options.dir === undefined) await removeTempDir(dir);
    throw error;
  }
};

export interface SentinelOptions {
  /** Name of the watched master. Default `main`. */
  name?: string;
  master: { host: string; port: number; password?: string | undefined };
  /** Default 1. */
  quorum?: number;
  /** Default 1,000 ms. */
  downAfterMs?: number;
  version?: string;
}

/** Starts a Sentinel watching one master. */
export const startSentinel = async ({ name = 'main', master, quorum = 1, downAfterMs = 1_000, version }: SentinelOptions): Promise<RedisServer> => {
  const binary = await redisBinary(version);
  const dir = makeTempDir('sentinel');
  const config = {
    bind: '127.0.0.1',
    'sentinel monitor': `${name} ${master.host} ${String(master.port)} ${String(quorum)}`,
    'sentinel down-after-milliseconds': `${name} ${String(downAfterMs)}`,
    'sentinel failover-timeout': `${name} 10000`,
    ...(master.password === undefined ? {} : { 'sentinel auth-pass': `${name} ${master.password}` }),
  };
  try {
    return await launch({ binary, dir, tls: undefined, options: {}, config, mode: 'sentinel' });
  } catch (error) {
    await removeTempDir(dir);
    throw error;
  }
};

type Config = Record<string, string | readonly string[]>;

const defaults = (binary: TestRedisBinary, options: RedisServerOptions, tls: TlsFiles | undefined): Config => {
  const { password, acl, cluster, replicaOf, tlsAuthClients = false } = options;
  const at = (version: string): boolean => binary.engine === 'VALKEY' || compareVersions(binary.version, version) >= 0;
  return {
    bind: '127.0.0.1',
    save: '""',
    appendonly: 'no',
    'repl-diskless-sync-delay': '0',
    ...(at('7.0.0') ? { 'enable-debug-command': 'yes' } : {}),
    ...(password === undefined ? {} : { requirepass: password }),
    ...(acl === undefined ? {} : { user: acl }),
    ...(cluster === undefined || cluster === false ? {} : { 'cluster-enabled': 'yes', 'cluster-config-file': 'nodes.conf' }),
    ...(replicaOf === undefined ? {} : { [at('5.0.0') ? 'replicaof' : 'slaveof']: `${replicaOf.host} ${String(replicaOf.port)}` }),
    ...(replicaOf?.password === undefined ? {} : { masterauth: replicaOf.password }),
    ...(tls === undefined ? {} : {
      'tls-cert-file': tls.certFile, 'tls-key-file': tls.keyFile, 'tls-ca-cert-file': tls.caFile, 'tls-auth-clients': tlsAuthClients ? 'yes' : 'no',
    }),
  };
};

interface Launch {
  binary: TestRedisBinary;
  dir: string;
  tls: TlsFiles | undefined;
  options: RedisServerOptions;
  config: Config;
  mode: 'server' | 'sentinel';
}

const configText = (config: Config): string =>
  Object.entries(config).flatMap(([name, value]) => (typeof value === 'string' ? [value] : value).map((line) => `${name} ${line === '' ? '""' : line}\n`)).join('');

const launch = async ({ binary, dir, tls, options, config, mode }: Launch): Promise<RedisServer> => {
  const logFile = join(dir, 'server.log');
  const configFile = join(dir, 'redis.conf');
  const readLog = (): string => readFileSync(logFile, 'utf8');
  const clients = new Set<Redis>();
  const busSpread = options.cluster === undefined || options.cluster === false ? 0 : 10_000;
  const auth = options.password;
  let port = 0;
  let child: ChildProcess | undefined;
  let alive = false;

  /** One try; false when the port was taken by somebody else meanwhile. */
  const startOnce = async (): Promise<boolean> => {
    const out = openSync(logFile, 'a');
    const before = readLog().length;
    const place = { dir, ...(tls === undefined ? { port: String(port) } : { port: '0', 'tls-port': String(port) }) };
    const args = Object.entries(place).flatMap(([name, value]) => [`--${name}`, value]);
    const started = spawn(binary.server, [configFile, ...args, ...(options.args ?? []), ...(mode === 'sentinel' ? ['--sentinel'] : [])], { cwd: dir, stdio: ['ignore', out, out] });
    closeSync(out);
    child = started;
    started.on('error', () => undefined);
    const pid = started.pid;
    if (pid === undefined) throw new Error(`${binary.server} could not be started`);
    guardProcess(pid);
    alive = true;
    started.once('exit', () => {
      releaseProcess(pid);
      if (child === started) alive = false;
    });
    const deadline = performance.now() + (options.startTimeoutMs ?? 60_000);
    for (;;) {
      const said = readLog().slice(before);
      if (READY.test(said)) return true;
      if (!alive) {
        if (/Address already in use|Failed listening on port/i.test(said)) return false;
        throw new Error(`${binary.server} ended at its start:\n${said}`);
      }
      if (performance.now() > deadline) {
        started.kill('SIGKILL');
        await exited(started);
        throw new Error(`${binary.server} was not ready in time:\n${said}`);
      }
      await sleep(5);
    }
  };

  const kill = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    if (child === undefined) return;
    if (alive) child.kill(signal);
    await exited(child);
  };

  const server: RedisServer = {
    host: '127.0.0.1',
    get port() { return port; },
    get pid() { return child?.pid ?? 0; },
    dir, tls, binary, password: auth, version: binary.version, engine: binary.engine,
    debug: config['enable-debug-command'] !== 'no' && mode === 'server',
    cli: async (...args) => {
      const secure = tls === undefined ? [] : ['--tls', '--cacert', tls.caFile, '--cert', tls.clientCertFile, '--key', tls.clientKeyFile];
      const { stdout } = await run(binary.cli, ['-h', '127.0.0.1', '-p', String(port), ...secure, ...args], {
        env: { ...process.env, ...(auth === undefined ? {} : { REDISCLI_AUTH: auth }) }, maxBuffer: 64 * 1024 * 1024,
      });
      return stdout.replace(/\n$/, '');
    },
    client: (overrides = {}) => {
      const client = new Redis({
        host: '127.0.0.1', port, disableClientInfo: true, ...(auth === undefined ? {} : { password: auth }),
        ...(tls === undefined ? {} : { tls: { ca: readFileSync(tls.caFile), cert: readFileSync(tls.clientCertFile), key: readFileSync(tls.clientKeyFile) } }),
        retryStrategy: (times) => Math.min(times * 20, 200), ...overrides,
      });
      // Tests kill servers: a lost connection shows in the command that needed it.
      client.on('error', () => undefined);
      clients.add(client);
      client.once('end', () => clients.delete(client));
      return client;
    },
    log: readLog,
    running: () => alive,
    kill,
    restart: async ({ signal = 'SIGTERM', config: added = {} } = {}) => {
      await kill(signal);
      if (Object.keys(added).length > 0) writeFileSync(configFile, readFileSync(configFile, 'utf8') + configText({ ...added }));
      if (!(await startOnce())) throw new Error(`Port ${String(port)} was taken while the server was down`);
    },
    stop: async () => {
      for (const client of clients) client.disconnect();
      await kill();
      if (options.dir === undefined) await removeTempDir(dir);
    },
  };

  writeFileSync(configFile, configText(config), { mode: 0o600 });
  for (let tries = 0; ; tries += 1) {
    port = options.port ?? (await freePort(busSpread));
    if (await startOnce()) break;
    if (tries >= 5 || options.port !== undefined) throw new Error(`Port ${String(port)} is taken`);
  }
  if (busSpread > 0) await assignSlots(server, options.cluster);
  return server;
};

const assignSlots = async (server: RedisServer, cluster: RedisServerOptions['cluster']): Promise<void> => {
  const ranges = typeof cluster === 'object' ? cluster.slots : [[0, 16_383] as const];
  const client = server.client();
  for (const [first, last] of ranges) {
    await client.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: last - first + 1 }, (_, i) => String(first + i)));
  }
  const whole = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0) === 16_384;
  if (whole) await waitFor(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'), { message: 'the cluster to be up' });
  client.disconnect();
};
