import 'reflect-metadata';
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
}

export const createDataSource = ({ url, poolSize = 10, onPoolError }: DataSourceOptions): DataSource =>
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
    poolErrorHandler: (error: unknown) => onPoolError?.(error instanceof Error ? error : new Error(String(error))),
  });
