import { Client } from 'pg';
import { createDataSource } from './data-source.js';

/** Any number will do, as long as every version of the service uses the same. */
const LOCK = 5_277_632_001;

/**
 * Brings a database to the schema of this version. Safe when several processes start at once: TypeORM takes no lock, so all hold one
 * advisory lock around it. Returns the names of the migrations that ran.
 */
export const migrate = async (url: string): Promise<string[]> => {
  const lock = new Client({ connectionString: url, application_name: 'snapback migrate' });
  // Without a listener a dropped connection would end the process; the next query reports it.
  lock.on('error', () => undefined);
  await lock.connect();
  try {
    await lock.query('select pg_advisory_lock($1)', [LOCK]);
    const source = createDataSource({ url, poolSize: 1 });
    await source.initialize();
    try {
      return (await source.runMigrations()).map((migration) => migration.name);
    } finally {
      await source.destroy();
    }
  } finally {
    await lock.end();
  }
};
