import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keyCounts } from '../../kit/digest.js';
import { startProxy, type Proxy } from '../../kit/proxy.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { repeatableBytes } from '../../kit/seed-bytes.js';
import { waitFor } from '../../kit/wait.js';
import { endpointOf, rdbOf, type Rdb } from '../restore/harness.js';
import { lentSource, pipelineInto } from './harness.js';

/** More than a window has room for, so that something is on its way whenever it is cut; and more than is kept from the first reading. */
const KEYS = 16_000;
let target: RedisServer;
let proxy: Proxy;
let rdb: Rdb;

const manyKeys = (keys: number): RdbBuilder => {
  const builder = new RdbBuilder(10).select(0);
  for (let at = 0; at < keys; at += 1) {
    if (at === keys / 2) builder.select(3);
    builder.string(`key:${String(at)}`, repeatableBytes(600, String(at)));
  }
  return builder;
};

beforeAll(async () => {
  target = await startRedis();
  proxy = await startProxy(target.port);
  rdb = rdbOf(manyKeys(KEYS).build(), target);
});
afterAll(async () => {
  await proxy?.stop();
  await target?.stop();
});
beforeEach(async () => {
  await target.cli('FLUSHALL');
});

const through = () => ({ endpoint: { ...endpointOf(target), port: proxy.port } });
const complete = async (): Promise<void> => expect(await keyCounts(target)).toEqual({ 0: KEYS / 2, 3: KEYS / 2 });
const halfWay = (act: () => Promise<void> | void) => lentSource(rdb, { before: { byte: rdb.bytes.length / 2, act } });

describe('a connection that is lost', () => {
  it.each([['REPLACE', 'payloads'], ['SKIP', 'payloads'], ['FAIL', 'payloads'], ['SKIP', 'commands']] as const)('is opened again, and nothing is missing or taken for a conflict under %s, with %s', async (onConflict, by) => {
    // Held, so that commands and answers are on their way when it is cut.
    const act = async (): Promise<void> => {
      proxy.hold();
      await waitFor(async () => new RegExp(`cmdstat_${by === 'commands' ? 'renamenx' : 'restore'}:calls=[1-9]`).test(await target.cli('INFO', 'commandstats')));
      proxy.cut();
      setTimeout(() => proxy.mend(), 100);
    };
    const { report, failure } = await pipelineInto(target, halfWay(act), { ...through(), onConflict, commandsOnly: by === 'commands' });
    expect(failure).toBeUndefined();
    expect(report).toMatchObject({ dataNow: 'NEW', restored: BigInt(KEYS), skipped: 0n, failed: 0n, reconnects: 1 });
    await complete();
  });

  it('several times, is opened again as often', async () => {
    const source = lentSource(rdb, { pieceBytes: 8 * 1024 });
    const read = source.read.bind(source);
    let cuts = 0;
    let taken = 0;
    let there = 0;
    // While there is more to send, at each fifth of it, and only once something has got through over a new connection since.
    source.read = async function* (range) {
      let at = Number(range?.start ?? 0n);
      for await (const piece of read(range)) {
        if (source.readings() === 2 && cuts < 4 && at >= (cuts + 1) * rdb.bytes.length / 5) {
          const keys = async (): Promise<number> => Object.values(await keyCounts(target)).reduce((sum, count) => sum + count, 0);
          await waitFor(async () => proxy.taken > taken && (await keys()) > there);
          there = await keys();
          taken = proxy.taken;
          cuts += 1;
          proxy.mend();
        }
        at += piece.length;
        yield piece;
      }
    };
    const { report, failure } = await pipelineInto(target, source, through());
    expect(failure).toBeUndefined();
    expect(report.restored).toBe(BigInt(KEYS));
    expect([cuts, report.reconnects]).toEqual([4, 4]);
    await complete();
  });

  it('for good, ends it with what is there', async () => {
    const { report, failure } = await pipelineInto(target, halfWay(() => proxy.cut()), { ...through(), times: { reconnectMs: 400 } });
    proxy.mend();
    expect(failure).toMatchObject({ code: 'CONNECT_FAILED', retryable: true });
    expect(report.dataNow).toBe('MIXED');
    expect(report.restored).toBeGreaterThan(0n);
    expect(report.restored).toBeLessThan(BigInt(KEYS));
    expect(failure?.message).toContain(`a mix: ${String(report.restored)} keys`);
  });

  it('without a word, ends it when nothing has moved for too long', async () => {
    const { report, failure } = await pipelineInto(target, halfWay(() => proxy.silence()), { ...through(), times: { sendStallMs: 4_000, reconnectMs: 100, commandMs: 4_000 } });
    proxy.mend();
    expect(failure?.code).toBe('CONNECT_FAILED');
    expect(failure?.message).toContain('neither taken nor answered');
    expect(report.dataNow).toBe('MIXED');
  });

  it('to a server that was restarted meanwhile, ends it: nobody knows what that kept', async () => {
    const { report, failure } = await pipelineInto(target, halfWay(() => target.restart({ signal: 'SIGKILL' })), through());
    expect(failure?.code).toBe('TARGET_STATE_UNKNOWN');
    expect(report.dataNow).toBe('UNKNOWN');
    expect(failure?.message).toMatch(/had acknowledged \d+ keys of the backup when it was lost/);
  });
});

describe('a target that says no', () => {
  it('because a failover has made it a replica: named, and nothing more is written', async () => {
    const master = await startRedis();
    try {
      const act = async (): Promise<void> => {
        await target.cli('REPLICAOF', master.host, String(master.port));
      };
      const { report, failure } = await pipelineInto(target, halfWay(act));
      expect(failure).toMatchObject({ code: 'TARGET_BLOCKED', details: { reply: 'READONLY', dataNow: 'MIXED' } });
      expect(report.restored).toBeGreaterThan(0n);
      expect(report.restored).toBeLessThan(BigInt(KEYS));
    } finally {
      await target.cli('REPLICAOF', 'NO', 'ONE');
      await master.stop();
    }
  });

  it('because its memory is full: before, by the plan, and in the middle', async () => {
    const used = Number(/used_memory:(\d+)/.exec(await target.cli('INFO', 'memory'))?.[1]);
    try {
      await target.cli('CONFIG', 'SET', 'maxmemory', '1mb');
      expect((await pipelineInto(target, lentSource(rdb))).failure).toMatchObject({ code: 'INSUFFICIENT_MEMORY', details: { blockers: 'INSUFFICIENT_MEMORY', dataNow: 'OLD' } });
      await target.cli('CONFIG', 'SET', 'maxmemory', '0');
      const act = async (): Promise<void> => void (await target.cli('CONFIG', 'SET', 'maxmemory', String(used + 3_000_000)));
      const { report, failure } = await pipelineInto(target, halfWay(act), { acceptedWarnings: ['MEMORY_TIGHT'] });
      expect(failure).toMatchObject({ code: 'INSUFFICIENT_MEMORY', details: { reply: 'OOM', dataNow: 'MIXED' } });
      expect(report.failed).toBe(0n);
    } finally {
      await target.cli('CONFIG', 'SET', 'maxmemory', '0');
    }
  });

  it('because the user may not write: refused before, or named in the middle', async () => {
    await target.cli('ACL', 'SETUSER', 'reader', 'on', '>secret', '~*', '&*', '+@all', '-restore');
    const endpoint = { ...endpointOf(target), username: 'reader', password: 'secret' };
    expect((await pipelineInto(target, lentSource(rdb), { endpoint })).failure).toMatchObject({ code: 'PERMISSION_MISSING', details: { blockers: 'NO_RIGHT_TO_RESTORE', dataNow: 'OLD' } });
    await target.cli('ACL', 'SETUSER', 'reader', '+restore', 'resetkeys', '~other:*');
    const { report, failure } = await pipelineInto(target, lentSource(rdb), { endpoint });
    expect(failure).toMatchObject({ code: 'PERMISSION_MISSING', details: { reply: 'NOPERM', dataNow: 'OLD' } });
    expect([report.restored, await keyCounts(target)]).toEqual([0n, {}]);
  });

  it('because it is another process than the plan was made for', async () => {
    expect((await pipelineInto(target, lentSource(rdb), { runId: '0'.repeat(40) })).failure).toMatchObject({ code: 'CONFIRMATION_REQUIRED', details: { dataNow: 'OLD' } });
  });

  it('to single keys: all others are written, and these are named', async () => {
    const made = rdbOf(new RdbBuilder(10).select(0).string('good', '1').value(16, 'bad\nname', [4], 'junk').value(10, 'worse', [4], 'junk').string('fine', '2').build());
    const { report, failure } = await pipelineInto(target, lentSource(made));
    expect(failure).toMatchObject({ code: 'TARGET_BLOCKED', details: { dataNow: 'MIXED' } });
    expect(report).toMatchObject({ restored: 2n, failed: 2n, failures: [{ key: 'bad\\x0aname', reason: expect.stringContaining('Bad data format') }, { key: 'worse' }] });
    expect(await target.cli('MGET', 'good', 'fine')).toBe('1\n2');
  });
});

describe('an end by ourselves', () => {
  it('leaves what was written until the cancellation', async () => {
    const stop = new AbortController();
    const { report, failure } = await pipelineInto(target, halfWay(() => stop.abort()), { signal: stop.signal });
    expect([failure?.code, report.dataNow]).toEqual(['INTERRUPTED', 'MIXED']);
    expect(report.restored).toBeGreaterThan(0n);
  });

  it('changes nothing when the archive is damaged, the work is not ours any more, or the safety backup fails', async () => {
    await target.cli('SET', 'mine', '1');
    const damaged = { ...rdb, bytes: Buffer.from(rdb.bytes) };
    damaged.bytes[rdb.bytes.length - 100]! ^= 1;
    expect((await pipelineInto(target, lentSource(damaged), { flush: 'WRITTEN' })).failure?.code).toBe('CORRUPT');
    const gone = new Error('gone');
    const order: string[] = [];
    for (const deps of [
      { assertOwned: () => Promise.reject(gone) },
      { safetyBackup: () => Promise.reject(gone) },
      { beforeFirstWrite: () => Promise.reject(gone), safetyBackup: () => Promise.resolve({ replicationOffset: BigInt(order.push('safety')) }) },
    ]) {
      const { report, failure } = await pipelineInto(target, lentSource(rdb), { flush: 'WRITTEN', deps });
      expect([failure?.cause, report.dataNow]).toEqual([gone, 'OLD']);
    }
    expect(order).toEqual(['safety']);
    expect(await keyCounts(target)).toEqual({ 0: 1 });
  });
});
