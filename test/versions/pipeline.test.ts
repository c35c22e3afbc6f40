import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transferOf } from '../../server/engine/rdb/transfer.js';
import { type PipelineReport } from '../../server/engine/restore-pipeline.js';
import { inspectInto, lentSource, pipelineInto } from '../integration/pipeline/harness.js';
import { takeRdb, type Rdb } from '../integration/restore/harness.js';
import { ownDigest } from '../kit/digest.js';
import { seedEncodings } from '../kit/encodings.js';
import { compareVersions, redisBinary, redisVersions } from '../kit/redis-binary.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { hasCommand } from '../kit/seed.js';
import { streamFacts } from '../kit/stream-facts.js';
import { dumpAll, type DumpedKey } from '../kit/value-copy.js';
import { eventually } from '../kit/wait.js';
import { addShortLived, expectExpiries, expiriesOf, shortLivedGone } from './contents.js';
import { expectedLosses, expiresFields, hasFunctions, isKnown } from './expectations.js';
import { PairTable } from './outcomes.js';

/**
 * Between every two versions, whole backups key by key: each type in each encoding of one, by RESTORE or, where the other does not know it, by commands;
 * and by commands alone. What is lost is named before, and everything else gets there.
 */
const binaries = await Promise.all(redisVersions().map(async (name) => ({ name, ...(await redisBinary(name)) })));
const versions = binaries.filter(isKnown).map(({ name }) => name);
const table = new PairTable(versions);
const STREAM_TYPES = [15, 19, 21];

interface Source {
  server: RedisServer;
  rdb: Rdb;
  streams: DumpedKey[];
  /** What is to come out: of data with and without exact times, of streams with and without counters. */
  digests: { exact: string; plain: string };
  facts: { exact: unknown; plain: unknown };
  /** Keys of the backup that have expired since. */
  expired: number;
  expiries: Awaited<ReturnType<typeof expiriesOf>>;
}
const sources = new Map<string, Source>();
const targets = new Map<string, RedisServer>();
const has = <T>(all: Map<string, T>, name: string): T => {
  const found = all.get(name);
  if (found === undefined) throw new Error(`${name} did not start`);
  return found;
};

const streamsOf = async (server: RedisServer, keys: readonly DumpedKey[], counters: boolean): Promise<Record<string, unknown>> => {
  const client = server.client();
  const facts: Record<string, unknown> = {};
  for (const { key, database } of keys) {
    await client.select(database);
    facts[`${String(database)} ${key.toString()}`] = await streamFacts(client, key, { counters });
  }
  client.disconnect();
  return facts;
};

beforeAll(async () => {
  for (const version of versions) {
    targets.set(version, await startRedis({ version }));
    const server = await startRedis({ version });
    try {
      await seedEncodings(server);
      const streams = (await dumpAll(server)).filter(({ rdbType }) => STREAM_TYPES.includes(rdbType));
      const expired = await addShortLived(server, { fields: expiresFields(server) });
      const rdb = await takeRdb(server);
      await shortLivedGone(server);
      sources.set(version, {
        server, rdb, streams, expired, expiries: await expiriesOf(server), digests: { exact: await ownDigest(server), plain: await ownDigest(server, { expiry: false }) },
        facts: { exact: await streamsOf(server, streams, true), plain: await streamsOf(server, streams, false) },
      });
    } catch (error) {
      await server.stop();
      throw error;
    }
  }
});
afterAll(async () => {
  await Promise.all([...[...sources.values()].map(({ server }) => server), ...targets.values()].map((server) => server.stop()));
  console.log(`\nKEY BY KEY: of ${String(table.size)} pairs ${table.summary()}, and each by commands alone\n${table.rows().join('\n')}\n`);
});

/** Other data than the backup's, some of it under names of the backup. */
const emptyBut = async (server: RedisServer): Promise<void> => {
  const client = server.client();
  await client.flushall();
  if (await hasCommand(client, 'FUNCTION')) await client.call('FUNCTION', 'FLUSH');
  await client.mset('hash:one:0:0', 'in the way', 'only here', '1');
  client.disconnect();
};

describe.each(versions)('%s', (from) => {
  it.each(versions)('key by key into %s', async (to) => {
    const { server: source, rdb, streams, expired, expiries, digests, facts } = has(sources, from);
    const target = has(targets, to);
    const { magic, rdbTypes, keys: all } = rdb.facts.summary;
    await emptyBut(target);
    const losses = expectedLosses(source, target);
    const found = await inspectInto(target, lentSource(rdb));
    expect([found.blockers, found.losses.map(({ name }) => name)]).toEqual([[], losses]);
    if (losses.length > 0) {
      const before = await ownDigest(target);
      const { failure } = await pipelineInto(target, lentSource(rdb), { acceptedLosses: losses.slice(1) });
      expect(failure).toMatchObject({ code: 'CONFIRMATION_REQUIRED', details: { losses: losses[0], dataNow: 'OLD' } });
      expect(await ownDigest(target)).toBe(before);
    }

    const functions = hasFunctions(source) && hasFunctions(target);
    const alike = functions && expiresFields(source) === expiresFields(target);
    const data = (digest: string): string => (functions ? digest : digest.replace(/\+functions:.*$/, ''));
    // A hash whose fields have all expired is one that a server may still take, to let them expire itself.
    const hollow = expiresFields(source) ? 1 : 0;
    const counts = ({ restored, replaced, skipped, expired: gone }: PipelineReport): number[] => {
      expect(restored + skipped + gone).toBe(all);
      expect(Number(gone) - expired).toBeGreaterThanOrEqual(0);
      expect(Number(gone) - expired).toBeLessThanOrEqual(hollow);
      return [Number(restored), Number(replaced), Number(skipped)];
    };
    const isSame = (): Promise<void> => eventually(async () => {
      expect(data(await ownDigest(target, { expiry: alike }))).toBe(data(alike ? digests.exact : digests.plain));
      await expectExpiries(target, expiries.expiries, expiries.slackMs);
    });
    const rest = { dataNow: 'NEW', failed: 0n, failures: [] };

    const first = await pipelineInto(target, lentSource(rdb), { acceptedLosses: losses });
    expect(first.failure?.message).toBeUndefined();
    expect(first.report).toMatchObject({ ...rest, functions: functions ? 2 : 0 });
    expect(counts(first.report)).toEqual([expect.any(Number), 1, 0]);
    expect(first.report.lost.map(({ name }) => name).sort()).toEqual([...losses].sort());
    await target.cli('DEL', 'only here');
    await isSame();
    const counters = functions && compareVersions(target.version, '7.0.0') >= 0;
    expect(await streamsOf(target, streams, counters)).toEqual(counters ? facts.exact : facts.plain);

    const byCommands = await pipelineInto(target, lentSource(rdb), { acceptedLosses: [...losses, 'STREAM_METADATA'], commandsOnly: true });
    expect([byCommands.failure?.message, byCommands.report]).toMatchObject([undefined, rest]);
    const [restored = 0, replaced = 0] = counts(byCommands.report);
    expect([restored, restored - replaced]).toEqual([Number(all) - expired - hollow, 0]);
    await isSame();
    expect(await streamsOf(target, streams, counters)).toEqual(counters ? facts.exact : facts.plain);
    const skipping = await pipelineInto(target, lentSource(rdb), { acceptedLosses: losses, onConflict: 'SKIP' });
    expect([skipping.failure?.message, skipping.report]).toMatchObject([undefined, rest]);
    expect(counts(skipping.report)[0]).toBeLessThanOrEqual(hollow);
    const ways = new Set(rdbTypes.map((type) => transferOf(type, magic, target).by));
    table.set(from, to, ways.has('COMMANDS') ? 'with commands' : 'payloads');
  });
});
