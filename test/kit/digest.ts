import { createHash } from 'node:crypto';
import { type Redis } from 'ioredis';
import { type RedisServer } from './redis.js';
import { hasCommand } from './seed.js';

/**
 * One text that is equal for two servers exactly when their data is: DEBUG DIGEST (all databases; says of an expiry only that there is one)
 * where DEBUG is allowed, else `ownDigest`. Function libraries, which DEBUG DIGEST leaves out, are added when there are any.
 */
export const digest = async (server: RedisServer): Promise<string> => {
  if (!server.debug) return ownDigest(server);
  const client = server.client();
  try {
    const data = String(await client.call('DEBUG', 'DIGEST'));
    if (/^0*$/.test(data)) return `empty${await functionsDigest(client)}`;
    return `${data}${await functionsDigest(client)}`;
  } finally {
    client.disconnect();
  }
};

/**
 * A digest by reading every value with plain commands, expiry times in milliseconds included: needs no DEBUG, does not depend on
 * encodings, and so compares servers of different versions. Slow: for thousands of keys, not millions.
 * @param expiry pass false where the two servers cannot tell equal times (PTTL is relative before 7.0)
 */
export const ownDigest = async (server: RedisServer, { expiry = true }: { expiry?: boolean } = {}): Promise<string> => {
  const client = server.client();
  try {
    const exact = expiry && (await hasCommand(client, 'PEXPIRETIME'));
    const fields = expiry && (await hasCommand(client, 'HPEXPIRETIME'));
    const whole = createHash('sha256');
    for (const [database] of Object.entries(await keyCounts(server))) {
      await client.select(Number(database));
      const lines: string[] = [];
      for (const key of await allKeys(client)) {
        const type = await client.type(key);
        const value = createHash('sha256').update(JSON.stringify(await readValue(client, key, type, fields), encodeBuffers)).digest('hex');
        const expires = exact ? String(await client.call('PEXPIRETIME', key)) : String((await client.pttl(key)) >= 0);
        lines.push(`${key.toString('hex')} ${type} ${value} ${expires}`);
      }
      whole.update(`db ${database}\n${lines.sort().join('\n')}\n`);
    }
    return `own:${whole.digest('hex')}${await functionsDigest(client)}`;
  } finally {
    client.disconnect();
  }
};

/** Keys per database that has any, from INFO keyspace. */
export const keyCounts = async (server: RedisServer): Promise<Record<string, number>> => {
  const client = server.client();
  try {
    const info = await client.info('keyspace');
    return Object.fromEntries([...info.matchAll(/^db(\d+):keys=(\d+)/gm)].map((match) => [match[1] ?? '', Number(match[2])]));
  } finally {
    client.disconnect();
  }
};

const encodeBuffers = (_key: string, value: unknown): unknown => {
  const raw = value as { type?: unknown; data?: unknown } | null;
  return raw !== null && typeof raw === 'object' && raw.type === 'Buffer' && Array.isArray(raw.data) ? Buffer.from(raw.data as number[]).toString('base64') : value;
};

const allKeys = async (client: Redis): Promise<Buffer[]> => {
  const keys = new Map<string, Buffer>();
  let cursor = '0';
  do {
    const [next, page] = (await client.scanBuffer(cursor, 'COUNT', 1_000)) as [Buffer, Buffer[]];
    cursor = next.toString();
    for (const key of page) keys.set(key.toString('hex'), key);
  } while (cursor !== '0');
  return [...keys.values()];
};

const pairs = (flat: readonly Buffer[]): [Buffer, Buffer][] =>
  Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] as Buffer, flat[2 * i + 1] as Buffer] as [Buffer, Buffer]).sort((a, b) => a[0].compare(b[0]));

const readValue = async (client: Redis, key: Buffer, type: string, fieldTimes: boolean): Promise<unknown> => {
  const read = async (command: string, ...args: string[]): Promise<Buffer[]> => (await client.callBuffer(command, key, ...args)) as Buffer[];
  switch (type) {
    case 'string': return read('GET');
    case 'list': return read('LRANGE', '0', '-1');
    case 'set': return (await read('SMEMBERS')).sort((a, b) => a.compare(b));
    case 'zset': return (await read('ZRANGE', '0', '-1', 'WITHSCORES')).map((part, at) => (at % 2 === 0 ? part : scoreText(part.toString())));
    case 'hash': {
      const content = pairs(await read('HGETALL'));
      if (!fieldTimes || content.length === 0) return content;
      const times = await client.callBuffer('HPEXPIRETIME', key, 'FIELDS', String(content.length), ...content.map(([field]) => field));
      return [content, times];
    }
    case 'stream': return readStream(client, key);
    // A dump holds the graph, whose links come out in another order after a load.
    case 'vectorset': return readVectors(client, key);
    default: return (await client.dumpBuffer(key));
  }
};

/** 1.1 is 1.1000000000000001 up to Redis 7.0. */
const scoreText = (score: string): string => (Number.isNaN(Number(score)) ? score : String(Number(score)));

const readVectors = async (client: Redis, key: Buffer): Promise<unknown> => {
  const count = Number(await client.call('VCARD', key));
  const members = ((await client.callBuffer('VRANDMEMBER', key, String(count))) as Buffer[]).sort((a, b) => a.compare(b));
  const values = [];
  for (const member of members) values.push([member, await client.callBuffer('VEMB', key, member, 'RAW'), await client.callBuffer('VGETATTR', key, member)]);
  return values;
};

/** Entries, groups, consumers and pending entries, without what the clock changes (idle times). */
const readStream = async (client: Redis, key: Buffer): Promise<unknown> => {
  const entries = await client.callBuffer('XRANGE', key, '-', '+');
  const groups = ((await client.call('XINFO', 'GROUPS', key)) as unknown[][]).map((flat) => toRecord(flat));
  const detail = [];
  for (const group of groups) {
    const name = String(group['name']);
    const pending = (await client.call('XPENDING', key, name, '-', '+', '100000')) as [string, string, number, number][];
    const consumers = ((await client.call('XINFO', 'CONSUMERS', key, name)) as unknown[][]).map((flat) => String(toRecord(flat)['name'])).sort();
    detail.push([name, String(group['last-delivered-id']), consumers, pending.map(([id, consumer, , count]) => [id, consumer, count])]);
  }
  const last = toRecord((await client.call('XINFO', 'STREAM', key)) as unknown[])['last-generated-id'];
  return [entries, detail, last];
};

const toRecord = (flat: readonly unknown[]): Record<string, unknown> =>
  Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, i) => [String(flat[2 * i]), flat[2 * i + 1]]));

const functionsDigest = async (client: Redis): Promise<string> => {
  if (!(await hasCommand(client, 'FUNCTION'))) return '';
  const libraries = (await client.call('FUNCTION', 'LIST', 'WITHCODE')) as unknown[][];
  if (libraries.length === 0) return '';
  const codes = libraries.map((flat) => String(toRecord(flat)['library_code'])).sort();
  return `+functions:${createHash('sha256').update(codes.join('\0')).digest('hex').slice(0, 16)}`;
};
