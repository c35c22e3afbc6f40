import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RdbSummary } from '../../../server/engine/rdb/summary.js';
import { canLoad, rdbVersionWrittenBy } from '../../../server/engine/rdb/versions.js';
import { lzfBytes, lzfRun, RdbBuilder } from '../../kit/rdb-builder.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { checkRdb } from '../../kit/redis-binary.js';
import { CHUNK_SIZES, read, readIn } from './samples.js';

/** Every type in its small and its large encoding, in three databases, some keys expiring, streams with groups. */
async function fill(server: RedisServer): Promise<void> {
  const client = server.client();
  const pipe = client.pipeline();
  for (let at = 0; at < 2_000; at++) pipe.set(`small:${at}`, at % 3 === 0 ? String(at * 1_000_003) : `v${at}`, 'PX', 10_000_000 + at);
  pipe.set('compressible', 'abc'.repeat(50_000)).set('empty', '').set(Buffer.from([0, 255, 10]), Buffer.from([1, 0, 2]));
  pipe.set('big', Buffer.alloc(1_000_000, Uint8Array.from({ length: 4_099 }, (_, at) => (at * 2_654_435_761) >>> 13)));
  pipe.rpush('list', 'a', 'b', '1').rpush('long-list', ...Array.from({ length: 3_000 }, (_, at) => `element ${at} ${'x'.repeat(at % 50)}`)).rpush('wide-list', 'y'.repeat(20_000));
  pipe.sadd('integers', 1, 2, 70_000, 5_000_000_000).sadd('set', 'a', 'b').sadd('large-set', ...Array.from({ length: 2_000 }, (_, at) => `m${at}`));
  pipe.zadd('sorted', 1.5, 'a', '-inf', 'b', '+inf', 'c').zadd('large-sorted', ...Array.from({ length: 1_000 }, (_, at) => [at / 7, `m${at}`]).flat());
  pipe.hset('hash', { f: 'v', g: 'w' }).hset('large-hash', Object.fromEntries(Array.from({ length: 2_000 }, (_, at) => [`f${at}`, `v${at}`])));
  for (let at = 0; at < 300; at++) pipe.xadd('stream', `${at + 1}-1`, 'field', `value ${at}`);
  pipe.xgroup('CREATE', 'stream', 'group', '0').xreadgroup('GROUP', 'group', 'consumer', 'COUNT', 10, 'STREAMS', 'stream', '>').xgroup('CREATE', 'stream', 'idle', '$');
  pipe.xgroup('CREATE', 'empty-stream', 'group', '$', 'MKSTREAM').pfadd('hll', 'a', 'b').setbit('bits', 100_000, 1).geoadd('geo', 1, 2, 'here');
  pipe.select(3).set('a', '1').expire('a', 100_000).select(9).hset('h', 'f', 'v').set('past', 'x', 'PXAT', 33_000_000_000_000);
  for (const [error] of (await pipe.exec()) ?? []) if (error) throw error;
}

/** `INFO keyspace` as the summary words it. */
const keyspace = (info: string): RdbSummary['databases'] =>
  [...info.matchAll(/^db(\d+):keys=(\d+),expires=(\d+)/gm)].map(([, database, keys, expiring]) => ({ database: Number(database), keys: BigInt(keys ?? 0), expiring: BigInt(expiring ?? 0) }));

describe('files of a real server', () => {
  let server: RedisServer;
  const saved = async (): Promise<Buffer> => {
    await server.cli('SAVE');
    return readFileSync(join(server.dir, 'dump.rdb'));
  };

  beforeAll(async () => {
    server = await startRedis();
    await fill(server);
  });
  afterAll(async () => { await server.stop(); });

  it('give what the server counts, at every chunk size', async () => {
    const client = server.client();
    const hasFunctions = (await client.command('INFO', 'FUNCTION').catch(() => [null]) as unknown[])[0] !== null;
    if (hasFunctions) await client.call('FUNCTION', 'LOAD', "#!lua name=lib\nredis.register_function('f', function() return 1 end)");
    const file = await saved();
    const summary = read(file);
    expect(summary.databases).toEqual(keyspace(await client.info('keyspace')));
    expect(summary).toMatchObject({
      ...rdbVersionWrittenBy(server.engine, server.version), functions: hasFunctions ? 1 : 0, checksum: 'VALID', integrity: 'STRUCTURE_AND_CHECKSUM', bytes: BigInt(file.length),
    });
    expect(summary.aux['redis-ver'] ?? summary.aux['valkey-ver']).toMatch(/^\d+\.\d+/);
    expect(summary.expiring).toBe(2_002n);

    const types = new Map<string, bigint>();
    for (const database of [0, 3, 9]) {
      await client.select(database);
      for await (const keys of client.scanStream({ count: 1_000 }) as AsyncIterable<string[]>) {
        const replies = await Promise.all(keys.map((key) => client.type(key)));
        for (const type of replies) types.set(type, (types.get(type) ?? 0n) + 1n);
      }
    }
    const names = { STRING: 'string', LIST: 'list', SET: 'set', SORTED_SET: 'zset', HASH: 'hash', STREAM: 'stream', MODULE: 'module' };
    // A binary key is not found again under its UTF-8 reading.
    const lost = types.get('none') ?? 0n;
    types.delete('none');
    types.set('string', (types.get('string') ?? 0n) + lost);
    expect(new Map(summary.types.map(({ type, keys }) => [names[type], keys]))).toEqual(types);

    for (const size of CHUNK_SIZES) expect(readIn(file, size)).toEqual(summary);
  });

  it('give every key with its expiry', async () => {
    const client = server.client();
    const found = new Map<string, number | null>();
    readIn(await saved(), 4_096, { onKey: ({ database, key, expiresAtMs }) => found.set(`${database} ${Buffer.from(key ?? []).toString('latin1')}`, expiresAtMs) });
    expect(BigInt(found.size)).toBe(read(await saved()).keys);
    for (const key of ['small:0', 'small:1999', 'compressible']) {
      const left = await client.pexpiretime(key);
      expect(found.get(`0 ${key}`)).toBe(left < 0 ? null : left);
    }
    expect(found.get('9 past')).toBe(33_000_000_000_000);
  });

  it('give the number of elements as the server counts them', async () => {
    const client = server.client();
    const count = { LIST: 'LLEN', SET: 'SCARD', SORTED_SET: 'ZCARD', HASH: 'HLEN', STREAM: 'XLEN' };
    const found: { database: number; command: string; key: Buffer; elements: number | null }[] = [];
    readIn(await saved(), 4_096, {
      onKey: ({ database, key, type, elements }) => {
        if (type === 'STRING' || type === 'MODULE') expect(elements).toBeNull();
        else found.push({ database, command: count[type], key: Buffer.from(key ?? []), elements });
      },
    });
    expect(found.length).toBeGreaterThan(13);
    for (const { database, command, key, elements } of found) {
      await client.select(database);
      expect([key.toString(), elements]).toEqual([key.toString(), await client.call(command, key)]);
    }
  });

  it('show one flipped bit, wherever it is', async () => {
    const file = await saved();
    for (let at = 9; at < file.length; at += 4_999) {
      const damaged = Buffer.from(file);
      damaged[at] = (damaged[at] ?? 0) ^ 4;
      expect(() => read(damaged)).toThrow(expect.objectContaining({ name: 'DomainError' }));
    }
  });

  it('say when the server writes no checksum', async () => {
    const plain = await startRedis({ config: { rdbchecksum: 'no' } });
    try {
      await plain.cli('SET', 'k', 'v');
      await plain.cli('SAVE');
      expect(read(readFileSync(join(plain.dir, 'dump.rdb')))).toMatchObject({ keys: 1n, checksum: 'ABSENT', integrity: 'STRUCTURE_ONLY' });
    } finally {
      await plain.stop();
    }
  });
});

describe('files made by the builder', () => {
  it.each([6, 8, 9])('RDB %i is what a real server loads', async (version) => {
    const builder = new RdbBuilder(version);
    if (version > 6) builder.aux('redis-ver', '4.0.14').select(0).resize(6, 1);
    const file = builder.select(0).string('s', 'v').string('n', -70_000).value(0, 'z', lzfBytes(lzfRun(120, 1_000), 1_000))
      .collection(1, 'l', ['a', 'b']).collection(2, 'set', ['a', 'b']).hash('h', { f: 'v' }).textSortedSet('zset', { a: 1.5, b: Infinity })
      .select(2).expireMs(4_102_444_800_000n).string('e', 'v').build();
    const server = await startRedis();
    try {
      expect(canLoad(read(file), server)).toEqual({ ok: true });
      await server.kill();
      writeFileSync(join(server.dir, 'dump.rdb'), file);
      expect(await checkRdb(join(server.dir, 'dump.rdb'))).toContain('RDB looks OK');
      await server.restart();
      const client = server.client();
      expect(keyspace(await client.info('keyspace'))).toEqual(read(file).databases);
      expect(await client.get('z')).toBe('x'.repeat(1_000));
      expect(await client.get('n')).toBe('-70000');
      expect(await client.zrange('zset', 0, -1, 'WITHSCORES')).toEqual(['a', '1.5', 'b', 'inf']);
    } finally {
      await server.stop();
    }
  });
});
