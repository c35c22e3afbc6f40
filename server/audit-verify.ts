import { ConfigError, readConfig, type Config } from './config/config.js';
import { openDatabaseUrl } from './database-place.js';
import { createDataSource } from './db/data-source.js';
import { createDatabase } from './db/database.js';
import { DomainError } from './domain/errors.js';
import { topicsOf } from './events/topics.js';
import { createAuditSigner } from './security/audit-signer.js';
import { masterKeysFromFile, masterKeysFromText } from './security/master-key.js';
import { type ChainReport, verifyAudit } from './services/audit-verify.js';
import { createLogger, type Logger } from './telemetry/logger.js';

/** Reads only: neither a migration nor a key is made. */
const run = async (config: Config, log: Logger): Promise<ChainReport[]> => {
  const keys = config.masterKey !== null ? masterKeysFromText(config.masterKey) : (await masterKeysFromFile(config.masterKeyFile, { create: false })).keys;
  const { url, stop } = await openDatabaseUrl(config, log);
  try {
    const source = createDataSource({ url, poolSize: 2, onPoolError: (error) => log.warn('A database connection broke.', { error: error.message }) });
    await source.initialize();
    try {
      return await verifyAudit(createDatabase(source, topicsOf), createAuditSigner(keys));
    } finally {
      await source.destroy();
    }
  } finally {
    await stop();
  }
};

const lineOf = ({ projectId, events, checkpoints, unchecked, faults }: ChainReport): string => [
  `${projectId}: ${events} events, ${checkpoints} signed ends${unchecked > 0 ? `, ${unchecked} signed under a master key that was not given` : ''}: ${faults.length === 0 ? 'as they were written' : 'NOT as they were written'}`,
  ...faults.map((fault) => `  - ${fault}`),
].join('\n');

/** Exit codes: 0 all is as it was written; 1 it is not; 2 wrong settings; 3 it could not be looked at. */
const main = async (): Promise<number> => {
  let config: Config;
  try {
    config = readConfig();
  } catch (error) {
    process.stderr.write(`${error instanceof ConfigError ? error.message : String(error)}\n`);
    return 2;
  }
  const log = createLogger({ level: 'warn', format: 'text', write: (line) => void process.stderr.write(line) });
  try {
    const reports = await run(config, log);
    process.stdout.write(`${reports.map(lineOf).join('\n')}\n`);
    return reports.every(({ faults }) => faults.length === 0) ? 0 : 1;
  } catch (error) {
    const told = error instanceof DomainError ? [error.message, error.hint].filter(Boolean).join(' ') : error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.error(`The audit could not be verified: ${told}`);
    return 3;
  }
};

process.exitCode = await main();
