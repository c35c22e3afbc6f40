import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasFieldExpiry, transferOf } from '../../server/engine/rdb/transfer.js';
import { ownDigest } from '../kit/digest.js';
import { seedEncodings } from '../kit/encodings.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { compareVersions, redisVersions } from '../kit/redis-binary.js';
import { streamFacts } from '../kit/stream-facts.js';
import { dumpAll, makeByCommands, makeByPayload, type DumpedKey } from '../kit/value-copy.js';

/** Between every two versions: each type in each encoding of one is made on the other, key by key, and compared by what commands read. */
const versions = redisVersions();
const sources = new Map<string, { server: RedisServer; keys: DumpedKey[] }>();
const targets = new Map<string, RedisServer>();
const STREAM_TYPES = [15, 19, 21];

const since7 = ({ engine, version }: RedisServer): boolean => engine === 'VALKEY' || compareVersions(version, '7.0.0') >= 0;
const has = <T>(all: Map<string, T>, name: string): T => {
  const found = all.get(name);
  if (found === undefined) throw new Error(`${name} did not start`);
  return found;
};

beforeAll(async () => {
  for (const version of versions) {
    const server = await startRedis({ version });
    sources.set(version, { server, keys: [] });
    targets.set(version, await startRedis({ version }));
    await seedEncodings(server);
    if (since7(server)) await server.cli('FUNCTION', 'FLUSH');
    sources.set(version, { server, keys: await dumpAll(server) });
  }
});
afterAll(async () => {
  await Promise.all([...[...sources.values()].map(({ server }) => server), ...targets.values()].map((server) => server.stop()));
});

/** Streams with all that XINFO tells; counters where both servers have them and the source's own are sent. */
const streamsOf = async (server: RedisServer, keys: readonly DumpedKey[], counters: boolean): Promise<Record<string, unknown>> => {
  const client = server.client();
  const facts: Record<string, unknown> = {};
  for (const { key, database, rdbType } of keys) {
    if (!STREAM_TYPES.includes(rdbType)) continue;
    await client.select(database);
    facts[`${String(database)} ${key.toString()}`] = await streamFacts(client, key, { counters });
  }
  client.disconnect();
  return facts;
};

describe.each(versions)('values of %s', (from) => {
  it.each(versions)('are made on %s by commands, and by RESTORE where it knows their types', async (to) => {
    const { server: source, keys } = has(sources, from);
    const target = has(targets, to);
    const client = target.client();
    const fieldTimes = hasFieldExpiry(source) && hasFieldExpiry(target);
    const times = since7(source) && since7(target) && hasFieldExpiry(source) === hasFieldExpiry(target);
    const counters = since7(source) && since7(target);
    const wanted = { data: await ownDigest(source, { expiry: times }), streams: await streamsOf(source, keys, counters) };
    for (const way of ['COMMANDS', 'PAYLOAD'] as const) {
      await client.flushall();
      let ttlLost = false;
      for (const dumped of keys) {
        await client.select(dumped.database);
        const transfer = transferOf(dumped.rdbType, dumped.magic, target);
        expect(transfer.by, `type ${String(dumped.rdbType)}`).not.toBe('LOSS');
        if (way === 'PAYLOAD' && transfer.by === 'PAYLOAD') await makeByPayload(client, dumped, transfer.version);
        else ttlLost = 'FIELD_TTL' in (await makeByCommands(client, target, dumped)) || ttlLost;
      }
      expect(await ownDigest(target, { expiry: times }), way).toBe(wanted.data);
      expect(await streamsOf(target, keys, counters), way).toEqual(wanted.streams);
      expect(ttlLost).toBe(hasFieldExpiry(source) && !fieldTimes);
    }
    client.disconnect();
  });
});
