import { randomBytes } from 'node:crypto';
import { type Server, createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestProject } from 'vitest/node';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../server/embedded/postgres.js';
import { guardProcess, makeTempDir, releaseProcess, removeTempDir } from './processes.js';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Answers a GET with the address of the run's PostgreSQL, which the first one starts. */
    postgresBroker: string;
  }
}

interface Broker {
  url: string;
  users: number;
  close(): Promise<void>;
}

/** Each project loads this module anew, but all in one process: the broker is shared through the global object. */
const shared = globalThis as unknown as Record<symbol, Promise<Broker> | undefined>;
const KEY = Symbol.for('snapback.test.postgres-broker');

/** Costs nothing until a test wants a database: only then the cluster is made, once per run. It ends with the run, kill -9 included. */
export default async (project: TestProject): Promise<() => Promise<void>> => {
  const broker = await (shared[KEY] ??= openBroker());
  broker.users += 1;
  project.provide('postgresBroker', broker.url);
  return async () => {
    broker.users -= 1;
    if (broker.users > 0) return;
    shared[KEY] = undefined;
    await broker.close();
  };
};

const openBroker = async (): Promise<Broker> => {
  const secret = randomBytes(16).toString('hex');
  let cluster: Promise<{ server: EmbeddedPostgres; dir: string }> | undefined;
  const http: Server = createServer((request, response) => {
    if (request.url !== `/${secret}`) {
      response.writeHead(404).end();
      return;
    }
    (cluster ??= startCluster()).then(
      ({ server }) => response.end(server.url),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  http.unref();
  return {
    url: `http://127.0.0.1:${String((http.address() as AddressInfo).port)}/${secret}`,
    users: 0,
    close: async () => {
      http.close();
      http.closeAllConnections();
      const running = await cluster?.catch(() => undefined);
      if (running === undefined) return;
      await running.server.stop();
      releaseProcess(running.server.pid);
      await removeTempDir(running.dir);
    },
  };
};

const startCluster = async (): Promise<{ server: EmbeddedPostgres; dir: string }> => {
  const dir = makeTempDir('postgres');
  const quiet = (): void => undefined;
  const server = await startEmbeddedPostgres({
    dataDir: join(dir, 'data'),
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    settings: {
      fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', wal_level: 'minimal', max_wal_senders: '0',
      max_connections: '400', shared_buffers: '64MB', autovacuum: 'off', checkpoint_timeout: '1h', max_wal_size: '4GB',
    },
  });
  guardProcess(server.pid, 'QUIT');
  return { server, dir };
};
