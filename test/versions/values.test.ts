import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transferOf } from '../../server/engine/rdb/transfer.js';
import { ownDigest } from '../kit/digest.js';
import { seedEncodings } from '../kit/encodings.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { redisVersions } from '../kit/redis-binary.js';
import { dumpAll, makeByCommands, payloadOf, type DumpedKey } from '../kit/value-copy.js';

const versions = redisVersions();
const sources = new Map<string, { server: RedisServer; keys: DumpedKey[]; digest: string }>();
const targets = new Map<string, RedisServer>();

beforeAll(async () => {
  for (const version of versions) {
    const server = await startRedis({ version });
    targets.set(version, await startRedis({ version }));
    await seedEncodings(server);
    await server.cli('FUNCTION', 'FLUSH').catch(() => undefined);
    sources.set(version, { server, keys: await dumpAll(server), digest: await ownDigest(server, { expiry: false }) });
  }
});
afterAll(async () => {
  for (const { server } of sources.values()) await server.stop();
  for (const server of targets.values()) await server.stop();
});

describe.each(versions)('%s into', (from) => {
  it.each(versions)('%s', async (to) => {
    const source = sources.get(from)!;
    const target = targets.get(to)!;
    const client = target.client();
    for (const way of ['COMMANDS', 'PAYLOAD'] as const) {
      await client.flushall();
      for (const dumped of source.keys) {
        await client.select(dumped.database);
        const transfer = transferOf(dumped.rdbType, dumped.magic, target);
        expect(transfer.by, `type ${dumped.rdbType}`).not.toBe('LOSS');
        if (way === 'PAYLOAD' && transfer.by === 'PAYLOAD') await client.restore(dumped.key, dumped.ttlMs ?? 0, payloadOf(dumped.rdbType, dumped.value, transfer.version));
        else await makeByCommands(client, target, dumped);
      }
      expect(await ownDigest(target, { expiry: false }), way).toBe(source.digest);
    }
  });
});
