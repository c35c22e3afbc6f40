import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ownDigest } from '../../kit/digest.js';
import { seedEncodings } from '../../kit/encodings.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { SORTED_SET_ENCODINGS, TIMED_HASH_ENCODINGS, type Field } from '../../kit/value-builder.js';
import { rdbOf, takeRdb, type Rdb } from '../restore/harness.js';
import { inspectInto, lentSource, pipelineInto } from './harness.js';
import { Ledger } from '../../../server/engine/target/pipeline/ledger.js';
import { KeyRules } from '../../../server/engine/target/pipeline/key-rules.js';
import { Router } from '../../../server/engine/target/pipeline/router.js';
import { surveyArchive } from '../../../server/engine/target/pipeline/survey.js';
import { transferKeys } from '../../../server/engine/target/pipeline/transfer-keys.js';
import { DEFAULT_RESTORE_OPTIONS, type RestoreOptions } from '../../../server/domain/restore-options.js';
import { DEFAULT_TIMES } from '../../../server/engine/target/times.js';
import { dial, endpointOf } from '../restore/harness.js';

let source: RedisServer;
let target: RedisServer;
let rdb: Rdb;

beforeAll(async () => {
  [source, target] = await Promise.all([startRedis(), startRedis()]);
  await seedEncodings(source);
  await source.cli('FUNCTION', 'FLUSH').catch(() => undefined);
  rdb = await takeRdb(source);
});
afterAll(async () => {
  await Promise.all([source?.stop(), target?.stop()]);
});
beforeEach(async () => {
  await target.cli('FLUSHALL');
});

/** As into a server of another version, of which the one at hand knows all commands. */
const asInto = async (version: string, from: Rdb, chosen: Partial<RestoreOptions> = {}): Promise<Ledger> => {
  const options = { ...DEFAULT_RESTORE_OPTIONS, ...chosen };
  const signal = new AbortController().signal;
  const reading = lentSource(from);
  const rules = new KeyRules(options, from.facts.summary.magic, { engine: 'REDIS', version }, from.facts.source, Date.now(), 0);
  const router = await Router.open({ endpoint: endpointOf(target), dial, times: DEFAULT_TIMES, signal, cluster: false });
  try {
    const survey = await surveyArchive({ source: reading, options, rules, look: null, bulkBytes: 2 ** 29, stallMs: 5_000, signal, onRead: () => undefined });
    const ledger = new Ledger(router, options.onConflict);
    await transferKeys({
      router, ledger, rules, options, survey, source: reading, keysBefore: [{ database: 0, keys: 1n, expiring: 0n }], bulkBytes: 2 ** 29, stallMs: 5_000, signal, token: 'test',
      onFlushed: () => undefined, onFunctions: () => undefined, onSent: () => undefined,
    });
    return ledger;
  } finally {
    router.close();
  }
};

describe('keys of types that the target does not know', () => {
  it.each(['5.0.14', '6.2.14'])('are made as by %s, each at one moment', async (version) => {
    const ledger = await asInto(version, rdb, { acceptedLosses: ['STREAM_METADATA'] });
    expect(ledger).toMatchObject({ restored: Number(rdb.facts.summary.keys), replaced: 0, failed: 0, failures: [] });
    expect(await ownDigest(target)).toBe(await ownDigest(source));
    expect(await target.cli('KEYS', 'snapback:*')).toBe('');
    // Nobody could have seen half of one.
    const stats = await target.cli('INFO', 'commandstats');
    expect(Number(/cmdstat_exec:calls=(\d+)/.exec(stats)?.[1])).toBeGreaterThan(20);
  });

  it('replace what is there, or leave it, by the rule for conflicts', async () => {
    await target.cli('SET', 'hash:small:0:0', 'in the way');
    const replaced = await asInto('6.2.14', rdb, { acceptedLosses: ['STREAM_METADATA'], selection: { patterns: ['hash:small:*'] } });
    expect(replaced).toMatchObject({ replaced: 1, skipped: 0, failed: 0 });
    await target.cli('SET', 'hash:small:0:0', 'in the way');
    const skipped = await asInto('6.2.14', rdb, { selection: { patterns: ['hash:small:*'] }, onConflict: 'SKIP' });
    expect(skipped).toMatchObject({ restored: 0, skipped: replaced.restored, failed: 0 });
    expect(await target.cli('GET', 'hash:small:0:0')).toBe('in the way');
    expect(await target.cli('KEYS', 'snapback:*')).toBe('');
  });

  it('have the time that is left where expiries are relative, as before 5.0', async () => {
    const at = Date.now() + 3_600_000;
    const made = rdbOf(new RdbBuilder(6).select(0).expireMs(at).string('key', 'v').build());
    expect(await asInto('4.0.14', made)).toMatchObject({ restored: 1 });
    expect(Math.abs(Number(await target.cli('PEXPIRETIME', 'key')) - at)).toBeLessThan(60_000);
    for (const version of ['2.8.24', '3.0.7']) {
      await target.cli('SET', 'key', 'old');
      expect(await asInto(version, made)).toMatchObject({ restored: 1, replaced: 1, failed: 0 });
      expect(await target.cli('GET', 'key')).toBe('v');
    }
  });
});

describe('what a target cannot take', () => {
  const fields: Field[] = [[Buffer.from('stays'), Buffer.from('1'), null], [Buffer.from('goes'), Buffer.from('2'), 4_102_444_800_000]];
  const timed = TIMED_HASH_ENCODINGS['REDIS 24']!(fields, () => 0);
  const made = rdbOf(new RdbBuilder(12).select(0).string('plain', '1').value(24, 'hash', timed).func('#!lua name=lib\nredis.register_function("lib_f", function() return 1 end)').build());

  it('is refused until it is accepted by name, and then counted', async () => {
    const open = await inspectInto(target, lentSource(made));
    expect(open.losses.map(({ name, keys }) => [name, keys])).toEqual([['FIELD_TTL', undefined]]);
    const { failure } = await pipelineInto(target, lentSource(made));
    expect(failure).toMatchObject({ code: 'CONFIRMATION_REQUIRED', details: { losses: 'FIELD_TTL', dataNow: 'OLD' } });
    expect(await target.cli('DBSIZE')).toBe('0');
    const { report } = await pipelineInto(target, lentSource(made), { acceptedLosses: ['FIELD_TTL'] });
    expect(report).toMatchObject({ restored: 2n, lost: [{ name: 'FIELD_TTL', count: 1n }], functions: 1 });
    expect(await target.cli('HGETALL', 'hash')).toBe('stays\n1\ngoes\n2');
  });

  it('is no loss where it is not wanted: expiries under PERSIST, functions of a selection', async () => {
    const { report, failure } = await pipelineInto(target, lentSource(made), { ttl: 'PERSIST', selection: { types: ['HASH'] } });
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({ restored: 1n, lost: [], functions: 0 });
    // No field that still expires: none that expires at all, and one that has.
    for (const ttl of [0, 1]) {
      expect((await inspectInto(target, lentSource(rdbOf(new RdbBuilder(12).select(0).redisTtlHash('hash', 1_000n, [['f', 'v', ttl]]).build())))).losses).toEqual([]);
    }
  });

  it('are functions that need `server`, as Valkey 8.0 has it; the others get there', async () => {
    const both = rdbOf(new RdbBuilder(11).aux('redis-ver', '7.2.4').aux('valkey-ver', '8.1.1')
      .func("#!lua name=plain\nredis.register_function('plain_f', function() return 1 end) -- not server.call")
      .func("#!lua name=other\nserver.register_function('other_f', function() return 1 end)").select(0).string('key', '1').build());
    const open = await inspectInto(target, lentSource(both));
    expect(open.losses).toMatchObject([{ name: 'FUNCTIONS', what: expect.stringContaining('1 of 2') }]);
    expect(open.selected.functions).toBe(2);
    expect((await pipelineInto(target, lentSource(both))).failure).toMatchObject({ code: 'CONFIRMATION_REQUIRED', details: { losses: 'FUNCTIONS', dataNow: 'OLD' } });
    const { report, failure } = await pipelineInto(target, lentSource(both), { acceptedLosses: ['FUNCTIONS'] });
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({ dataNow: 'NEW', restored: 1n, functions: 1, lost: [{ name: 'FUNCTIONS', count: 1n }], failed: 0n });
    expect(await target.cli('FUNCTION', 'LIST', 'LIBRARYNAME', 'plain')).toContain('plain_f');
    await target.cli('FUNCTION', 'FLUSH');
  });

  it('shows in the values, too: scores that are no numbers', async () => {
    const scores = rdbOf(new RdbBuilder(11).select(0).value(17, 'zset', SORTED_SET_ENCODINGS[17]!([[Buffer.from('one'), 1], [Buffer.from('odd'), NaN]], () => 0)).build());
    const ledger = await asInto('6.2.14', scores);
    expect(ledger).toMatchObject({ restored: 0, failed: 1, failures: [{ key: 'zset', reason: expect.stringContaining('NAN_SCORES') }] });
    const accepted = await asInto('6.2.14', scores, { acceptedLosses: ['NAN_SCORES'] });
    expect(accepted).toMatchObject({ restored: 1, failed: 0 });
    expect([...accepted.losses]).toEqual([['NAN_SCORES', 1]]);
    expect(await target.cli('ZRANGE', 'zset', '0', '-1', 'WITHSCORES')).toBe('one\n1');
  });
});
