import 'reflect-metadata';
import { type Pool } from 'pg';
import { DataSource } from 'typeorm';
import { MIGRATIONS } from '../../migrations/index.js';
import { ENTITIES } from './entities/index.js';
import { SnakeNaming } from './naming.js';

export interface DataSourceOptions {
  url: string;
  /** Most connections of this process's pool. */
  poolSize?: number;
  /** Told of connections that broke while idle; the pool replaces them. */
  onPoolError?: (error: Error) => void;
  /** How long a transaction may do nothing until the server ends it, in ms; default 10,000. */
  idleInTransactionMs?: number;
}

/** A connection is waited for this long, from the pool as from the server. */
const CONNECT_MS = 10_000;

export const createDataSource = ({ url, poolSize = 10, onPoolError, idleInTransactionMs = 10_000 }: DataSourceOptions): DataSource =>
  new DataSource({
    type: 'postgres',
    url,
    entities: ENTITIES,
    migrations: MIGRATIONS,
    migrationsTransactionMode: 'each',
    namingStrategy: new SnakeNaming(),
    installExtensions: false,
    applicationName: 'snapback',
    poolSize,
    connectTimeoutMS: CONNECT_MS,
    // A process that was stopped or cut off in the middle of a transaction would hold its locks, the event log's among them, for all nodes.
    extra: { keepAlive: true, idle_in_transaction_session_timeout: idleInTransactionMs },
    poolErrorHandler: (error: unknown) => onPoolError?.(error instanceof Error ? error : new Error(String(error))),
  });

/** Longest wait for connections to be closed on both sides. */
const CLOSE_MS = 2_000;

export interface OpenDataSource {
  source: DataSource;
  /** Resolves when the server has seen the last connection go, so that it can be stopped. */
  close(): Promise<void>;
}

export const openDataSource = async (options: DataSourceOptions): Promise<OpenDataSource> => {
  const source = createDataSource(options);
  await source.initialize();
  const { master: pool } = source.driver as unknown as { master: Pool };
  let open = pool.totalCount;
  let none: (() => void) | undefined;
  pool.on('connect', () => {
    open += 1;
  });
  // Told when the connection has ended; the pool's own end() does not wait for that.
  pool.on('remove', () => {
    open -= 1;
    if (open === 0) none?.();
  });
  return {
    source,
    async close() {
      const closed = new Promise<void>((resolve) => {
        none = resolve;
      });
      await source.destroy();
      if (open === 0) return;
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([closed, new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_MS);
      })]);
      clearTimeout(timer);
    },
  };
};
