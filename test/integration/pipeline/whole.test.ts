import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keyCounts, ownDigest } from '../../kit/digest.js';
import { seedEncodings } from '../../kit/encodings.js';
import { fillBytes } from '../../kit/fill.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { endpointOf, rdbOf, safetyBackupOf, takeRdb, type Rdb } from '../restore/harness.js';
import { inspectInto, lentSource, pipelineInto } from './harness.js';

let source: RedisServer;
let target: RedisServer;
let rdb: Rdb;
/** DEBUG DIGEST would tell a packed sorted set from a loose one by the digits of its scores. */
let wanted: string;

beforeAll(async () => {
  [source, target] = await Promise.all([startRedis(), startRedis()]);
  await seedEncodings(source);
  await fillBytes(source, { mib: 0.3, database: 5 });
  rdb = await takeRdb(source);
  wanted = await ownDigest(source);
});
afterAll(async () => {
  await Promise.all([source?.stop(), target?.stop()]);
});
beforeEach(async () => {
  await target.cli('FLUSHALL');
  await target.cli('FUNCTION', 'FLUSH');
});

describe('a whole restore by pipeline', () => {
  it.each([65_536, 100])('gives all keys of all databases, and functions, read %d bytes at a time', async (pieceBytes) => {
    const { report, failure, phases } = await pipelineInto(target, lentSource(rdb, { pieceBytes }));
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({
      dataNow: 'NEW', restored: rdb.facts.summary.keys, replaced: 0n, skipped: 0n, expired: 0n, failed: 0n, uncertain: 0n, lost: [], failures: [], functions: 2, reconnects: 0, keysBefore: [],
    });
    expect(report.keysAfter?.map(({ database, keys }) => [database, keys])).toEqual(rdb.facts.summary.databases.map(({ database, keys }) => [database, keys]));
    expect(phases).toEqual(['PREPARING', 'VERIFYING', 'TRANSFERRING', 'FINALIZING']);
    expect(await ownDigest(target)).toBe(wanted);
  });

  it('replaces what is there, and counts it', async () => {
    await pipelineInto(target, lentSource(rdb), { selection: { databases: [0] } });
    const there = (await keyCounts(target))['0'] ?? 0;
    await target.cli('DEL', 'string:raw:0:0');
    await target.cli('SET', 'hash:one:0:0', 'another type');
    await target.cli('SET', 'stranger', '1');
    const { report, failure } = await pipelineInto(target, lentSource(rdb));
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({ restored: rdb.facts.summary.keys, replaced: BigInt(there - 1) });
    await target.cli('DEL', 'stranger');
    expect(await ownDigest(target)).toBe(wanted);
  });

  it.each([0, 1_000])('says that %d bytes were written after the safety copy', async (bytes) => {
    const { report, failure } = await pipelineInto(target, lentSource(rdb), {
      deps: {
        safetyBackup: async (signal) => {
          const result = await safetyBackupOf(target)(signal);
          if (bytes > 0) await target.cli('SET', 'late', 'x'.repeat(bytes));
          return result;
        },
      },
    });
    expect(failure).toBeUndefined();
    expect(Number(report.unsavedWriteBytes) - bytes).toBeGreaterThanOrEqual(0);
    expect(Number(report.unsavedWriteBytes) - bytes).toBeLessThan(200);
    expect((await pipelineInto(target, lentSource(rdb))).report.unsavedWriteBytes).toBeNull();
  });

  it('leaves what is there under SKIP, and counts it', async () => {
    await target.cli('SET', 'hash:one:0:0', 'mine');
    await target.cli('SADD', 'list:big:0:0', 'mine');
    const { report, failure } = await pipelineInto(target, lentSource(rdb), { onConflict: 'SKIP' });
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({ dataNow: 'NEW', restored: rdb.facts.summary.keys - 2n, skipped: 2n, replaced: 0n });
    expect(await target.cli('GET', 'hash:one:0:0')).toBe('mine');
  });

  it('stops under FAIL before anything is written', async () => {
    await target.cli('SET', 'hash:one:0:0', 'mine');
    const before = await ownDigest(target);
    const { report, failure } = await pipelineInto(target, lentSource(rdb), { onConflict: 'FAIL' });
    expect(failure).toMatchObject({ code: 'CONFLICT', details: { keys: 1, dataNow: 'OLD' } });
    expect(failure?.message).not.toContain('hash:one:0:0');
    expect(report).toMatchObject({ dataNow: 'OLD', restored: 0n, functions: 0, failures: [{ key: 'hash:one:0:0' }] });
    expect(await ownDigest(target)).toBe(before);
    await target.cli('FUNCTION', 'LOAD', "#!lua name=snapback_one\nredis.register_function('x', function() return 1 end)");
    await target.cli('DEL', 'hash:one:0:0');
    expect((await pipelineInto(target, lentSource(rdb), { onConflict: 'FAIL' })).failure?.message).toContain('snapback_one');
    await target.cli('FUNCTION', 'FLUSH');
    expect((await pipelineInto(target, lentSource(rdb), { onConflict: 'FAIL' })).report.restored).toBe(rdb.facts.summary.keys);
  });

  it('empties the databases that it writes first, and no others', async () => {
    await target.cli('SET', 'stranger', '1');
    await target.cli('-n', '9', 'SET', 'stays', '1');
    const { report } = await pipelineInto(target, lentSource(rdb), { flush: 'WRITTEN' });
    expect(report).toMatchObject({ dataNow: 'NEW', flushed: rdb.facts.summary.databases.map(({ database }) => database), replaced: 0n });
    expect(await target.cli('-n', '9', 'GET', 'stays')).toBe('1');
    expect(await target.cli('EXISTS', 'stranger')).toBe('0');
    await target.cli('-n', '9', 'FLUSHDB');
    expect(await ownDigest(target)).toBe(wanted);
  });

  it('empties everything first, functions too', async () => {
    await target.cli('-n', '9', 'SET', 'stranger', '1');
    await target.cli('FUNCTION', 'LOAD', "#!lua name=stranger\nredis.register_function('stranger', function() return 1 end)");
    const { report } = await pipelineInto(target, lentSource(rdb), { flush: 'EVERYTHING' });
    expect(report).toMatchObject({ dataNow: 'NEW', flushed: [9], functions: 2, replaced: 0n });
    expect(await ownDigest(target)).toBe(wanted);
    expect(await target.cli('FUNCTION', 'LIST')).not.toContain('stranger');
  });

  it('goes by ordinary commands alone, as a user who may not RESTORE', async () => {
    await target.cli('ACL', 'SETUSER', 'writer', 'on', '>secret', '~*', '&*', '+@all', '-restore', '-restore-asking');
    const endpoint = { ...endpointOf(target), username: 'writer', password: 'secret' };
    expect((await inspectInto(target, lentSource(rdb), { endpoint })).blockers).toMatchObject([{ name: 'NO_RIGHT_TO_RESTORE' }]);
    const found = await inspectInto(target, lentSource(rdb), { endpoint, commandsOnly: true });
    expect(found.blockers).toEqual([]);
    expect(found.losses.map(({ name }) => name)).toEqual(['STREAM_METADATA']);
    expect(found.selected.byCommands).toBe(found.selected.keys);
    const { report, failure } = await pipelineInto(target, lentSource(rdb), { endpoint, commandsOnly: true, acceptedLosses: ['STREAM_METADATA'] });
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({ dataNow: 'NEW', restored: rdb.facts.summary.keys, failed: 0n });
    expect(await ownDigest(target)).toBe(wanted);
  });
});

describe('a selection', () => {
  it('goes where it is mapped to, under new names, in one reading of the archive', async () => {
    const reading = lentSource(rdb);
    const { report } = await pipelineInto(target, reading, {
      selection: { patterns: ['hash:*'], types: ['HASH'], databases: [0, 1] }, databaseMap: [{ from: 1, to: 7 }], keyPrefix: { replace: 'hash:', by: 'copy of ' },
    });
    expect(reading.readings()).toBe(1);
    const names = async (server: RedisServer, database: string): Promise<string[]> => (await server.cli('-n', database, '--raw', 'KEYS', '*')).split('\n').filter((name) => name !== '').sort();
    const renamed = async (database: string): Promise<string[]> => (await names(source, database)).filter((name) => name.startsWith('hash:')).map((name) => name.replace('hash:', 'copy of ')).sort();
    expect(await names(target, '0')).toEqual(await renamed('0'));
    expect(await names(target, '7')).toEqual(await renamed('1'));
    expect(Object.keys(await keyCounts(target))).toEqual(['0', '7']);
    expect(report).toMatchObject({ dataNow: 'NEW', functions: 0, restored: BigInt((await renamed('0')).length + (await renamed('1')).length) });
    expect(await target.cli('HGETALL', 'copy of small:0:1')).toBe(await source.cli('HGETALL', 'hash:small:0:1'));
  });

  it('is looked at before: counts, sizes, a sample, and how it stands to the target', async () => {
    await pipelineInto(target, lentSource(rdb), { selection: { patterns: ['string:*'], databases: [0] } });
    const strings = Number((await target.cli('DBSIZE')).replace(/\D/g, ''));
    await target.cli('SET', 'string:raw:0:0', 'changed');
    await target.cli('DEL', 'string:int8:0:0');
    await target.cli('DEL', 'string:raw:0:1');
    await target.cli('SADD', 'string:raw:0:1', 'another type');
    const before = await ownDigest(target);
    const reading = lentSource(rdb);
    const found = await inspectInto(target, reading, { selection: { patterns: ['string:*'], databases: [0] } });
    expect(found).toMatchObject({ blockers: [], losses: [] });
    expect(found.selected).toMatchObject({
      keys: BigInt(strings), expired: 0n, functions: 0, databases: [{ database: 0, into: 0, keys: BigInt(strings) }], types: [{ type: 'STRING', keys: BigInt(strings) }],
      comparison: { new: 1n, otherType: 1n, sameType: BigInt(strings - 2), equal: BigInt(strings - 3), compared: BigInt(strings) },
    });
    expect(found.selected.sample[0]).toMatchObject({ database: 0, into: 0, type: 'STRING' });
    expect(found.selected.bytes).toBeGreaterThan(0n);
    expect([reading.readings(), await ownDigest(target)]).toEqual([1, before]);
  });
});

describe('expiries', () => {
  const day = 86_400_000;
  const takenAt = new Date(Date.now() - day);
  const at = (ms: number): number => takenAt.getTime() + ms;
  // Short of both ends of the day that has passed since.
  const made = rdbOf(new RdbBuilder(10).select(0)
    .string('forever', 'v').expireMs(at(2 * day)).string('long', 'v').expireMs(at(day / 2)).string('gone', 'v').expireMs(at(-5)).string('dead', 'v').build());
  const left = async (): Promise<Record<string, number>> => Object.fromEntries(await Promise.all(
    (await target.cli('KEYS', '*')).split('\n').filter((name) => name !== '').map(async (name) => [name, Number(await target.cli('PEXPIRETIME', name))] as const)));

  it('are kept to the millisecond, and what has expired goes with what it replaces', async () => {
    await target.cli('MSET', 'gone', 'old', 'dead', 'old');
    const { report } = await pipelineInto(target, lentSource(made), { ttl: 'KEEP', takenAt });
    expect(report).toMatchObject({ restored: 2n, expired: 2n, failed: 0n });
    expect(await left()).toEqual({ forever: -1, long: at(2 * day) });
  });

  it('leave what is there alone with DROP_EXPIRED, and under SKIP', async () => {
    await target.cli('MSET', 'gone', 'old', 'dead', 'old');
    for (const rule of [{ ttl: 'DROP_EXPIRED' }, { ttl: 'KEEP', onConflict: 'SKIP' }] as const) {
      expect((await pipelineInto(target, lentSource(made), { ...rule, takenAt })).report).toMatchObject({ expired: 2n });
      expect(await left()).toEqual({ forever: -1, long: at(2 * day), gone: -1, dead: -1 });
    }
  });

  it('of a later key of the same name take along the earlier one', async () => {
    const two = rdbOf(new RdbBuilder(10).select(0).string('one', 'v').string('other', 'v').select(1).expireMs(at(-5)).string('one', 'v').build());
    const { report } = await pipelineInto(target, lentSource(two), { databaseMap: [{ from: 1, to: 0 }], takenAt });
    expect(report).toMatchObject({ restored: 2n, expired: 1n });
    expect(await left()).toEqual({ other: -1 });
  });

  it('are shifted by the age of the backup', async () => {
    const before = Date.now();
    const { report } = await pipelineInto(target, lentSource(made), { ttl: 'SHIFT', takenAt });
    const after = Date.now();
    expect(report).toMatchObject({ restored: 3n, expired: 1n });
    const { long = 0, gone = 0, ...rest } = await left();
    expect(rest).toEqual({ forever: -1 });
    for (const [found, life] of [[long, 2 * day], [gone, day / 2]] as const) {
      expect(found).toBeGreaterThanOrEqual(before + life - 50);
      expect(found).toBeLessThanOrEqual(after + life + 50);
    }
  });

  it('are taken away by PERSIST', async () => {
    expect((await pipelineInto(target, lentSource(made), { ttl: 'PERSIST', takenAt })).report).toMatchObject({ restored: 4n, expired: 0n });
    expect(await left()).toEqual({ forever: -1, long: -1, gone: -1, dead: -1 });
  });
});
