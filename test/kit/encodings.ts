import { type Redis } from 'ioredis';
import { type RedisServer } from './redis.js';
import { hasCommand, seedAllTypes } from './seed.js';

/** Settings that choose encodings, by the names that old and new servers have for them. A server takes those it knows. */
const THRESHOLDS = {
  /** Everything in its packed form, as long as a server allows it. */
  packed: {
    'hash-max-ziplist-entries': '4000', 'hash-max-listpack-entries': '4000', 'hash-max-ziplist-value': '4000', 'hash-max-listpack-value': '4000',
    'zset-max-ziplist-entries': '4000', 'zset-max-listpack-entries': '4000', 'zset-max-ziplist-value': '4000', 'zset-max-listpack-value': '4000',
    'set-max-intset-entries': '4000', 'set-max-listpack-entries': '4000', 'set-max-listpack-value': '4000',
    'list-max-ziplist-size': '-5', 'list-max-listpack-size': '-5', 'list-compress-depth': '0', 'stream-node-max-entries': '1000', 'stream-node-max-bytes': '65536',
  },
  /** Nothing packed, lists and streams in many small nodes that are compressed in memory already. */
  loose: {
    'hash-max-ziplist-entries': '0', 'hash-max-listpack-entries': '0', 'zset-max-ziplist-entries': '0', 'zset-max-listpack-entries': '0',
    'set-max-intset-entries': '0', 'set-max-listpack-entries': '0', 'list-max-ziplist-size': '3', 'list-max-listpack-size': '3', 'list-compress-depth': '1',
    'stream-node-max-entries': '3',
  },
} as const;

const apply = async (client: Redis, settings: Readonly<Record<string, string>>): Promise<void> => {
  const known = new Set((await client.config('GET', '*') as string[]).filter((_, at) => at % 2 === 0));
  for (const [name, value] of Object.entries(settings)) if (known.has(name)) await client.config('SET', name, value);
};

/** Fills databases 0, 1 and 2 with every type in every encoding the server has: as it chooses by itself, all packed, none packed. */
export const seedEncodings = async (server: RedisServer): Promise<void> => {
  const client = server.client();
  try {
    await seedAllTypes(server, { keysPerType: 2, databases: [0] });
    for (const [database, settings] of [[1, THRESHOLDS.packed], [2, THRESHOLDS.loose]] as const) {
      await apply(client, settings);
      await seedAllTypes(server, { keysPerType: 2, databases: [database] });
    }
    await client.select(0);
    await addEdges(client);
    if (await hasCommand(client, 'XADD')) await addStreamEdges(client);
  } finally {
    client.disconnect();
  }
};

const addEdges = async (client: Redis): Promise<void> => {
  const integers = [0, 12, 13, -1, 63, 64, 127, 128, -128, -129, 4095, 4096, -4096, -4097, 32_767, -32_769, 8_388_607, -8_388_609, 2_147_483_647, -2_147_483_649].map(String);
  integers.push('9007199254740993', '-9223372036854775808', '9223372036854775807', '9223372036854775808', '007', '+5', '-0', ' 1');
  await client.rpush('edges:list', ...integers, ...[63, 64, 253, 254, 4_095, 4_096, 16_383, 16_384].map((length) => 'e'.repeat(length)));
  await client.sadd('edges:set', ...integers);
  await client.hset('edges:hash', Object.fromEntries(integers.flatMap((integer, at) => [[integer, integers.at(-1 - at) ?? ''], [`${integer} wide`, 'w'.repeat(at * 20)]])));
  const scores = ['0', '-0', '0.1', '1e21', '-1e-7', '123456789012345680', '4.9e-324', '1.7976931348623157e308', '-inf', 'inf', '3', '9007199254740993', '0.30000000000000004'];
  await client.zadd('edges:zset', ...scores.flatMap((score) => [score, `score ${score}`]));
  await client.zadd('edges:zset:large', ...scores.flatMap((score) => [score, `score ${score}${'x'.repeat(100)}`]));
  await client.set('edges:kilobytes', 'k'.repeat(200_000));
};

const addStreamEdges = async (client: Redis): Promise<void> => {
  const call = (...args: [string, ...(string | number)[]]): Promise<unknown> => client.call(...args);
  await call('XGROUP', 'CREATE', 'edges:never written', 'group', '$', 'MKSTREAM');
  await call('XADD', 'edges:far apart', '1-18446744073709551615', 'a', '1');
  await call('XADD', 'edges:far apart', '2-0', 'a', '2');
  await call('XADD', 'edges:far apart', '18446744073709551615-7', 'b', '3', 'c', '-9223372036854775808');
  for (let at = 1; at <= 30; at += 1) await call('XADD', 'edges:gone', `${String(at)}-1`, 'f', at, ...(at % 4 === 0 ? ['g', at] : []));
  for (const group of ['a', 'b']) {
    await call('XGROUP', 'CREATE', 'edges:gone', group, '0');
    await call('XREADGROUP', 'GROUP', group, 'one', 'COUNT', 12, 'STREAMS', 'edges:gone', '>');
    await call('XREADGROUP', 'GROUP', group, 'two', 'COUNT', 9, 'STREAMS', 'edges:gone', '>');
  }
  await call('XCLAIM', 'edges:gone', 'a', 'three', 0, '5-1', 'RETRYCOUNT', 9, 'JUSTID');
  await call('XACK', 'edges:gone', 'b', '1-1', '2-1', '30-1');
  await call('XTRIM', 'edges:gone', 'MAXLEN', 26);
  await call('XDEL', 'edges:gone', '9-1', '10-1', '20-1');
  // Pending entries of which none is left.
  for (let at = 1; at <= 5; at += 1) await call('XADD', 'edges:all gone', `${String(at)}-0`, 'f', at);
  await call('XGROUP', 'CREATE', 'edges:all gone', 'g', '0');
  await call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 3, 'STREAMS', 'edges:all gone', '>');
  await call('XDEL', 'edges:all gone', ...Array.from({ length: 5 }, (_, at) => `${String(at + 1)}-0`));
  // A consumer without entries: reading its history makes one everywhere.
  await call('XADD', 'edges:idle consumer', '7-7', 'f', 'v');
  await call('XGROUP', 'CREATE', 'edges:idle consumer', 'g', '0');
  await call('XREADGROUP', 'GROUP', 'g', 'idle', 'STREAMS', 'edges:idle consumer', '0');
  await call('XSETID', 'edges:idle consumer', '1000-0');
};
