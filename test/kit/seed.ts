import { type ChainableCommander, type Redis } from 'ioredis';
import { type RedisServer } from './redis.js';
import { repeatableBytes } from './seed-bytes.js';

export interface SeedOptions {
  /** Keys of each shape; most types have several shapes. Default 20. */
  keysPerType?: number;
  /** Default 0, 3 and 15 (0 alone on a cluster node). */
  databases?: readonly number[];
}

export interface Seeded {
  databases: readonly number[];
  /** Keys per database, as DBSIZE says. */
  keys: number;
  fieldExpiry: boolean;
  functions: boolean;
}

type Argument = string | Buffer | number;

export const hasCommand = async (client: Redis, name: string): Promise<boolean> => {
  const [known] = (await client.call('COMMAND', 'INFO', name)) as unknown[];
  return Array.isArray(known) && known.length > 0;
};

const EXPIRES_MS = 6 * 3_600_000;

/**
 * Fills a server with every type in each of its encodings, the same data on every run: raw, integer, compressible and binary strings and
 * keys; lists, sets, sorted sets and hashes small and big; hash field expiry, streams with groups and pending entries, HyperLogLog, geo,
 * bitmaps, expiring keys (hours ahead) and function libraries where the server has them.
 */
export const seedAllTypes = async (server: RedisServer, options: SeedOptions = {}): Promise<Seeded> => {
  const { keysPerType = 20 } = options;
  const client = server.client();
  try {
    const clustered = (await client.info('server')).includes('redis_mode:cluster');
    const databases = clustered ? [0] : (options.databases ?? [0, 3, 15]);
    const fieldExpiry = await hasCommand(client, 'HPEXPIRE');
    const functions = await hasCommand(client, 'FUNCTION');
    const streams = await hasCommand(client, 'XADD');
    for (const database of databases) {
      await client.select(database);
      for (let i = 0; i < keysPerType; i += 1) {
        const batch = client.pipeline();
        addKeys(batch, i, { fieldExpiry, streams, database });
        await run(batch);
      }
    }
    if (functions) {
      for (const name of ['snapback_one', 'snapback_two']) {
        await client.call('FUNCTION', 'LOAD', 'REPLACE', `#!lua name=${name}\nredis.register_function('${name}_echo', function(keys, args) return args[1] end)`);
      }
    }
    await client.select(databases[0] ?? 0);
    return { databases, keys: await client.dbsize(), fieldExpiry, functions };
  } finally {
    client.disconnect();
  }
};

/** Runs a pipeline and throws the first error reply, naming its place. */
const run = async (batch: ChainableCommander): Promise<void> => {
  for (const [index, [error]] of ((await batch.exec()) ?? []).entries()) {
    if (error !== null) throw new Error(`Command ${String(index)} of the seed was refused: ${error.message}`, { cause: error });
  }
};

interface Features {
  fieldExpiry: boolean;
  streams: boolean;
  database: number;
}

const addKeys = (batch: ChainableCommander, i: number, { fieldExpiry, streams, database }: Features): void => {
  const call = (command: string, ...args: Argument[]): void => {
    batch.call(command, ...args);
  };
  const n = `${String(database)}:${String(i)}`;
  const many = <T extends Argument>(count: number, make: (k: number) => T | T[]): T[] => Array.from({ length: count }, (_, k) => make(k)).flat() as T[];

  call('SET', `string:raw:${n}`, `value ${n}`);
  call('SET', `string:empty:${n}`, '');
  call('SET', `string:int8:${n}`, i - 5);
  call('SET', `string:int32:${n}`, 1_000_000_000 + i);
  call('SET', `string:int64:${n}`, `-9223372036854775${String(100 + (i % 700))}`);
  call('SET', `string:compressible:${n}`, `${n} `.repeat(400));
  call('SET', `string:binary:${n}`, repeatableBytes(300 + i * 7, `binary ${n}`));
  call('SET', Buffer.concat([Buffer.from([0, 255, 13, 10, 42]), repeatableBytes(12, `key ${n}`)]), Buffer.from([0, 13, 10, 0, i % 256]));
  call('SET', `clé 钥匙 🔑 ${n}`, 'värde');
  call('SET', `string:expiring:${n}`, n, 'PX', EXPIRES_MS + i * 1_000);
  call('SETBIT', `bitmap:${n}`, 1_000 + i, 1);
  call('PFADD', `hll:sparse:${n}`, ...many(20, (k) => `element ${String(k)}`));
  call('GEOADD', `geo:${n}`, 13.361389, 38.115556, 'Palermo', 15.087269, 37.502669 + i / 1_000, 'Catania');

  call('RPUSH', `list:small:${n}`, 'a', '1', '', repeatableBytes(20, n), '-300');
  call('RPUSH', `list:big:${n}`, ...many(i === 0 ? 3_000 : 150, (k) => `item ${String(k)} ${'x'.repeat(k % 90)}`));
  call('RPUSH', `list:plain:${n}`, repeatableBytes(i === 0 ? 20_000 : 100, `plain ${n}`), 'tail');
  call('SADD', `set:ints:${n}`, ...many(30, (k) => k * (i + 1)));
  call('SADD', `set:wide-ints:${n}`, 1, 70_000, '5000000000');
  call('SADD', `set:small:${n}`, 'a', 'b', repeatableBytes(10, `member ${n}`));
  call('SADD', `set:big:${n}`, ...many(i === 0 ? 2_000 : 600, (k) => `member ${String(k)}`));
  call('ZADD', `zset:small:${n}`, 1, 'one', 2.5, 'two and a half', '-inf', 'lowest', 'inf', 'highest', '1e-300', 'tiny');
  call('ZADD', `zset:big:${n}`, ...many(i === 0 ? 1_000 : 200, (k) => [String(k * 1.1), `member ${String(k)}`]));
  call('ZADD', `zset:long:${n}`, 3, 'm'.repeat(200), '-0.5', 'short');
  call('HSET', `hash:one:${n}`, 'field', 'value');
  call('HMSET', `hash:small:${n}`, 'text', 'value', 'int', 42, 'empty', '', repeatableBytes(8, `field ${n}`), repeatableBytes(30, `value ${n}`));
  call('HMSET', `hash:big:${n}`, ...many(i === 0 ? 1_500 : 150, (k) => [`field ${String(k)}`, `${'v'.repeat(k % 80)}${String(k)}`]));
  call('RPUSH', `list:expiring:${n}`, 'gone', 'later');
  call('PEXPIRE', `list:expiring:${n}`, EXPIRES_MS * 2);
  call('HMSET', `hash:expiring:${n}`, 'a', '1');
  call('PEXPIRE', `hash:expiring:${n}`, EXPIRES_MS * 3);

  if (fieldExpiry) {
    call('HMSET', `hash:fields-small:${n}`, 'stays', '1', 'goes', '2');
    call('HPEXPIRE', `hash:fields-small:${n}`, EXPIRES_MS, 'FIELDS', 1, 'goes');
    call('HMSET', `hash:fields-big:${n}`, ...many(600, (k) => [`field ${String(k)}`, String(k)]));
    call('HPEXPIRE', `hash:fields-big:${n}`, EXPIRES_MS * 2, 'FIELDS', 2, 'field 1', 'field 2');
  }
  if (streams) addStreams(call, n, i);
};

const addStreams = (call: (command: string, ...args: Argument[]) => void, n: string, i: number): void => {
  const key = `stream:groups:${n}`;
  for (let k = 1; k <= (i === 0 ? 250 : 12); k += 1) call('XADD', key, `${String(1_000 + k)}-${String(k % 3)}`, 'n', k, 'text', `entry ${String(k)}`);
  call('XDEL', key, '1003-0');
  call('XGROUP', 'CREATE', key, 'readers', '0');
  call('XGROUP', 'CREATE', key, 'idle group', '$');
  call('XREADGROUP', 'GROUP', 'readers', 'alice', 'COUNT', 4, 'STREAMS', key, '>');
  call('XREADGROUP', 'GROUP', 'readers', 'bob', 'COUNT', 3, 'STREAMS', key, '>');
  call('XACK', key, 'readers', '1001-1');
  call('XADD', `stream:plain:${n}`, '5-1', repeatableBytes(6, `field ${n}`), repeatableBytes(40, `value ${n}`));
  call('XADD', `stream:trimmed:${n}`, '7-1', 'gone', 'gone');
  call('XDEL', `stream:trimmed:${n}`, '7-1');
};
