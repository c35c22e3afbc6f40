import { type Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { slotOf } from '../../../server/engine/target/pipeline/slots.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { repeatableBytes } from '../../kit/seed-bytes.js';
import { seedAllTypes } from '../../kit/seed.js';
import { waitFor } from '../../kit/wait.js';
import { dial, rdbOf, takeRdb } from '../restore/harness.js';
import { inspectInto, lentSource, pipelineInto } from './harness.js';

const RANGES = [[0, 5_460], [5_461, 10_922], [10_923, 16_383]] as const;
const KEYS = 14_000;
let nodes: RedisServer[];
let clients: Redis[];
let ids: string[];

const nodeOf = (slot: number): number => RANGES.findIndex(([from, to]) => slot >= from && slot <= to);

beforeAll(async () => {
  nodes = await Promise.all(RANGES.map((range) => startRedis({ cluster: { slots: [range] } })));
  clients = nodes.map((node) => node.client());
  for (const [at, client] of clients.entries()) await client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(at + 1));
  for (const node of nodes.slice(1)) await clients[0]!.call('CLUSTER', 'MEET', node.host, String(node.port));
  for (const client of clients) {
    await waitFor(async () => /cluster_state:ok[^]*cluster_slots_assigned:16384[^]*cluster_known_nodes:3/.test(String(await client.call('CLUSTER', 'INFO'))), { message: 'the cluster' });
  }
  ids = await Promise.all(clients.map(async (client) => String(await client.call('CLUSTER', 'MYID'))));
});
afterAll(async () => {
  await Promise.all(nodes?.map((node) => node.stop()) ?? []);
});
beforeEach(async () => {
  for (const client of clients) await client.flushall();
});

const keysOfAll = async (): Promise<string[]> => (await Promise.all(clients.map((client) => client.keys('*')))).flat().sort();
const manyKeys = (): RdbBuilder => {
  const builder = new RdbBuilder(10).select(0);
  for (let at = 0; at < KEYS; at += 1) builder.string(`key:${String(at)}`, repeatableBytes(700, String(at)));
  return builder;
};

it('gets every key to the master of its slot, by dial, and functions to all of them', async () => {
  const source = await startRedis();
  try {
    await seedAllTypes(source, { keysPerType: 4, databases: [0] });
    const rdb = await takeRdb(source);
    const dialled: number[] = [];
    const counting: typeof dial = (to, options) => {
      dialled.push(to.port);
      return dial(to, options);
    };
    for (const round of [0, 1]) {
      const { report, failure } = await pipelineInto(nodes[1]!, lentSource(rdb), { deps: { dial: counting } });
      expect(failure).toBeUndefined();
      expect(report).toMatchObject({ dataNow: 'NEW', restored: rdb.facts.summary.keys, replaced: round === 0 ? 0n : rdb.facts.summary.keys, functions: 2 });
      expect(report.keysAfter).toMatchObject([{ database: 0, keys: rdb.facts.summary.keys }]);
    }
    // One pipeline per node and restore, and the connection that looks at the target.
    expect(nodes.map(({ port }) => dialled.filter((one) => one === port).length)).toEqual([2, 4, 2]);
    expect(dialled).toHaveLength(8);
    const plain = source.client();
    const names = await plain.keysBuffer('*');
    for (const name of names) {
      const node = clients[nodeOf(slotOf(name))]!;
      expect(await node.call('DEBUG', 'DIGEST-VALUE', name)).toEqual(await plain.call('DEBUG', 'DIGEST-VALUE', name));
    }
    for (const client of clients) expect(String(await client.call('FUNCTION', 'LIST'))).toContain('snapback_one');
    const found = await inspectInto(nodes[2]!, lentSource(rdb));
    expect(found.selected.comparison).toMatchObject({ new: 0n, otherType: 0n, sameType: rdb.facts.summary.keys });
  } finally {
    await source.stop();
    for (const client of clients) await client.call('FUNCTION', 'FLUSH');
  }
});

it('refuses several databases, with a reason, and takes one that is mapped', async () => {
  const rdb = rdbOf(new RdbBuilder(10).select(0).string('a', '1').select(4).string('b', '2').string('c', '3').build());
  const { failure } = await pipelineInto(nodes[0]!, lentSource(rdb));
  expect(failure).toMatchObject({ code: 'TARGET_BLOCKED', details: { blockers: 'MULTI_DATABASE_INTO_CLUSTER', dataNow: 'OLD' } });
  expect((await inspectInto(nodes[0]!, lentSource(rdb))).blockers.map(({ name }) => name)).toEqual(['MULTI_DATABASE_INTO_CLUSTER']);
  expect((await pipelineInto(nodes[0]!, lentSource(rdb), { selection: { databases: [4] }, databaseMap: [{ from: 4, to: 0 }], flush: 'WRITTEN' })).report.restored).toBe(2n);
  expect(await keysOfAll()).toEqual(['b', 'c']);
});

/** Moves a slot as redis-cli does: opened on both ends, keys brought over, then handed over. */
const move = async (slot: number, from: number, to: number, between: () => Promise<void>): Promise<void> => {
  await clients[to]!.call('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', ids[from]!);
  await clients[from]!.call('CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', ids[to]!);
  await between();
  const names = (await clients[from]!.call('CLUSTER', 'GETKEYSINSLOT', String(slot), '1000')) as string[];
  if (names.length > 0) await clients[from]!.call('MIGRATE', nodes[to]!.host, String(nodes[to]!.port), '', '0', '5000', 'REPLACE', 'KEYS', ...names);
  for (const at of [to, from, ...[0, 1, 2].filter((node) => node !== to && node !== from)]) await clients[at]!.call('CLUSTER', 'SETSLOT', String(slot), 'NODE', ids[to]!);
};

it.each([['REPLACE', 'payloads'], ['SKIP', 'payloads'], ['SKIP', 'commands']] as const)('follows slots that move in the middle, by MOVED and by ASK, under %s, with %s', async (onConflict, by) => {
  const builder = manyKeys();
  // Keys of one slot all along, large ones and such that are made by commands among them.
  const tagged: string[] = [];
  for (let at = 0; at < 300; at += 1) {
    tagged.push(`{moving}:${String(at)}`);
    if (at % 3 === 0) builder.expireMs(BigInt(Date.now() + 3_600_000)).hash(`{moving}:${String(at)}`, { field: String(at) });
    else builder.string(`{moving}:${String(at)}`, String(at));
  }
  const rdb = rdbOf(builder.build());
  const slot = slotOf(Buffer.from('{moving}:1'));
  const [from, to] = [nodeOf(slot), (nodeOf(slot) + 1) % 3];
  const away = slotOf(Buffer.from('key:13999'));
  const [first, second] = [nodeOf(away), (nodeOf(away) + 1) % 3];
  let asked = 0;
  let closed: Promise<void> = Promise.resolve();
  const source = lentSource(rdb, {
    pieceBytes: 16 * 1024,
    before: {
      byte: rdb.bytes.length / 3,
      act: async () => {
        await move(away, first, second, () => Promise.resolve());
        let release = (): void => undefined;
        const answered = new Promise<void>((resolve) => { release = resolve; });
        // Left open until keys have been sent on, and closed while the restore still runs or waits.
        const opened = new Promise<void>((resolve) => {
          closed = move(slot, from, to, async () => {
            resolve();
            await answered;
          });
        });
        await opened;
        void waitFor(async () => {
          asked = Number(/calls=(\d+)/.exec(/cmdstat_asking:[^\r\n]*/.exec(await clients[to]!.info('commandstats'))?.[0] ?? '')?.[1] ?? 0);
          return asked > 20;
        }).then(release, release);
      },
    },
  });
  try {
    const { report, failure } = await pipelineInto(nodes[0]!, source, { onConflict, ttl: 'KEEP', commandsOnly: by === 'commands' });
    expect(failure).toBeUndefined();
    await closed;
    expect(asked).toBeGreaterThan(20);
    expect(report).toMatchObject({ dataNow: 'NEW', restored: rdb.facts.summary.keys, skipped: 0n, failed: 0n });
    expect(await keysOfAll()).toEqual([...Array.from({ length: KEYS }, (_, at) => `key:${String(at)}`), ...tagged].sort());
    expect(await clients[to]!.hget('{moving}:0', 'field')).toBe('0');
    expect(await clients[second]!.exists('key:13999')).toBe(1);
  } finally {
    // Back, for the next.
    for (const client of clients) await client.flushall();
    await move(slot, to, from, () => Promise.resolve());
    await move(away, second, first, () => Promise.resolve());
  }
});

it('goes to no node that the connect policy forbids', async () => {
  const forbidding: typeof dial = (to, options) =>
    to.port === nodes[2]!.port ? Promise.reject(new DomainError('TARGET_NOT_ALLOWED', 'It may not be dialled.')) : dial(to, options);
  const rdb = rdbOf(new RdbBuilder(10).select(0).string('a', '1').string('b', '2').string('c', '3').build());
  const { failure } = await pipelineInto(nodes[0]!, lentSource(rdb), { flush: 'WRITTEN', deps: { dial: forbidding } });
  expect(failure).toMatchObject({ code: 'TARGET_NOT_ALLOWED', details: { dataNow: 'OLD' } });
  expect(await keysOfAll()).toEqual([]);
});

it.each(['512mb', '1mb'])('brings values that are too large to be held after their slot, with arguments of up to %s', async (limit) => {
  const elements = Array.from({ length: 9_000 }, (_, at) => repeatableBytes(1_000, String(at)));
  const builder = new RdbBuilder(10).select(0).collection(1, 'list{large}', elements);
  if (limit === '512mb') builder.string('blob{large}', repeatableBytes(9_000_000, 'blob'));
  const rdb = rdbOf(builder.string('small{large}', '1').build());
  const slot = slotOf(Buffer.from('{large}'));
  const [from, to] = [nodeOf(slot), (nodeOf(slot) + 1) % 3];
  const rejected = async (): Promise<number> =>
    [...(await clients[from]!.info('commandstats')).matchAll(/cmdstat_(?:restore|rpush):[^\r\n]*rejected_calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0);
  const before = await rejected();
  let closed: Promise<void> = Promise.resolve();
  for (const client of clients) await client.config('SET', 'proto-max-bulk-len', limit);
  try {
    // By then it is known which node has the slot; when the value comes, it has it no more.
    const act = (): Promise<void> => new Promise((opened) => {
      closed = move(slot, from, to, async () => {
        opened();
        await waitFor(async () => (await rejected()) > before, { message: 'a refused value' });
      });
    });
    const { report, failure } = await pipelineInto(nodes[0]!, lentSource(rdb, { before: { byte: rdb.bytes.length - 100_000, act, reading: 1 } }));
    expect(failure).toBeUndefined();
    await closed;
    expect(report).toMatchObject({ restored: rdb.facts.summary.keys, failed: 0n });
    expect(await keysOfAll()).toEqual([...(limit === '512mb' ? ['blob{large}'] : []), 'list{large}', 'small{large}']);
    expect([await clients[to]!.llen('list{large}'), await clients[to]!.lindex('list{large}', -1)]).toEqual([9_000, elements.at(-1)?.toString()]);
  } finally {
    await closed.catch(() => undefined);
    for (const client of clients) {
      await client.flushall();
      await client.config('SET', 'proto-max-bulk-len', '512mb');
    }
    await move(slot, to, from, () => Promise.resolve());
  }
});

it('writes nothing while slots have no master', async () => {
  await clients[0]!.call('CLUSTER', 'DELSLOTS', '100');
  try {
    const rdb = rdbOf(new RdbBuilder(10).select(0).string('a', '1').build());
    const { failure } = await pipelineInto(nodes[0]!, lentSource(rdb));
    expect(failure).toMatchObject({ code: 'TARGET_BLOCKED', details: { slots: 16_383, dataNow: 'OLD' } });
  } finally {
    await clients[0]!.call('CLUSTER', 'ADDSLOTS', '100');
    for (const client of clients) await waitFor(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
  }
});
