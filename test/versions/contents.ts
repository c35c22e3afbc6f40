import { type Redis } from 'ioredis';
import { expect } from 'vitest';
import { keyCounts } from '../kit/digest.js';
import { type RedisServer } from '../kit/redis.js';
import { hasCommand } from '../kit/seed.js';
import { waitFor } from '../kit/wait.js';

const withClient = async <T>(server: RedisServer, use: (client: Redis) => Promise<T>): Promise<T> => {
  const client = server.client();
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
};

/** Makes the data another than any backup's: keys in a database of their own, keys that are missing, and a function library. */
export const makeDifferent = (server: RedisServer): Promise<void> =>
  withClient(server, async (client) => {
    await client.del('string:raw:0:0', 'hash:big:0:0');
    if (await hasCommand(client, 'FUNCTION')) await client.call('FUNCTION', 'LOAD', 'REPLACE', "#!lua name=stranger\nredis.register_function('stranger', function() return 1 end)");
    await client.select(7);
    await client.set('only here', '1');
    await client.rpush('a list', 'x', 'y');
  });

const SHORT_MS = 1_000;
const SHORT_LIVED = ['soon:string', 'soon:list'];

/** Adds keys, and with `fields` hashes, that are there for a second, to be saved meanwhile. Returns how many of the keys go whole, and by themselves. */
export const addShortLived = (server: RedisServer, { fields }: { fields: boolean }): Promise<number> =>
  withClient(server, async (client) => {
    await client.set('soon:string', '1');
    await client.rpush('soon:list', '1', '2');
    for (const name of SHORT_LIVED) await client.pexpire(name, SHORT_MS);
    if (!fields) return SHORT_LIVED.length;
    await client.hset('soon:fields', 'stays', '1', 'goes', '2');
    await client.hset('soon:all fields', 'goes', '1');
    for (const name of ['soon:fields', 'soon:all fields']) await client.call('HPEXPIRE', name, SHORT_MS, 'FIELDS', 1, 'goes');
    return SHORT_LIVED.length;
  });

/** Resolves when nothing is left of them, anywhere in memory. */
export const shortLivedGone = (server: RedisServer): Promise<unknown> =>
  withClient(server, (client) => waitFor(async () => {
    const keys = await client.keys('soon:*');
    return keys.every((key) => key === 'soon:fields') && (await client.hlen('soon:fields')) <= 1;
  }, { message: 'keys and fields to expire' }));

/** Keys and expiring keys per database, as INFO keyspace says; numbers as the API writes them. */
export const keyspace = async (server: RedisServer): Promise<{ database: number; keys: string; expiring: string }[]> =>
  [...(await server.cli('INFO', 'keyspace')).matchAll(/^db(\d+):keys=(\d+),expires=(\d+)/gm)]
    .map(([, database, keys = '', expiring = '']) => ({ database: Number(database), keys, expiring }));

const NAMES: Readonly<Record<string, string>> = { string: 'STRING', list: 'LIST', set: 'SET', zset: 'SORTED_SET', hash: 'HASH', stream: 'STREAM' };

/** Keys per type, as TYPE says of each; what is none of the plain types comes from a module. */
export const typeCounts = async (server: RedisServer): Promise<Record<string, string>> => {
  const counts = new Map<string, number>();
  await eachKey(server, async (client, key) => {
    const type = NAMES[await client.type(key)] ?? 'MODULE';
    counts.set(type, (counts.get(type) ?? 0) + 1);
  });
  return Object.fromEntries([...counts].map(([type, keys]) => [type, String(keys)]));
};

/** When each expiring key expires, in Unix milliseconds, by database and the key's bytes. */
export type Expiries = Map<string, number>;

export const expiryName = (database: number, key: Uint8Array): string => `${String(database)} ${Buffer.from(key).toString('hex')}`;

/** Servers before 7.0 tell only the time that is left; `slackMs` is how far that may be off. */
export const expiriesOf = async (server: RedisServer): Promise<{ expiries: Expiries; slackMs: number }> => {
  const exact = await withClient(server, (client) => hasCommand(client, 'PEXPIRETIME'));
  const expiries: Expiries = new Map();
  await eachKey(server, async (client, key, database) => {
    const at = exact ? Number(await client.call('PEXPIRETIME', key)) : await expiryByTimeLeft(client, key);
    if (at >= 0) expiries.set(expiryName(database, key), at);
  });
  return { expiries, slackMs: exact ? 0 : 1_000 };
};

/** Asks again when the answer took so long that nobody knows when the server gave it. */
const expiryByTimeLeft = async (client: Redis, key: Buffer): Promise<number> => {
  for (;;) {
    const asked = Date.now();
    const left = await client.pttl(key);
    const now = Date.now();
    if (left < 0) return left;
    if (now - asked < 500) return now + left;
  }
};

/** That a server's keys expire when they should, as exactly as it tells. `slackMs`: how far the wanted times may be off. */
export const expectExpiries = async (server: RedisServer, wanted: Expiries, slackMs = 0): Promise<void> => {
  const found = await expiriesOf(server);
  expect([...found.expiries.keys()].sort()).toEqual([...wanted.keys()].sort());
  for (const [key, at] of found.expiries) expect(Math.abs(at - (wanted.get(key) ?? 0)), key).toBeLessThanOrEqual(found.slackMs + slackMs);
};

const eachKey = (server: RedisServer, visit: (client: Redis, key: Buffer, database: number) => Promise<void>): Promise<void> =>
  withClient(server, async (client) => {
    for (const database of Object.keys(await keyCounts(server)).map(Number)) {
      await client.select(database);
      for (const key of await client.keysBuffer('*')) await visit(client, key, database);
    }
  });
