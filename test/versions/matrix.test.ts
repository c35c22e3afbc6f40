import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup } from '@snapback/sdk';
import { type RdbSummary } from '../../server/engine/rdb/summary.js';
import { digest, ownDigest } from '../kit/digest.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { type RedisServer } from '../kit/redis.js';
import { checkRdb, redisBinary, redisVersions, redisVersionsDir } from '../kit/redis-binary.js';
import { startService, type TestService } from '../kit/service.js';
import { CHUNK_SIZES, readIn } from '../unit/rdb/samples.js';
import { expectExpiries, expiryName, keyspace, makeDifferent, typeCounts, type Expiries } from './contents.js';
import { expected, expectedLoadsOn, expectedLosses, expectedOfCommon, expiresFields, isKnown, writeDoublesAlike, writtenHeader } from './expectations.js';
import { Outcomes } from './outcomes.js';
import { accepting, FOLLOWS, REFUSES, startFrom, startMember, startPair, storedRdb, takeBackup, type Member, type Pair } from './servers.js';

const standing = await Promise.all(redisVersions().map(async (name) => ({ name, ...(await redisBinary(name)) })));
const versions = standing.filter(isKnown).map(({ name }) => name);
/** Said and not failed: what a package archive moves to is no change of ours. */
const notJudged = standing.filter((server) => !isKnown(server));
const outcomes = new Outcomes(versions);

let service: TestService;
const started: RedisServer[] = [];
const pairs = new Map<string, Pair>();
const pairOf = (name: string): Pair => {
  const pair = pairs.get(name);
  if (pair === undefined) throw new Error(`${name} did not start`);
  return pair;
};

it('has servers to run with', () => {
  const nothing = `NO VERSIONS RAN: no server stands in ${redisVersionsDir()}. Run "npm run redis-versions" first, or name another folder by REDIS_VERSIONS_DIR.`;
  if (versions.length === 0) console.error(`\n${nothing}\n`);
  expect(versions, nothing).not.toEqual([]);
});

beforeAll(async () => {
  if (versions.length === 0) return;
  service = await startService();
  for (const name of versions) pairs.set(name, await startPair(service, name, started));
});

afterAll(async () => {
  if (outcomes.failed > 0) console.error(service?.logs().split('\n').filter((line) => /"level":"(?:warn|error)"/.test(line)).slice(-40).join('\n'));
  await service?.stop();
  await Promise.all(started.map((server) => server.stop()));
  if (versions.length > 0) console.log(`\n${outcomes.text()}\n`);
  for (const { name, engine, version } of notJudged) {
    console.warn(`NOT RUN: ${name} (${engine} ${version}) has no row in test/versions/expectations.ts. Look into its rdb.h, add one, and compare the service's format table.`);
  }
});

describe.each(versions)('%s', (name) => {
  let source: Pair['source'];
  let backup: Backup;
  let file: Buffer;
  let summary: RdbSummary;
  const expiries: Expiries = new Map();
  /** As it was when it was backed up. */
  let data: { digest: string; plain: string; withTimes: string };

  beforeAll(async () => {
    ({ source } = pairOf(name));
    data = { digest: await digest(source.server), plain: await ownDigest(source.server, { expiry: false }), withTimes: await ownDigest(source.server) };
    ({ backup, file } = await takeBackup(service, source));
    summary = readIn(file, Infinity, {
      onKey: ({ database, key, expiresAtMs }) => {
        if (expiresAtMs !== null && key !== null) expiries.set(expiryName(database, key), expiresAtMs);
      },
    });
    outcomes.ran(name, `${source.server.version} writes ${writtenHeader(source.server)}`);
  });

  it('is backed up whole', async () => {
    const { engine, version } = source.server;
    const { seeded } = source;
    const [magic, number] = writtenHeader(source.server).split(' ');
    const databases = await keyspace(source.server);
    const types = await typeCounts(source.server);
    expect(seeded.fieldExpiry).toBe(expiresFields(source.server));
    expect(backup).toMatchObject({
      state: 'AVAILABLE', engine, engineVersion: version, integrity: 'STRUCTURE_AND_CHECKSUM', unknownContent: null, rdbVersion: Number(number),
      databases, functions: seeded.functions ? 2 : 0, sizeBytes: String(file.length), captureMethod: 'REPLICATION',
      keys: String(databases.reduce((sum, { keys }) => sum + Number(keys), 0)),
    });
    expect(Object.fromEntries(backup.types?.map(({ type, keys }) => [type, keys]) ?? [])).toEqual(types);
    expect(backup.loadsOn).toEqual(expectedLoadsOn(source.server));
    expect(storedRdb(service, backup)).toMatchObject({
      magic, version: Number(number), databases, hasHashFieldTtl: seeded.fieldExpiry, modules: [], integrity: 'STRUCTURE_AND_CHECKSUM', checksum: 'VALID',
      bytes: String(file.length), unknown: null,
    });
  });

  it('writes a file that reads the same in pieces of any size', () => {
    expect(String(summary.keys)).toBe(backup.keys);
    expect(BigInt(expiries.size)).toBe(summary.expiring);
    for (const size of CHUNK_SIZES) expect(readIn(file, size)).toEqual(summary);
  });

  it('gives a download that the same version starts from', async () => {
    const folder = makeTempDir('download');
    try {
      writeFileSync(join(folder, 'dump.rdb'), file);
      expect(await checkRdb(join(folder, 'dump.rdb'), name)).toContain('RDB looks OK');
    } finally {
      await removeTempDir(folder);
    }
    const found = await startFrom(file, name, async (server) => ({ data: await digest(server), databases: await keyspace(server) }));
    expect(found).toEqual({ data: data.digest, databases: backup.databases });
  });

  it('is judged by its header where all of its types are old ones, and sent under another where that helps', async () => {
    // Fields that expire have types of their own, which would be refused even where the header was let through.
    const plain = await startMember(service, name, `${name} plain`, started);
    await plain.server.cli('HSET', 'hash', 'field', 'value');
    const { backup: small, file: rdb } = await takeBackup(service, plain);
    expect(small.loadsOn).toEqual(expectedLoadsOn(plain.server));
    // Once is enough: link.test.ts sends them to all.
    let sent = false;
    for (const other of versions) {
      const target = pairOf(other).target;
      const verdict = expected(plain.server, target.server);
      const plan = await service.sdk.restores.plan({ backupId: small.id, instanceId: target.instance.id, method: 'REPLICATION_LINK' });
      const way = expectedOfCommon(plain.server, target.server);
      expect(plan.compatibility.loads, other).toBe(way === 'LOADS' || way === 'REWRITTEN');
      expect(plan.warnings.some(({ name: warning }) => warning === 'HEADER_REWRITTEN'), other).toBe(way === 'REWRITTEN');
      const itself = await startFrom(rdb, other, (server) => keyspace(server));
      expect(itself, other).toEqual(verdict === 'LOADS' ? small.databases : { refused: expect.stringMatching(REFUSES) });
      if (way !== 'REWRITTEN' || sent) continue;
      sent = true;
      await service.sdk.restores.wait(await service.sdk.restores.run({ ...accepting(plan), confirmation: target.instance.name }));
      expect([await target.server.cli('HGET', 'hash', 'field'), await keyspace(target.server)]).toEqual(['value', small.databases]);
    }
  });

  it.each(versions)('into %s', async (other) => {
    // Into itself is into the very server that was backed up, changed since; into others, a server with data of its own.
    const target: Member = other === name ? source : pairOf(other).target;
    const verdict = expected(source.server, target.server);
    await makeDifferent(target.server);
    const before = await digest(target.server);
    expect(before).not.toBe(data.digest);
    const logged = target.server.log().length;
    const plan = await service.sdk.restores.plan({ backupId: backup.id, instanceId: target.instance.id, method: 'REPLICATION_LINK' });
    expect(plan).toMatchObject({ state: 'READY', targetEngine: target.server.engine, targetVersion: target.server.version, compatibility: { loads: verdict === 'LOADS' } });

    if (verdict !== 'LOADS') {
      expect(plan.blockers.map(({ name: blocker, code }) => [blocker, code])).toEqual([['CANNOT_LOAD', verdict]]);
      expect(plan.compatibility.reason).toMatch(/\S/);
      await expect(service.sdk.restores.run({ ...accepting(plan), confirmation: target.instance.name })).rejects.toMatchObject({ code: 'TARGET_BLOCKED' });
      expect(await digest(target.server)).toBe(before);
      expect(target.server.log().slice(logged)).not.toMatch(FOLLOWS);
      // The server itself has the last word on whether refusing was right.
      const itself = await startFrom(file, other, (server) => keyspace(server));
      expect(itself).toMatchObject({ refused: expect.stringMatching(REFUSES) });
      const digests = await keyByKey(source.server, backup, target);
      expect(digests.is).toBe(digests.wanted);
      await expectExpiries(target.server, expiries);
      outcomes.keyByKey(name, other);
      return;
    }

    expect(plan).toMatchObject({ blockers: [], method: 'REPLICATION_LINK' });
    expect(plan.keysAfter).toEqual(backup.databases);
    const restore = await service.sdk.restores.wait(await service.sdk.restores.run({ ...accepting(plan), confirmation: target.instance.name }));
    expect(restore).toMatchObject({ dataNow: 'NEW', report: { promoted: true, keysAfter: backup.databases, bytesSent: backup.sizeBytes }, safetyBackup: { state: 'AVAILABLE' } });
    expect(target.server.log().slice(logged)).toMatch(FOLLOWS);
    expect(await target.server.cli('INFO', 'replication')).toContain('role:master');
    // Servers that write doubles differently are compared by what the target's own version makes of the file.
    const reference = writeDoublesAlike(source.server, target.server) ? data.digest : await startFrom(file, other, digest);
    expect(await digest(target.server)).toBe(reference);
    // What DEBUG DIGEST leaves out, such as groups of streams; times of fields where both servers can tell them.
    const withTimes = writtenHeader(source.server) === writtenHeader(target.server);
    expect(await ownDigest(target.server, { expiry: withTimes })).toBe(withTimes ? data.withTimes : data.plain);
    await expectExpiries(target.server, expiries);
    outcomes.overTheLink(name, other);
  });
});

/** What the link cannot bring goes key by key, by itself, as soon as what is lost is accepted by name. */
const keyByKey = async (source: RedisServer, backup: Backup, target: Member): Promise<{ is: string; wanted: string }> => {
  const input = { backupId: backup.id, instanceId: target.instance.id, safetyBackup: false };
  const losses = expectedLosses(source, target.server);
  const open = await service.sdk.restores.plan(input);
  expect([open.losses?.map(({ name }) => name), open.method === null]).toEqual([losses, losses.length > 0]);
  const plan = losses.length === 0 ? open : await service.sdk.restores.plan({ ...input, acceptedLosses: losses });
  expect(plan).toMatchObject({ state: 'READY', method: 'RESTORE_PIPELINE', replacesEverything: true, blockers: [] });
  const restore = await service.sdk.restores.wait(await service.sdk.restores.run({ ...accepting(plan), confirmation: target.instance.name }));
  expect(restore).toMatchObject({ method: 'RESTORE_PIPELINE', dataNow: 'NEW', report: { keysAfter: backup.databases, keys: { restored: backup.keys, failed: '0', skipped: '0', expired: '0' } } });
  const data = (digest: string): string => (losses.includes('FUNCTIONS') ? digest.replace(/\+functions:.*$/, '') : digest);
  return { is: await ownDigest(target.server, { expiry: false }), wanted: data(await ownDigest(source, { expiry: false })) };
};
