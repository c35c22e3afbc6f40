import { type Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { transferOf } from '../../../server/engine/rdb/transfer.js';
import { type RdbMagic } from '../../../server/engine/rdb/summary.js';
import { randomOf, type Random } from '../../fuzz/rdb/random.js';
import { ownDigest } from '../../kit/digest.js';
import { seedEncodings } from '../../kit/encodings.js';
import * as make from '../../kit/random-values.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { streamFacts } from '../../kit/stream-facts.js';
import * as built from '../../kit/value-builder.js';
import { dumpAll, makeByCommands, makeByPayload, type DumpedKey } from '../../kit/value-copy.js';

/** With the server at hand; `npm run test:versions` does the same between all versions. */
let source: RedisServer;
let target: RedisServer;
let keys: DumpedKey[];
let client: Redis;

beforeAll(async () => {
  [source, target] = await Promise.all([startRedis(), startRedis()]);
  await seedEncodings(source);
  await source.cli('FUNCTION', 'FLUSH').catch(() => undefined);
  keys = await dumpAll(source);
  client = target.client();
});
afterAll(async () => {
  await Promise.all([source?.stop(), target?.stop()]);
});
beforeEach(async () => {
  await client.flushall();
});

const streams = async (server: RedisServer): Promise<unknown> => {
  const reader = server.client();
  const facts: Record<string, unknown> = {};
  for (const { key, database, rdbType } of keys) {
    if (![15, 19, 21].includes(rdbType)) continue;
    await reader.select(database);
    facts[`${String(database)} ${key.toString()}`] = await streamFacts(reader, key, { counters: true });
  }
  reader.disconnect();
  return facts;
};

describe('keys made by commands', () => {
  it('are those they were made from, in every type and encoding', async () => {
    expect(keys.length).toBeGreaterThan(150);
    for (const dumped of keys) {
      await client.select(dumped.database);
      expect(await makeByCommands(client, target, dumped)).toEqual({});
    }
    expect(await ownDigest(target)).toBe(await ownDigest(source));
    expect(await streams(target)).toEqual(await streams(source));
  });

  it('replace what is there', async () => {
    for (const dumped of keys.filter(({ database }) => database === 0)) {
      await client.call('SET', dumped.key, 'in the way');
      await makeByCommands(client, target, dumped, { replace: true });
    }
    const found = await dumpAll(target);
    expect(found.map(({ key }) => key.toString('hex')).sort()).toEqual(keys.filter(({ database }) => database === 0).map(({ key }) => key.toString('hex')).sort());
  });

  it.each(['2.8.24', '3.2.13', '5.0.14', '6.2.14'])('are the same by the commands of %s', async (version) => {
    const older = { engine: 'REDIS' as const, version };
    for (const dumped of keys) {
      await client.select(dumped.database);
      const losses = await makeByCommands(client, older, dumped);
      const isStream = [15, 19, 21].includes(dumped.rdbType);
      expect(losses).toEqual(isStream && version < '5' ? { STREAMS: 1 } : {});
    }
    if (version >= '5') expect(await ownDigest(target)).toBe(await ownDigest(source));
    else expect((await dumpAll(target)).length).toBe(keys.filter(({ rdbType }) => ![15, 19, 21].includes(rdbType)).length);
  });

  it('lose the expiry of their fields where the server has none, and say so', async () => {
    const fields: built.Field[] = [['stays', null], ['goes', 4_102_444_800_000], ['gone', 1]].map(([field, at]) => [Buffer.from(field as string), Buffer.from('v'), at as number | null]);
    const value = built.TIMED_HASH_ENCODINGS['VALKEY 22']!(fields, () => 0);
    const lost = await makeByCommands(client, { engine: 'REDIS', version: '7.0.15' }, { database: 0, key: Buffer.from('h'), rdbType: 22, magic: 'VALKEY', value, expiresAtMs: null });
    expect(lost).toEqual({ FIELD_TTL: 1 });
    expect(await client.hgetall('h')).toEqual({ stays: 'v', goes: 'v' });
  });
});

type Make = (random: Random, choose: built.Choose) => Buffer;
const each = <T>(encodings: Readonly<Record<string, (value: T, choose: built.Choose) => Buffer>>, kind: string, value: (random: Random, type: string) => T): [string, RdbMagic, number, Make][] =>
  Object.entries(encodings).map(([name, encode]) => {
    const [magic, type] = name.includes(' ') ? (name.split(' ') as [RdbMagic, string]) : (['REDIS', name] as const);
    return [`${kind} of ${magic} ${type}`, magic, Number(type), (random, choose) => encode(value(random, name), choose)];
  });

/** As the builder makes them, which no server may write any more: the server reads them in its way, the decoder in its own. */
describe('the server and the decoder understand the same by', () => {
  const STREAMS = { 15: 1, 19: 2, 21: 3 } as const;
  it.each([
    ['strings', 'REDIS', 0, (random, choose) => built.rdbString(make.randomBytes(random), choose)],
    ...each(built.LIST_ENCODINGS, 'lists', make.randomElements),
    ...each(built.SET_ENCODINGS, 'sets', (random, type) => (type === '11' ? make.randomIntegers(random) : make.randomMembers(random))),
    ...each(built.SORTED_SET_ENCODINGS, 'sorted sets', make.randomScored),
    ...each(built.HASH_ENCODINGS, 'hashes', (random) => make.randomFields(random, false)),
    ...each(built.TIMED_HASH_ENCODINGS, 'hashes whose fields expire', (random) => make.randomFields(random, true)),
    ...Object.entries(STREAMS).map(([type, layout]): [string, RdbMagic, number, Make] => [`streams of ${type}`, 'REDIS', Number(type), (random, choose) => built.streamValue(make.randomStream(random), layout, choose)]),
  ] as [string, RdbMagic, number, Make][])('%s', async (_, magic, rdbType, encode) => {
    const transfer = transferOf(rdbType, magic, target);
    const seed = Math.floor(Math.random() * 2 ** 31);
    for (let round = 0; round < 12; round += 1) {
      const random = randomOf(seed, round);
      const value = encode(random, round % 3 === 0 ? () => 0 : random);
      const dumped: DumpedKey = { database: 0, key: Buffer.from('k'), rdbType, magic, value, expiresAtMs: null };
      const about = `seed ${String(seed)}, round ${String(round)}`;
      await client.flushall();
      await makeByCommands(client, target, dumped);
      const facts = async (): Promise<unknown> => [await ownDigest(target), dumped.rdbType in STREAMS ? await streamFacts(client, 'k', { counters: dumped.rdbType !== 15 }) : null];
      const byCommands = await facts();
      expect(await client.exists('k'), about).toBe(1);
      // What this server does not load is at least made without an error.
      if (transfer.by !== 'PAYLOAD') continue;
      await client.flushall();
      await makeByPayload(client, dumped, transfer.version);
      expect(byCommands, about).toEqual(await facts());
    }
  });
});
