import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DomainError } from '../../server/domain/errors.js';
import { inspect, restoreInto, sourceOf, takeRdb, type Rdb } from '../integration/restore/harness.js';
import { ownDigest } from '../kit/digest.js';
import { seedEncodings } from '../kit/encodings.js';
import { compareVersions, redisBinary, redisVersions } from '../kit/redis-binary.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { settingsOf } from '../kit/settings.js';
import { eventually } from '../kit/wait.js';
import { addShortLived, expectExpiries, expiriesOf, makeDifferent, shortLivedGone } from './contents.js';
import { expected, expectedOfCommon, expiresFields, isKnown, knowsSlotNotes } from './expectations.js';
import { PairTable } from './outcomes.js';
import { FOLLOWS, startFrom } from './servers.js';

/**
 * Between every two versions, over the replication link: data that both families have had since 7.2, each type in each encoding. Newer versions' own
 * headers are taken off where the target loads what is under them; what it would not load never reaches it.
 */
const binaries = await Promise.all(redisVersions().map(async (name) => ({ name, ...(await redisBinary(name)) })));
const versions = binaries.filter(isKnown).map(({ name }) => name);
const table = new PairTable(versions);
const SLOT_INFO = 244;
const IDLE = 248;
const FREQ = 249;

interface Source {
  server: RedisServer;
  rdb: Rdb;
  digest: string;
  expiries: Awaited<ReturnType<typeof expiriesOf>>;
}
const sources = new Map<string, Source>();
const targets = new Map<string, RedisServer>();
const has = <T>(all: Map<string, T>, name: string): T => {
  const found = all.get(name);
  if (found === undefined) throw new Error(`${name} did not start`);
  return found;
};

/** Fields that expire are the one thing that the families have had since in ways of their own. */
const removeTimedFields = async (server: RedisServer): Promise<void> => {
  const client = server.client();
  for (const database of [0, 1, 2]) {
    await client.select(database);
    const names = await client.keys('hash:fields-*');
    if (names.length > 0) await client.del(names);
  }
  client.disconnect();
};

beforeAll(async () => {
  for (const version of versions) {
    targets.set(version, await startRedis({ version }));
    // Notes on how often keys were used are in the files, too.
    const server = await startRedis({ version, config: { 'maxmemory-policy': 'allkeys-lfu' } });
    try {
      await seedEncodings(server);
      await removeTimedFields(server);
      await addShortLived(server, { fields: false });
      const rdb = await takeRdb(server);
      expect(rdb.facts.summary.opcodes).toContain(FREQ);
      await shortLivedGone(server);
      sources.set(version, { server, rdb, digest: await ownDigest(server, { expiry: false }), expiries: await expiriesOf(server) });
    } catch (error) {
      await server.stop();
      throw error;
    }
  }
});
afterAll(async () => {
  await Promise.all([...[...sources.values()].map(({ server }) => server), ...targets.values()].map((server) => server.stop()));
  console.log(`\nOVER THE LINK: of ${String(table.size)} pairs ${table.summary()}\n${table.rows().join('\n')}\n`);
});

const restore = (target: RedisServer, rdb: Rdb) => restoreInto(target, sourceOf(rdb, { pieceBytes: 4_099 }), { plan: { version: target.version } });

/** Nothing was changed, and nothing begun. */
const expectRefused = async (target: RedisServer, rdb: Rdb, code: string, reason: RegExp): Promise<void> => {
  const [before, logged] = [await ownDigest(target), target.log().length];
  const found = await inspect(target, rdb);
  expect(found.compatibility).toEqual({ loads: false, reason: expect.stringMatching(reason) });
  expect(found.blockers.map((blocker) => [blocker.name, blocker.code])).toEqual([['CANNOT_LOAD', code]]);
  expect((await restore(target, rdb)).failure).toMatchObject({ code, report: { dataNow: 'OLD', promoted: true, bytesSent: 0n } });
  expect(await ownDigest(target)).toBe(before);
  expect(target.log().slice(logged)).not.toMatch(FOLLOWS);
};

describe.each(versions)('%s', (from) => {
  it.each(versions)('into %s', async (to) => {
    const { server: source, rdb, digest, expiries } = has(sources, from);
    const target = has(targets, to);
    await makeDifferent(target);
    const way = expectedOfCommon(source, target);
    if (way !== 'LOADS' && way !== 'REWRITTEN') {
      await expectRefused(target, rdb, way, /Another header would not help: servers before 7\.2/);
      table.set(from, to, 'refused');
      return;
    }
    const rewritten = way === 'REWRITTEN';
    // A target that takes everything straight from the socket loses its data over the first byte it does not know.
    for (const diskless of rewritten ? ['disabled', 'swapdb'] : ['disabled']) {
      if (rewritten) await target.cli('CONFIG', 'SET', 'repl-diskless-load', diskless);
      const found = await inspect(target, rdb);
      expect([found.compatibility, found.blockers, found.header]).toEqual([{ loads: true, reason: null }, [], rewritten ? { magic: 'REDIS', version: 11 } : null]);
      expect(found.warnings.some(({ name }) => name === 'HEADER_REWRITTEN')).toBe(rewritten);
      const { report, failure } = await restore(target, rdb);
      expect(failure).toBeUndefined();
      expect(report).toMatchObject({ dataNow: 'NEW', promoted: true, bytesSent: BigInt(rdb.bytes.length), keysAfter: rdb.facts.summary.databases });
      // What has expired since is counted, and goes as soon as the target is its own master.
      await eventually(async () => {
        expect(await ownDigest(target, { expiry: false })).toBe(digest);
        await expectExpiries(target, expiries.expiries, expiries.slackMs);
      });
    }
    table.set(from, to, rewritten ? 'rewritten' : 'as it is');
  });
});

it.each(versions)('%s is set to load while it receives, and has its setting again', async (version) => {
  const { rdb, digest } = has(sources, version);
  const target = has(targets, version);
  await makeDifferent(target);
  await target.cli('CONFIG', 'SET', 'repl-diskless-load', 'disabled');
  const settings = await settingsOf(target);
  const old = await ownDigest(target);
  const plan = { version: target.version, disklessLoad: true };
  const cut = await restoreInto(target, sourceOf(rdb, { pieceBytes: 4_099, before: { byte: rdb.bytes.length / 2, reading: 2, act: () => { throw new DomainError('CORRUPT', 'Block 7 is damaged.'); } } }), { plan });
  expect(cut.failure).toMatchObject({ code: 'CORRUPT', report: { dataNow: 'OLD', promoted: true, settingLeft: false } });
  expect([await ownDigest(target), await settingsOf(target)]).toEqual([old, settings]);
  const { report, failure, notices } = await restoreInto(target, sourceOf(rdb, { pieceBytes: 4_099 }), { plan });
  expect(failure).toBeUndefined();
  expect(report).toMatchObject({ dataNow: 'NEW', promoted: true, settingLeft: false });
  expect(notices).toEqual(['DISKLESS_LOAD_PUT_BACK']);
  expect(target.log()).toMatch(/streamed RDB|to parser/);
  expect(await settingsOf(target)).toEqual(settings);
  await eventually(async () => { expect(await ownDigest(target, { expiry: false })).toBe(digest); });
});

/** Redis 7.4 in records of their own, Valkey 8.0 in AUX fields. */
const writeSlots = versions.filter((name) => binaries.some((binary) => binary.name === name && compareVersions(binary.version, binary.engine === 'VALKEY' ? '8.0.0' : '7.4.0') >= 0));

it.each(writeSlots)('notes on slots, as a cluster node of %s writes them, are in no way where they are known', async (from) => {
  const source = await startRedis({ version: from, cluster: true, config: { 'maxmemory-policy': 'allkeys-lru' } });
  try {
    await source.cli('HSET', 'key', 'field', 'value');
    const rdb = await takeRdb(source);
    const { aux, opcodes } = rdb.facts.summary;
    expect(opcodes).toContain(IDLE);
    const slots = opcodes.includes(SLOT_INFO);
    expect(slots).toBe(aux['slot-info'] === undefined);
    for (const to of versions) {
      const target = has(targets, to);
      await makeDifferent(target);
      const way = expectedOfCommon(source, target);
      if ((way !== 'LOADS' && way !== 'REWRITTEN') || (slots && !knowsSlotNotes(target))) {
        const found = await inspect(target, rdb);
        await expectRefused(target, rdb, found.blockers[0]?.code ?? '', /notes on slots|servers before 7\.2/);
        continue;
      }
      expect((await restore(target, rdb)).failure, to).toBeUndefined();
      expect(await target.cli('HGET', 'key', 'field'), to).toBe('value');
    }
  } finally {
    await source.stop();
  }
});

const withTimedFields = versions.filter((name) => binaries.some((binary) => binary.name === name && expiresFields(binary)));

it.each(withTimedFields)('fields of %s that have expired since are gone wherever its files load', async (from) => {
  const source = await startRedis({ version: from });
  try {
    await addShortLived(source, { fields: true });
    await source.cli('SET', 'stays', '1');
    const rdb = await takeRdb(source);
    await shortLivedGone(source);
    for (const to of versions) {
      const target = has(targets, to);
      if (expected(source, target) !== 'LOADS') {
        const found = await inspect(target, rdb);
        await expectRefused(target, rdb, found.blockers[0]?.code ?? '', /hashes whose fields expire|servers before 7\.2/);
        continue;
      }
      expect((await restore(target, rdb)).failure, to).toBeUndefined();
      await eventually(async () => expect(await ownDigest(target), to).toBe(await ownDigest(source)));
    }
  } finally {
    await source.stop();
  }
});

const valkeys = versions.filter((name) => binaries.some((binary) => binary.name === name && binary.engine === 'VALKEY'));

it.each(valkeys)('functions of %s that call their server `server` get only where that is known', async (from) => {
  const source = await startRedis({ version: from });
  try {
    await source.cli('FUNCTION', 'LOAD', "#!lua name=ours\nserver.register_function('ours', function() return 1 end)");
    await source.cli('SET', 'key', 'value');
    const rdb = await takeRdb(source);
    for (const to of versions) {
      const target = has(targets, to);
      await makeDifferent(target);
      const found = await inspect(target, rdb);
      if (target.engine === 'VALKEY') {
        expect(found.compatibility, to).toEqual({ loads: true, reason: null });
        expect((await restore(target, rdb)).failure, to).toBeUndefined();
        expect(await target.cli('FUNCTION', 'LIST')).toContain('ours');
        continue;
      }
      const itself = await startFrom(rdb.bytes, to, (server) => ownDigest(server));
      expect(itself, to).toMatchObject({ refused: expect.any(String) });
      await expectRefused(target, rdb, found.blockers[0]?.code ?? '', /functions|needs Redis/);
    }
  } finally {
    await source.stop();
  }
});
