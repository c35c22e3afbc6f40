import { Client } from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { type TestDatabase, createTestDatabase } from '../../kit/postgres.js';

const databases: TestDatabase[] = [];
const create = async (options?: { empty?: boolean }): Promise<TestDatabase> => {
  const database = await createTestDatabase(options);
  databases.push(database);
  return database;
};
afterEach(async () => {
  await Promise.all(databases.splice(0).map((database) => database.drop()));
});

const ask = async (url: string, sql: string): Promise<Record<string, unknown>[]> => {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
};

describe('the databases of the tests', () => {
  it('are migrated, separate, and dropped', async () => {
    const [one, two] = await Promise.all([create(), create()]);
    const tables = await ask(one.url, `select table_name from information_schema.tables where table_schema = 'public'`);
    expect(tables.length).toBeGreaterThan(3);
    await ask(one.url, 'create table only_here (a int)');
    await expect(ask(two.url, 'select * from only_here')).rejects.toThrow(/does not exist/);
    await one.drop();
    await expect(ask(one.url, 'select 1')).rejects.toThrow(/does not exist/);
  });

  it('can be empty, for tests of migrations', async () => {
    const { url } = await create({ empty: true });
    expect(await ask(url, `select 1 from information_schema.tables where table_schema = 'public'`)).toEqual([]);
    expect(await ask(url, `select current_setting('server_encoding') as encoding`)).toEqual([{ encoding: 'UTF8' }]);
  });
});
