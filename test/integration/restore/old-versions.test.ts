import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { runRestore, settleRestore, type RestoreReport, type UndoRecord } from '../../../server/engine/restore.js';
import { lengthBytes, RdbBuilder, stringBytes } from '../../kit/rdb-builder.js';
import { dial, rdbOf, silent, sourceOf, TIMES, type Rdb } from './harness.js';
import { startOldServer, type OldServer } from './old-server.js';

const makeRdb = (): Rdb => {
  const builder = new RdbBuilder(6);
  builder.select(0);
  for (let i = 0; i < 7; i += 1) builder.string(`k${i}`, 'v'.repeat(500));
  return rdbOf(builder.build());
};

/** Servers before 4.0 show no replication id: a one-time `masterauth` proves who fetches the data. */
describe('a restore into a server before 4.0', () => {
  let server: OldServer;
  const records: UndoRecord[] = [];
  const run = (hooks: Parameters<typeof sourceOf>[1] = {}, assertOwned = (): Promise<void> => Promise.resolve(), signal = new AbortController().signal): Promise<RestoreReport> => runRestore(
    { endpoint: { host: server.host, port: server.port }, runId: '5'.repeat(40), version: '2.8.24', pauseWrites: true, acceptedWarnings: [], readAheadBytes: 1, times: TIMES },
    {
      dial, log: silent, clock: { now: () => new Date() }, source: sourceOf(makeRdb(), { pieceBytes: 64, ...hooks }), assertOwned,
      recorder: { beforeReplicaOf: async (record) => { records.push(record); }, pointOfNoReturn: async (record) => { records.push(record); } },
      safetyBackup: () => Promise.resolve({ replicationOffset: 100n }),
    },
    signal, () => undefined,
  );

  afterEach(async () => {
    records.length = 0;
    await server.stop();
  });

  it('sets a masterauth once, takes it away as soon as it has served, and knows the load by acknowledgement and counts', async () => {
    server = await startOldServer();
    let during = '';
    const report = await run({ before: { byte: 1_000, act: () => { during = server.masterauth; } } });
    expect(report).toMatchObject({ dataNow: 'NEW', promoted: true, unsavedWriteBytes: 20n, keysAfter: [{ database: 0, keys: 7n }] });
    expect(server.loaded?.equals(makeRdb().bytes)).toBe(true);
    expect([server.masterauth, during, server.master]).toEqual(['', '', undefined]);
    expect(server.seen.filter((command) => command === 'CONFIG SET')).toHaveLength(2);
    expect(server.seen).not.toContain('CLIENT PAUSE');
    expect(server.seen).not.toContain('CONFIG REWRITE');
    expect(records[0]?.oneTimeMasterauthSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(records)).not.toContain('"masterauth"');
  });

  it('demands the customer\'s masterauth where there is one, and never touches it', async () => {
    server = await startOldServer('of-the-customer');
    const report = await run();
    expect(report).toMatchObject({ dataNow: 'NEW', promoted: true });
    expect(server.masterauth).toBe('of-the-customer');
    expect(server.seen).not.toContain('CONFIG SET');
    expect(JSON.stringify(records)).not.toContain('of-the-customer');
  });

  it('takes its masterauth away after a crash, if it is still there', async () => {
    server = await startOldServer();
    let dead = false;
    const stop = new AbortController();
    const assertOwned = (): Promise<void> => (dead ? Promise.reject(new DomainError('INTERRUPTED', 'The lease is lost.')) : Promise.resolve());
    await expect(run({ before: { byte: 1_000, act: () => { dead = true; stop.abort(); } } }, assertOwned, stop.signal)).rejects.toMatchObject({ code: 'INTERRUPTED', report: { dataNow: 'OLD', promoted: false } });
    const record = records[0]!;
    const settle = (): ReturnType<typeof settleRestore> => settleRestore(record, { host: server.host, port: server.port }, { dial, log: silent, assertOwned: () => Promise.resolve() }, TIMES);
    server.masterauth = 'set-by-somebody-since';
    expect(await settle()).toMatchObject({ action: 'PROMOTED', dataNow: 'OLD' });
    expect(server.masterauth).toBe('set-by-somebody-since');
    expect(await settle()).toMatchObject({ action: 'NOTHING', dataNow: 'OLD' });
  });
});

/** Redis 8 and Valkey do not take each other's files, though they may know all that is in them. */
describe('a restore into a server that refuses the file\'s header', () => {
  const listpack = Buffer.from([13, 0, 0, 0, 2, 0, 0x81, 97, 2, 0x81, 98, 2, 255]);
  const builder = (): RdbBuilder => new RdbBuilder(12).aux('redis-ver', '8.0.2').select(0).value(20, 'set', stringBytes(listpack)).value(18, 'list', lengthBytes(1), lengthBytes(2), stringBytes(listpack));
  const into = async (made: RdbBuilder): Promise<{ bytes: Buffer; loaded: Buffer | undefined; seen: string[]; error: unknown }> => {
    for (let at = 0; at < 5; at += 1) made.string(`k${at}`, 'v'.repeat(500));
    const rdb = rdbOf(made.build());
    const server = await startOldServer('', ['redis_version:7.2.4', 'valkey_version:8.1.1']);
    try {
      const error = await runRestore(
        { endpoint: { host: server.host, port: server.port }, runId: '5'.repeat(40), version: '8.1.1', pauseWrites: false, acceptedWarnings: [], readAheadBytes: 1, times: TIMES },
        {
          dial, log: silent, clock: { now: () => new Date() }, source: sourceOf(rdb, { pieceBytes: 5 }), assertOwned: () => Promise.resolve(),
          recorder: { beforeReplicaOf: () => Promise.resolve(), pointOfNoReturn: () => Promise.resolve() },
        },
        new AbortController().signal, () => undefined,
      ).then(() => undefined, (failure: unknown) => failure);
      return { bytes: rdb.bytes, loaded: server.loaded, seen: server.seen, error };
    } finally {
      await server.stop();
    }
  };

  it('sends it under the header that both families share, with a checksum to match', async () => {
    const { bytes, loaded = Buffer.alloc(0), error } = await into(builder());
    expect(error).toBeUndefined();
    expect(loaded.subarray(0, 9).toString('latin1')).toBe('REDIS0011');
    expect(loaded.subarray(9, -8).equals(bytes.subarray(9, -8))).toBe(true);
    expect(rdbOf(loaded).facts.summary).toEqual({ ...rdbOf(bytes).facts.summary, version: 11 });
  });

  it('does not touch one that lacks a type of it', async () => {
    const { error, seen } = await into(builder().redisTtlHash('hash', 4_102_444_800_000n, [['f', 'v', 1]]));
    expect(error).toMatchObject({ code: 'UNSUPPORTED_FORMAT', message: expect.stringContaining('it holds hashes whose fields expire') });
    expect(seen.filter((command) => command === 'SLAVEOF')).toHaveLength(1);
  });
});
