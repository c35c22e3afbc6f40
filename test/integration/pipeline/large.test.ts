import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { MAX_HELD_VALUE } from '../../../server/engine/target/pipeline/survey.js';
import { keyCounts } from '../../kit/digest.js';
import { startProxy, type Proxy } from '../../kit/proxy.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { repeatableBytes } from '../../kit/seed-bytes.js';
import { endpointOf, takeRdb, type Rdb } from '../restore/harness.js';
import { inspectInto, lentSource, pipelineInto } from './harness.js';

/** Values that are too large to be kept until they have been answered. */
const COLLECTIONS = ['list', 'set', 'hash'];
const BLOB_BYTES = 12 * 1024 * 1024;
let source: RedisServer;
let target: RedisServer;
let proxy: Proxy;
let rdb: Rdb;

beforeAll(async () => {
  // Compressed, they would not be large.
  [source, target] = await Promise.all([startRedis({ config: { rdbcompression: 'no' } }), startRedis()]);
  proxy = await startProxy(target.port);
  const client = source.client();
  await client.set('blob', repeatableBytes(BLOB_BYTES, 'blob'));
  await client.set('small', '1');
  const fill = "for i = 1, KEYS[2] do local a = {} for j = 1, 500 do a[j] = 'field ' .. i .. ' ' .. j .. string.rep('v', 150) end redis.call(KEYS[3], KEYS[1], unpack(a)) end";
  for (const [name, rounds, command] of [['list', 115, 'RPUSH'], ['set', 25, 'SADD'], ['hash', 25, 'HSET']] as const) await client.eval(fill, 3, name, rounds, command);
  await client.pexpireat('list', Date.now() + 3_600_000);
  client.disconnect();
  rdb = await takeRdb(source);
});
afterAll(async () => {
  await proxy?.stop();
  await Promise.all([source?.stop(), target?.stop()]);
});
beforeEach(async () => {
  await target.cli('FLUSHALL');
  await target.cli('CONFIG', 'SET', 'proto-max-bulk-len', '512mb');
});

const digests = (server: RedisServer, names: readonly string[]): Promise<string> => server.cli('DEBUG', 'DIGEST-VALUE', ...names);
const sameAsSource = async (names: readonly string[]): Promise<void> => {
  expect(await digests(target, names)).toBe(await digests(source, names));
  if (names.includes('list')) expect(await target.cli('PEXPIRETIME', 'list')).toBe(await source.cli('PEXPIRETIME', 'list'));
  expect(await keyCounts(target)).toEqual({ 0: names.length });
};

it('pass through as payloads, whatever their size, while memory stays as it is', async () => {
  expect(rdb.bytes.length).toBeGreaterThan(BLOB_BYTES + MAX_HELD_VALUE);
  const reading = lentSource(rdb);
  const begun = process.memoryUsage().arrayBuffers;
  let most = 0;
  const { report, failure } = await pipelineInto(target, reading, { onProgress: () => { most = Math.max(most, process.memoryUsage().arrayBuffers); } });
  expect(failure).toBeUndefined();
  expect(report).toMatchObject({ restored: 5n, failed: 0n });
  await sameAsSource(['blob', 'small', ...COLLECTIONS]);
  expect((most - begun) / 2 ** 20).toBeLessThan(64);
});

it('keep the rules for conflicts, whatever stands in their place', async () => {
  const names = ['blob', 'list'];
  const occupy = async (): Promise<void> => {
    await target.cli('FLUSHALL');
    await target.cli('RPUSH', 'blob', 'mine');
    await target.cli('SET', 'list', 'mine');
  };
  for (const [onConflict, counts] of [['REPLACE', { restored: 2n, replaced: 2n }], ['SKIP', { restored: 0n, skipped: 2n }], ['FAIL', { restored: 0n, dataNow: 'OLD' }]] as const) {
    await occupy();
    const { report, failure } = await pipelineInto(target, lentSource(rdb), { selection: { patterns: names }, onConflict });
    expect([onConflict, failure?.code]).toEqual([onConflict, onConflict === 'FAIL' ? 'CONFLICT' : undefined]);
    expect(report).toMatchObject(counts);
    if (onConflict === 'REPLACE') await sameAsSource(names);
    else expect([await target.cli('LRANGE', 'blob', '0', '-1'), await target.cli('GET', 'list')]).toEqual(['mine', 'mine']);
  }
});

it('go in pieces where the target takes no argument so long, each under its name at one moment; what cannot is named before', async () => {
  await target.cli('CONFIG', 'SET', 'proto-max-bulk-len', '1mb');
  const { failure } = await pipelineInto(target, lentSource(rdb));
  expect(failure).toMatchObject({ code: 'LIMIT_EXCEEDED', details: { blockers: 'VALUE_TOO_LARGE', dataNow: 'OLD' } });
  expect((await inspectInto(target, lentSource(rdb))).problems).toMatchObject([{ kind: 'VALUE_TOO_LARGE', key: 'blob' }]);
  const selection = { types: ['LIST', 'SET', 'HASH'] as const };
  for (const [onConflict, counts] of [['REPLACE', { restored: 3n, replaced: 0n }], ['REPLACE', { restored: 3n, replaced: 3n }], ['SKIP', { restored: 0n, skipped: 3n }]] as const) {
    const { report, failure: none } = await pipelineInto(target, lentSource(rdb), { selection, onConflict });
    expect(none).toBeUndefined();
    expect(report).toMatchObject(counts);
    await sameAsSource(COLLECTIONS);
  }
});

it.each(['512mb', '1mb'])('begin anew after a cut, with arguments of up to %s', async (limit) => {
  await target.cli('CONFIG', 'SET', 'proto-max-bulk-len', limit);
  let sent = 0;
  let cuts = 0;
  const { report, failure } = await pipelineInto(target, lentSource(rdb), {
    endpoint: { ...endpointOf(target), port: proxy.port }, selection: { patterns: limit === '1mb' ? ['list'] : ['list', 'blob'] },
    onProgress: (progress) => {
      if (progress.kind === 'phase' && progress.phase === 'TRANSFERRING') sent = 1;
      // Each is told of in dozens of pieces: twice in the middle of one.
      if (progress.kind !== 'amount' || sent === 0 || ++sent % 20 !== 0 || cuts >= 2) return;
      cuts += 1;
      proxy.mend();
    },
  });
  expect(failure).toBeUndefined();
  const names = limit === '1mb' ? ['list'] : ['list', 'blob'];
  expect(report).toMatchObject({ restored: BigInt(names.length), failed: 0n });
  expect([cuts, report.reconnects]).toEqual([2, 2]);
  await sameAsSource(names);
});
