import { randomUUID } from 'node:crypto';
import { MongoClient } from 'mongodb';
import { afterAll, describe, expect, it } from 'vitest';
import { clockConformance } from './suite.js';

const server = process.env.MONGODB_URL;

if (server === undefined || server === '') {
  console.warn('\n!!! NOT RUN: the clock on MongoDB. Set MONGODB_URL to a MongoDB (or FerretDB) server to run its conformance suite.\n');
  describe('the clock on MongoDB', () => {
    it('was not run: MONGODB_URL is not set', () => { expect(server ?? '').toBe(''); });
  });
} else {
  const used: string[] = [];
  const on = async <T>(url: string, action: (client: MongoClient) => Promise<T>): Promise<T> => {
    const client = await MongoClient.connect(url);
    try {
      return await action(client);
    } finally {
      await client.close();
    }
  };
  afterAll(() => Promise.all(used.map((url) => on(url, (client) => client.db().dropDatabase()))));

  // FerretDB 1 speaks the protocol, but its findAndModify is a read and a write: two processes may take the same row.
  const build = await on(server, (client) => client.db().command({ buildInfo: 1 }));
  const isFerret = 'ferretdb' in build || 'ferretdbVersion' in build;

  clockConformance({
    name: isFerret ? 'FerretDB' : 'MongoDB',
    takesAtomically: !isFerret,
    create() {
      const url = new URL(server);
      url.pathname = `/clock_${randomUUID().replaceAll('-', '')}`;
      used.push(url.href);
      return Promise.resolve({ databaseUrl: '', mongoUrl: url.href });
    },
    async deleteRows({ mongoUrl = '' }) {
      await on(mongoUrl, (client) => client.db().collection('agendaJobs').deleteMany({}));
    },
  });
}
