import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import pg from 'pg';
import { type Client } from '../../sdk/src/index.js';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { firstKeyOf, spawnNode, startNode, type NodeProcess, type ServiceFacts } from '../kit/node-process.js';
import { digest } from '../kit/digest.js';
import { guardProcess, makeTempDir, releaseProcess, removeTempDir } from '../kit/processes.js';
import { type RedisServer, startRedis } from '../kit/redis.js';

/** A server of the storm, registered at the service. */
export interface Server {
  name: string;
  instanceId: string;
  redis: RedisServer;
  /** Of its data at the beginning; that of a source never changes. */
  digest: string;
}

/** Everything real that the storm goes over: PostgreSQL, a store, servers, an API, and workers that come and go. */
export interface World {
  facts: ServiceFacts;
  sdk: Client;
  sources: Server[];
  targets: Server[];
  /** Workers that run now. */
  readonly workers: readonly NodeProcess[];
  /** Starts one more; resolves when it works. */
  startWorker(): Promise<NodeProcess>;
  sql<T>(text: string, parameters?: readonly unknown[]): Promise<T[]>;
  /** What processes have logged as an error, those that were killed included; but for work that was taken from them. */
  errors(): string[];
  stop(): Promise<void>;
}

/** Of every server, in seconds; each backup takes it away for a moment. */
export const SYNC_DELAY = '1';
export const LEASE_MS = 2_000;
/** Unsealed files are swept after so long. */
export const UNSEALED_MS = 2_000;
const WORKER = {
  ROLE: 'worker', LEASE_SECONDS: String(LEASE_MS / 1000), LEASE_RENEW_SECONDS: '0.5', LEASE_COLLECT_SECONDS: '0.3', UPKEEP_SECONDS: '1', NET_SECONDS: '5', UNSEALED_SECONDS: String(UNSEALED_MS / 1000), DRAIN_SECONDS: '3', LOG_FORMAT: 'json', LOG_LEVEL: 'info',
};

const quiet = (): void => undefined;

const startServer = async (name: string, keys: number, config: Record<string, string>): Promise<Omit<Server, 'instanceId'>> => {
  const redis = await startRedis({ config: { rdbcompression: 'no', 'repl-diskless-sync-delay': SYNC_DELAY, ...config } });
  await redis.cli('DEBUG', 'POPULATE', String(keys), name, '500');
  return { name, redis, digest: await digest(redis) };
};

/** What has been started is stopped when the rest cannot be. */
export const startWorld = async (): Promise<World> => {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).reverse()) await one();
  };
  try {
    return await build(stops, stop);
  } catch (error) {
    await stop();
    throw error;
  }
};

const build = async (stops: (() => Promise<unknown>)[], stop: () => Promise<void>): Promise<World> => {
  const dir = makeTempDir('storm');
  stops.push(() => removeTempDir(dir));
  const postgres: EmbeddedPostgres = await startEmbeddedPostgres({
    dataDir: join(dir, 'postgres'), log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '200' },
  });
  guardProcess(postgres.pid, 'QUIT');
  stops.push(async () => {
    await postgres.stop();
    releaseProcess(postgres.pid);
  });
  const pool = new pg.Pool({ connectionString: postgres.url, max: 4 });
  pool.on('error', quiet);
  stops.push(() => pool.end());

  const servers = await Promise.all([
    startServer('north', 120, {}), startServer('south', 200, {}), startServer('west', 300, {}),
    startServer('plain', 40, { 'repl-diskless-load': 'disabled' }), startServer('logged', 50, { appendonly: 'yes' }),
  ]);
  for (const { redis } of servers) stops.push(() => redis.stop());

  const facts: ServiceFacts = { databaseUrl: postgres.url, storeRoot: join(dir, 'store'), masterKey: randomBytes(32).toString('hex') };
  const nodes: NodeProcess[] = [];
  const api = await startNode(facts, { env: { ROLE: 'api', LOG_FORMAT: 'json' } });
  nodes.push(api);
  stops.push(() => Promise.all(nodes.map((node) => node.dispose())));
  const sdk = api.client(await firstKeyOf([api]));
  const registered: Server[] = [];
  for (const server of servers) {
    const { id } = await sdk.instances.register({ name: server.name, host: server.redis.host, port: server.redis.port, skipSyncDelay: true });
    registered.push({ ...server, instanceId: id });
  }

  return {
    facts, sdk, sources: registered.slice(0, 3), targets: registered.slice(3), stop,
    get workers() {
      return nodes.filter((node) => node !== api && node.url !== '' && node.running());
    },
    async startWorker() {
      const { node, ready } = await spawnNode(facts, { env: WORKER });
      nodes.push(node);
      return ready;
    },
    sql: async <T>(text: string, parameters: readonly unknown[] = []) => (await pool.query(text, [...parameters])).rows as T[],
    errors: () => nodes.flatMap((node) => node.output().split('\n').filter((line) => line.includes('"level":"error"') && !line.includes('INTERRUPTED'))),
  };
};
