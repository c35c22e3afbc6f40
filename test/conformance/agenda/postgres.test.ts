import pg from 'pg';
import { DataSource } from 'typeorm';
import { afterAll } from 'vitest';
import { Agenda1764000001000 } from '../../../migrations/1764000001000-agenda.js';
import { createTestDatabase, type TestDatabase } from '../../kit/postgres.js';
import { clockConformance } from './suite.js';

const databases: TestDatabase[] = [];
afterAll(() => Promise.all(databases.map((database) => database.drop())));

const run = async <T extends pg.QueryResultRow>(url: string, sql: string): Promise<T[]> => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<T>(sql)).rows;
  } finally {
    await client.end();
  }
};

clockConformance({
  name: 'PostgreSQL',
  takesAtomically: true,
  async create() {
    const database = await createTestDatabase({ empty: true });
    databases.push(database);
    const source = await new DataSource({ type: 'postgres', url: database.url, migrations: [Agenda1764000001000] }).initialize();
    await source.runMigrations();
    await source.destroy();
    return { databaseUrl: database.url };
  },
  async cutConnections({ databaseUrl }) {
    const cut = await run(databaseUrl, `
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'snapback-clock'`);
    return cut.length;
  },
  async deleteRows({ databaseUrl }) {
    await run(databaseUrl, 'DELETE FROM agenda_jobs');
  },
});
