import { afterEach, describe, expect, it } from 'vitest';
import { createDataSource } from '../../../server/db/data-source.js';
import { migrate } from '../../../server/db/migrate.js';
import { createTestDatabase, type TestDatabase } from '../../kit/postgres.js';

describe('migrations', () => {
  let database: TestDatabase | undefined;
  afterEach(async () => {
    await database?.drop();
    database = undefined;
  });

  it('run once, whoever starts them and however many at once', async () => {
    database = await createTestDatabase({ empty: true });
    const { url } = database;
    const ran = await Promise.all(Array.from({ length: 5 }, () => migrate(url)));
    expect(ran.map((names) => names.length).filter((count) => count > 0)).toHaveLength(1);
    expect(await migrate(url)).toEqual([]);
  });

  it('leave exactly the schema that the entities describe', async () => {
    database = await createTestDatabase();
    const source = createDataSource({ url: database.url, poolSize: 1 });
    await source.initialize();
    try {
      const { upQueries } = await source.driver.createSchemaBuilder().log();
      expect(upQueries.map(({ query }) => query)).toEqual([]);
      await source.query('ALTER TABLE backups DROP COLUMN sha256');
      expect((await source.driver.createSchemaBuilder().log()).upQueries).not.toEqual([]);
    } finally {
      await source.destroy();
    }
  });
});
