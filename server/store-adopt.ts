import { parseArgs } from 'node:util';
import { ConfigError, readConfig, type Config } from './config/config.js';
import { openDatabaseUrl } from './database-place.js';
import { createDataSource } from './db/data-source.js';
import { createDatabase } from './db/database.js';
import { migrate } from './db/migrate.js';
import { DomainError } from './domain/errors.js';
import { type KeyRing } from './engine/archive/archive.js';
import { type Store } from './engine/store/store.js';
import { topicsOf } from './events/topics.js';
import { carryOutAdoption, describeAdoption, planAdoption, type ProjectChoice } from './jobs/upkeep/adoption.js';
import { createUpkeepArchives } from './jobs/upkeep/archives.js';
import { catalogueIdOf } from './jobs/upkeep/attachment.js';
import { createConnectPolicy, OwnPorts } from './security/connect-policy.js';
import { createDial } from './security/dial.js';
import { masterKeysFromFile, masterKeysFromText } from './security/master-key.js';
import { openStoreAt } from './store-place.js';
import { type Database } from './services/ports.js';
import { createLogger, type Logger } from './telemetry/logger.js';

const USAGE = `Usage: npm run store:adopt -- [--yes] [--project FROM=INTO]...

Makes the store (STORE_URL) this database's, after one of the two was lost or exchanged. Says what it will do; does it with --yes.
Works beside the running service, which goes on by itself within seconds, and with it stopped.

  --project FROM=INTO  Puts archives of project FROM, which this database does not know, into project INTO (its id or name).
`;

interface Wish {
  yes: boolean;
  choices: ProjectChoice[];
}

const readArguments = (): Wish => {
  const { values } = parseArgs({ options: { yes: { type: 'boolean', default: false }, project: { type: 'string', multiple: true, default: [] } } });
  return {
    yes: values.yes,
    choices: values.project.map((text) => {
      const [from, into, ...rest] = text.split('=');
      if (!from || !into || rest.length > 0) throw new TypeError(`--project takes FROM=INTO, not "${text}"`);
      return { from, into };
    }),
  };
};

/** A folder that has lost its marker, or never had one, is made a store once that is confirmed. */
const openStore = async (config: Config, catalogueId: string, { yes }: Wish, log: Logger): Promise<Store> => {
  const open = (create: false | 'overContent'): Promise<Store> => openStoreAt(config, { create, catalogueId }, { dial: createDial(createConnectPolicy(config.connect, new OwnPorts())), log });
  try {
    return await open(false);
  } catch (error) {
    if (!(error instanceof DomainError) || error.details['marker'] !== 'MISSING') throw error;
    if (yes) return open('overContent');
    throw new DomainError('STORAGE_IO', `${error.message} With --yes it becomes one, and whatever archives lie there are adopted.`, { hint: 'First make sure that the right volume is mounted.', cause: error });
  }
};

/** Only read: a key made now could open nothing. */
const readKeys = async (config: Config): Promise<KeyRing> => {
  return config.masterKey !== null ? masterKeysFromText(config.masterKey) : (await masterKeysFromFile(config.masterKeyFile, { create: false })).keys;
};

const adopt = async (db: Database, store: Store, keys: KeyRing, { yes, choices }: Wish): Promise<string> => {
  const plan = await planAdoption(db, store, createUpkeepArchives(store, keys), choices);
  const text = describeAdoption(plan);
  if (plan.detachedBecause === null) return text;
  if (!yes) return `${text}\nNothing was changed. To do it: npm run store:adopt -- --yes${choices.map(({ from, into }) => ` --project ${from}=${into}`).join('')}\n`;
  await carryOutAdoption(plan, db, store);
  return `${text}\nDone. The service goes on within seconds; where none runs, at its next start.\n`;
};

const run = async (config: Config, wish: Wish, log: Logger): Promise<string> => {
  const { url, stop } = await openDatabaseUrl(config, log);
  try {
    await migrate(url);
    const source = createDataSource({ url, poolSize: 2, onPoolError: (error) => log.warn('A database connection broke.', { error: error.message }) });
    await source.initialize();
    try {
      const db = createDatabase(source, topicsOf);
      const store = await openStore(config, await catalogueIdOf(db), wish, log);
      try {
        return await adopt(db, store, await readKeys(config), wish);
      } finally {
        await store.close();
      }
    } finally {
      await source.destroy();
    }
  } finally {
    await stop();
  }
};

/** Exit codes: 0 done, or told what would be done; 1 a fault; 2 wrong arguments or settings. */
const main = async (): Promise<number> => {
  let wish: Wish;
  let config: Config;
  try {
    wish = readArguments();
    config = readConfig();
  } catch (error) {
    process.stderr.write(error instanceof ConfigError ? `${error.message}\n` : `${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  const log = createLogger({ level: 'warn', format: 'text', write: (line) => void process.stderr.write(line) });
  try {
    process.stdout.write(await run(config, wish, log));
    return 0;
  } catch (error) {
    const told = error instanceof DomainError ? [error.message, error.hint].filter(Boolean).join(' ') : error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.error(`The store was not adopted: ${told}`);
    return 1;
  }
};

process.exitCode = await main();
