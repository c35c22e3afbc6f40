import { join } from 'node:path';
import { type Config } from './config/config.js';
import { DomainError } from './domain/errors.js';
import { runningEmbeddedPostgres, startEmbeddedPostgres } from './embedded/postgres.js';
import { type Logger } from './telemetry/logger.js';

/** The database of the settings: a given one, the embedded one of the running service, or the embedded one started for this. */
export const openDatabaseUrl = async (config: Config, log: Logger): Promise<{ url: string; stop: () => Promise<void> }> => {
  if (config.databaseUrl !== null) return { url: config.databaseUrl, stop: () => Promise.resolve() };
  const dataDir = join(config.dataDir, 'postgres');
  try {
    const postgres = await startEmbeddedPostgres({ dataDir, log });
    return { url: postgres.url, stop: () => postgres.stop() };
  } catch (error) {
    const running = error instanceof DomainError && error.code === 'CONFLICT' ? await runningEmbeddedPostgres(dataDir) : null;
    if (running === null) throw error;
    return { url: running, stop: () => Promise.resolve() };
  }
};
