import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { inject } from 'vitest';
import './global-setup.js';

export interface TestDatabase {
  url: string;
  name: string;
  /** Removes it, cutting connections that are left. */
  drop(): Promise<void>;
}

const TEMPLATE = 'migrated_template';
const TEMPLATE_LOCK = 7_402_118;
let admin: Promise<string> | undefined;

/**
 * A new database with the service's schema, copied from a template that is migrated once per run. Tests run in parallel: use one of your
 * own per file (or test) and drop it at the end.
 * @param options.empty leave out the schema, to test migrations themselves
 */
export const createTestDatabase = async ({ empty = false }: { empty?: boolean } = {}): Promise<TestDatabase> => {
  const cluster = await (admin ??= clusterUrl());
  if (!empty) await ensureTemplate(cluster);
  const name = `test_${randomBytes(8).toString('hex')}`;
  await query(cluster, `create database ${name} template ${empty ? 'template0' : TEMPLATE} strategy wal_log`);
  return { name, url: withDatabase(cluster, name), drop: () => query(cluster, `drop database if exists ${name} with (force)`) };
};

const clusterUrl = async (): Promise<string> => {
  const broker = inject('postgresBroker') as string | undefined;
  if (broker === undefined) throw new Error('This vitest project does not run test/kit/global-setup.ts, so there is no PostgreSQL for its tests');
  const response = await fetch(broker);
  const body = await response.text();
  if (!response.ok) throw new Error(`The PostgreSQL of the tests did not start: ${body}`);
  return body;
};

const withDatabase = (url: string, database: string): string => {
  const changed = new URL(url);
  changed.pathname = `/${database}`;
  return changed.href;
};

let templateReady: Promise<void> | undefined;

/** Workers race here; the advisory lock lets one build, and the rename makes the template appear complete. */
const ensureTemplate = (cluster: string): Promise<void> => (templateReady ??= buildTemplate(cluster));

const buildTemplate = async (cluster: string): Promise<void> => {
  const client = new Client({ connectionString: cluster });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [TEMPLATE_LOCK]);
    const { rowCount } = await client.query('select from pg_database where datname = $1', [TEMPLATE]);
    if (rowCount !== 0) return;
    const building = `building_${randomBytes(4).toString('hex')}`;
    await client.query(`create database ${building} template template0 strategy wal_log`);
    const { migrate } = await import('../../server/db/migrate.js');
    await migrate(withDatabase(cluster, building));
    await client.query(`alter database ${building} rename to ${TEMPLATE}`);
  } finally {
    await client.end();
  }
};

const query = async (url: string, sql: string): Promise<void> => {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
};
