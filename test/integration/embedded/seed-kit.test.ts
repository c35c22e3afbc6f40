import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digest, keyCounts, ownDigest } from '../../kit/digest.js';
import { fillBytes } from '../../kit/fill.js';
import { type RedisServer, startRedis } from '../../kit/redis.js';
import { seedAllTypes } from '../../kit/seed.js';

describe('the seeds and digests of the tests', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis({ config: { dbfilename: 'dump.rdb' } });
  });
  afterAll(() => server.stop());

  it('seeds every type and encoding, and sees when one value, expiry or function differs', async () => {
    const client = server.client();
    const empty = await digest(server);
    const seeded = await seedAllTypes(server, { keysPerType: 3 });
    const filled = [await digest(server), await ownDigest(server)];
    expect(filled[0]).not.toBe(empty);
    expect(await keyCounts(server)).toEqual(Object.fromEntries(seeded.databases.map((database) => [String(database), seeded.keys])));
    const types = new Set(await Promise.all((await client.keysBuffer('*')).map((key) => client.type(key))));
    expect([...types].sort()).toEqual(['hash', 'list', 'set', 'stream', 'string', 'zset']);

    await server.client().config('SET', 'save', '3600 1');
    await server.restart();
    expect([await digest(server), await ownDigest(server)]).toEqual(filled);

    await client.pexpire('string:expiring:0:1', 1_000_000);
    expect(await ownDigest(server)).not.toBe(filled[1]);
    await client.hset('hash:big:0:1', 'field 3', 'changed');
    expect(await digest(server)).not.toBe(filled[0]);
    await client.flushall();
    expect(await digest(server)).not.toBe(empty);
    await client.call('FUNCTION', 'FLUSH');
    expect(await digest(server)).toBe(empty);
  });

  it('fills a server with about as many bytes of RDB as asked', async () => {
    const client = server.client();
    await client.flushall();
    const { keys } = await fillBytes(server, { mib: 20 });
    expect(await client.dbsize()).toBe(keys);
    await client.save();
    const mib = statSync(join(server.dir, 'dump.rdb')).size / 1_048_576;
    expect(mib).toBeGreaterThan(18);
    expect(mib).toBeLessThan(22);
  });
});
