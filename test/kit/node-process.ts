import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createClient, type Client } from '../../sdk/src/index.js';
import { acquireFolderLock } from '../../server/embedded/folder-lock.js';
import { canary, dumpOf, manifestsIn, shownOf } from './canary.js';
import { exited, guardProcess, makeTempDir, releaseProcess, removeTempDir } from './processes.js';
import { quietZone } from './quiet-zone.js';
import { waitFor } from './wait.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'server', 'main.js');

let built: Promise<void> | undefined;

/** Builds what is out of date; workers of one run, and runs at the same time, one after the other. */
const build = (): Promise<void> =>
  (built ??= (async () => {
    const lock = await acquireFolderLock(join(tmpdir(), `snapback-build-${Buffer.from(ROOT).toString('hex').slice(-40)}.lock`), { purpose: 'a build for tests', waitMs: 170_000 });
    try {
      await promisify(execFile)(process.execPath, [join(ROOT, 'start.mjs'), '--prepare'], { cwd: ROOT });
    } finally {
      await lock.release();
    }
  })());

/** What nodes of one service have in common. */
export interface ServiceFacts {
  databaseUrl: string;
  storeRoot: string;
  /** 64 hexadecimal digits. */
  masterKey: string;
}

export interface NodeOptions {
  env?: Readonly<Record<string, string>>;
  /** Modules that run before the service, such as `clockOffBy` and `blocksOnSignal` give. */
  preload?: readonly string[];
}

/** A process of the service, of its own. */
export interface NodeProcess {
  readonly pid: number;
  readonly url: string;
  /** Where only this process writes. */
  readonly dataDir: string;
  /** Everything it has printed and logged. */
  output(): string;
  running(): boolean;
  signal(signal: NodeJS.Signals): void;
  /** The answer of /readyz: the status and, by their names, what is not well. */
  ready(): Promise<{ status: number; wrong: string[] }>;
  client(token: string): Client;
  /** Of a process that was started with `heapOnSignal`: what is in use after its garbage has been collected. */
  heapBytes(): Promise<number>;
  /** TCP connections to its port that are open now. @param from only the one from this port */
  connections(from?: number): Promise<number>;
  /** Ends it by SIGTERM; answers with its exit code. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
  ended(): Promise<number | null>;
  /** To be called in the end: ends it, however it stands, and removes its folder. */
  dispose(): Promise<void>;
}

const module = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;

/** The wall clock of the process is off by so much, from its first moment on. */
export const clockOffBy = (ms: number): string => module(`
  const Real = Date;
  globalThis.Date = class Date extends Real {
    constructor(...args) { if (args.length === 0) super(Real.now() + ${ms}); else super(...args); }
    static now() { return Real.now() + ${ms}; }
  };`);

/** At SIGUSR2 the process says "blocked" and does nothing at all for so long: its event loop is blocked. */
export const blocksOnSignal = (ms: number): string => module(`
  import { writeSync } from 'node:fs';
  process.on('SIGUSR2', () => {
    writeSync(2, 'blocked\\n');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${ms});
  });`);

/** At SIGUSR2 the process collects its garbage and prints how large its heap is then; see `heapBytes`. */
export const heapOnSignal = module(`
  import { setFlagsFromString } from 'node:v8';
  import { runInNewContext } from 'node:vm';
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  process.on('SIGUSR2', () => { collect(); setTimeout(() => { collect(); process.stderr.write('heap ' + process.memoryUsage().heapUsed + ' bytes\\n'); }, 200); });`);

/** Starts a process; `ready` waits until it listens. */
export const spawnNode = async (facts: ServiceFacts, { env = {}, preload = [] }: NodeOptions = {}): Promise<{ node: NodeProcess; ready: Promise<NodeProcess> }> => {
  await build();
  const dataDir = makeTempDir('node');
  let output = '';
  let url = '';
  let shown = '';
  const child: ChildProcess = spawn(process.execPath, ['--enable-source-maps', ...preload.flatMap((code) => ['--import', code]), MAIN], {
    env: {
      PATH: process.env['PATH'], HOME: process.env['HOME'], NODE_ENV: 'production', DATA_DIR: dataDir, PORT: '0', DATABASE_URL: facts.databaseUrl,
      STORE_URL: `file://${facts.storeRoot}`, MASTER_KEY: facts.masterKey, DRAIN_SECONDS: '10', LEASE_SECONDS: '60', LEASE_RENEW_SECONDS: '1', LEASE_COLLECT_SECONDS: '0.5', SOURCE_SYNCS: '10000', SOURCE_FAILED_SYNCS: '10000', CONNECT_ALLOW: '127.0.0.0/8, ::1', DEFAULT_TIME_ZONE: quietZone(), ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('The service could not be spawned');
  const leaveCanary = canary?.enter();
  guardProcess(pid);
  child.once('exit', () => releaseProcess(pid));
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const running = (): boolean => child.exitCode === null && child.signalCode === null;
  const clients = new Set<Client>();

  const node: NodeProcess = {
    pid, dataDir, running,
    get url() {
      return url;
    },
    output: () => output,
    signal: (signal) => void child.kill(signal),
    async ready() {
      const response = await fetch(`${url}/readyz`);
      const { checks } = (await response.json()) as { checks: { name: string; ok: boolean }[] };
      return { status: response.status, wrong: checks.filter(({ ok }) => !ok).map(({ name }) => name) };
    },
    client(token) {
      const client = createClient({ url, token });
      clients.add(client);
      return client;
    },
    async heapBytes() {
      const before = output.length;
      child.kill('SIGUSR2');
      return Number(await waitFor(() => /heap (\d+) bytes\n/.exec(output.slice(before))?.[1]));
    },
    async connections(from) {
      const [port, other] = [Number(new URL(url).port), from].map((number) => number?.toString(16).toUpperCase().padStart(4, '0'));
      // Established ones with this port on our side, as Linux lists them.
      return (await readFile('/proc/net/tcp', 'utf8')).split('\n').filter((line) => new RegExp(`^ *\\d+: [0-9A-F]{8}:${port} [0-9A-F]{8}:${other ?? '[0-9A-F]{4}'} 01 `).test(line)).length;
    },
    async ended() {
      await exited(child);
      return child.exitCode;
    },
    stop() {
      child.kill('SIGTERM');
      return node.ended();
    },
    async kill() {
      child.kill('SIGKILL');
      await exited(child);
    },
    async dispose() {
      for (const client of clients) client.close();
      await node.kill();
      if (leaveCanary) {
        canary?.hide((await readFile(join(dataDir, 'admin-key'), 'utf8').catch(() => '')).trim().slice(30, 73));
        // Where others have taken the database away already, they have looked.
        leaveCanary('a process of the service', { output, 'command line': shown, database: await dumpOf(facts.databaseUrl).catch(() => ''), manifests: await manifestsIn(facts.storeRoot) });
      }
      await removeTempDir(dataDir);
    },
  };
  const ready = waitFor(() => {
    if (!running()) throw new Error(`The service ended (${String(child.exitCode ?? child.signalCode)}):\n${output}`);
    url = /running at (http:\S+)/.exec(output)?.[1] ?? '';
    return url === '' ? null : node;
  }, { timeoutMs: 120_000, message: () => `the service to start:\n${output}` });
  ready.catch(() => undefined);
  if (canary) {
    canary.hideSettings({ DATABASE_URL: facts.databaseUrl, MASTER_KEY: facts.masterKey, ...env });
    void ready.then(async () => {
      canary?.hear(url);
      shown = await shownOf(pid);
    }, () => undefined);
  }
  return { node, ready };
};

export const startNode = async (facts: ServiceFacts, options: NodeOptions = {}): Promise<NodeProcess> => {
  const { node, ready } = await spawnNode(facts, options);
  try {
    return await ready;
  } catch (error) {
    await node.dispose();
    throw error;
  }
};

/** The admin key, from the one node that made it. */
export const firstKeyOf = async (nodes: readonly NodeProcess[]): Promise<string> => {
  const found: string[] = [];
  for (const { dataDir } of nodes) {
    const file = join(dataDir, 'admin-key');
    if (await access(file).then(() => true, () => false)) found.push((await readFile(file, 'utf8')).trim());
  }
  if (found.length !== 1) throw new Error(`${String(found.length)} nodes have a first key, not one`);
  return found[0] ?? '';
};
