import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { digest } from '../../kit/digest.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { seedAllTypes } from '../../kit/seed.js';
import { waitFor } from '../../kit/wait.js';
import { deferred, infoOf, restoreInto, sourceOf, takeRdb, takesWrites, type Rdb } from './harness.js';

const KEYS = 4_000;

describe('a restore that something goes wrong with', () => {
  let rdb: Rdb;
  let wanted: string;
  const servers: RedisServer[] = [];
  const start = async (config: Record<string, string> = {}): Promise<RedisServer> => {
    const server = await startRedis({ config });
    servers.push(server);
    return server;
  };
  /** Old data: every type, in three databases. */
  const startFilled = async (config: Record<string, string> = {}): Promise<{ target: RedisServer; old: string }> => {
    const target = await start(config);
    await seedAllTypes(target, { keysPerType: 2 });
    return { target, old: await digest(target) };
  };
  /** Loads so slowly that something can happen in between, and answers meanwhile. */
  const slowLoad = async (target: RedisServer, microsecondsPerKey = 500): Promise<void> => {
    await target.cli('CONFIG', 'SET', 'loading-process-events-interval-bytes', '1024');
    await target.cli('CONFIG', 'SET', 'key-load-delay', String(microsecondsPerKey));
  };
  const isLoading = async (target: RedisServer): Promise<boolean> => {
    const info = await infoOf(target);
    return info['loading'] === '1' || info['async_loading'] === '1';
  };
  const half = (): number => Math.floor(rdb.bytes.length / 2);

  beforeAll(async () => {
    const source = await start();
    const client = source.client();
    const batch = client.pipeline();
    for (let i = 0; i < KEYS; i += 1) batch.set(`k:${i}`, `${i}:${'v'.repeat(i % 100)}`);
    await batch.exec();
    rdb = await takeRdb(source);
    wanted = await digest(source);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  describe.each(['disabled', 'swapdb', 'on-empty-db'])('with repl-diskless-load %s', (mode) => {
    it('keeps the old data and takes writes when the archive fails in the middle', async () => {
      const { target, old } = await startFilled({ 'repl-diskless-load': mode });
      const { failure, records } = await restoreInto(target, sourceOf(rdb, {
        before: { byte: half(), reading: mode === 'swapdb' ? 2 : 1, act: () => { throw new DomainError('CORRUPT', 'Block 7 is damaged.'); } },
      }));
      expect(failure).toMatchObject({ name: 'RestoreFailure', code: 'CORRUPT', report: { dataNow: 'OLD', promoted: true, keysAfter: null, loadMs: null } });
      expect(records.map(({ committed }) => committed)).toEqual([false]);
      expect(await digest(target)).toBe(old);
      expect(await takesWrites(target)).toBe(true);
    });

    it('keeps the old data when what was read is not what was backed up, though nothing is missing', async () => {
      const { target, old } = await startFilled({ 'repl-diskless-load': mode });
      const before = (await infoOf(target))['run_id'];
      // The opcode of the first database: a server that loads it from the socket would end itself.
      const wrong = Buffer.from(rdb.bytes);
      wrong[wrong.indexOf(Buffer.from([0xfe, 0x00, 0xfb]))] = 0xf0;
      for (const bytes of [wrong, rdb.bytes.subarray(0, -20_000), Buffer.concat([rdb.bytes, rdb.bytes])]) {
        const { failure, records } = await restoreInto(target, sourceOf({ ...rdb, bytes }));
        expect(failure).toMatchObject({ code: bytes.length < rdb.bytes.length ? 'TRUNCATED' : 'CORRUPT', report: { dataNow: 'OLD', promoted: true } });
        expect(records).toHaveLength(mode === 'swapdb' ? 0 : 1);
        expect(await digest(target)).toBe(old);
      }
      expect(await takesWrites(target)).toBe(true);
      expect((await infoOf(target))['run_id']).toBe(before);
    });

    it('can be cancelled up to the last bytes, and not afterwards', async () => {
      const { target, old } = await startFilled({ 'repl-diskless-load': mode });
      const cancel = new AbortController();
      const cancelled = await restoreInto(target, sourceOf(rdb, { before: { byte: rdb.bytes.length - 16 * 1024, reading: mode === 'swapdb' ? 2 : 1, act: () => cancel.abort(new DomainError('INTERRUPTED', 'Cancelled.')) } }), { signal: cancel.signal });
      expect(cancelled.failure).toMatchObject({ code: 'INTERRUPTED', report: { dataNow: 'OLD', promoted: true } });
      expect(await digest(target)).toBe(old);

      const late = new AbortController();
      const done = await restoreInto(target, sourceOf(rdb), {
        signal: late.signal, onProgress: (progress) => { if (progress.kind === 'phase' && progress.phase === 'LOADING') late.abort(); },
      });
      expect(done.failure).toBeUndefined();
      expect(await digest(target)).toBe(wanted);
    });

    it('is told that it was cancelled at the point of no return: the old data stays', async () => {
      const { target, old } = await startFilled({ 'repl-diskless-load': mode });
      const { failure } = await restoreInto(target, sourceOf(rdb), {
        deps: { recorder: { beforeReplicaOf: () => Promise.resolve(), pointOfNoReturn: () => Promise.reject(new DomainError('INTERRUPTED', 'Cancelled.')) } },
      });
      expect(failure).toMatchObject({ code: 'INTERRUPTED', report: { dataNow: 'OLD', promoted: true } });
      expect(await digest(target)).toBe(old);
      expect(await takesWrites(target)).toBe(true);
    });
  });

  it('never tells the target to follow when what is kept ready is damaged, too short, or not what was backed up', async () => {
    const { target, old } = await startFilled();
    const wrong = Buffer.from(rdb.bytes);
    wrong[half()]! ^= 1;
    const sources = [
      sourceOf(rdb, { before: { byte: half(), act: () => { throw new DomainError('CORRUPT', 'Block 7 is damaged.'); } } }),
      sourceOf({ ...rdb, bytes: rdb.bytes.subarray(0, -20_000) }), sourceOf({ ...rdb, bytes: wrong }),
    ];
    for (const source of sources) {
      const { failure, records } = await restoreInto(target, source, { plan: { readAheadBytes: undefined } });
      expect(failure).toMatchObject({ code: expect.stringMatching(/CORRUPT|TRUNCATED/) as string, report: { dataNow: 'OLD', promoted: true } });
      expect(records).toEqual([]);
    }
    expect(target.log()).not.toContain('REPLICAOF');
    expect(await digest(target)).toBe(old);
  });

  it('does not freeze the target when the archive stalls', async () => {
    const { target, old } = await startFilled({ 'repl-diskless-load': 'swapdb' });
    const never = deferred();
    const { failure } = await restoreInto(target, sourceOf(rdb, { before: { byte: half(), reading: 2, act: () => never.promise } }), { times: { sourceStallMs: 200 } });
    expect(failure).toMatchObject({ code: 'STORAGE_IO', retryable: true, report: { dataNow: 'OLD', promoted: true } });
    expect(await digest(target)).toBe(old);
    never.resolve();
  });

  it('cuts a target that takes nothing', async () => {
    const { target } = await startFilled();
    let stopped = false;
    const big = { ...rdb, facts: { ...rdb.facts, summary: { ...rdb.facts.summary, bytes: 1n << 40n } } };
    const running = restoreInto(target, { facts: big.facts, read: async function* () { for (;;) yield Buffer.alloc(1024 * 1024); } }, { times: { sendStallMs: 300 },
      onProgress: (progress) => {
        if (stopped || progress.kind !== 'amount' || progress.bytesDone === 0n) return;
        stopped = process.kill(target.pid, 'SIGSTOP');
      } });
    // Not what it logs: it may be stopped before it has.
    await waitFor(() => stopped);
    setTimeout(() => process.kill(target.pid, 'SIGCONT'), 1_500);
    const { failure } = await running;
    expect(failure).toMatchObject({ code: 'TOO_SLOW', report: { dataNow: 'OLD', promoted: true } });
  });

  it('target killed in the middle of the transfer: its own persistence has the old data, and it takes writes', async () => {
    const { target, old } = await startFilled();
    await target.cli('SAVE');
    const { failure } = await restoreInto(target, sourceOf(rdb, {
      before: { byte: half(), act: async () => { await target.restart({ signal: 'SIGKILL' }); } },
    }));
    expect(failure).toMatchObject({ code: 'CONNECT_FAILED', report: { dataNow: 'OLD', promoted: true } });
    expect(await digest(target)).toBe(old);
    expect(await takesWrites(target)).toBe(true);
  });

  it('target killed in the middle of the transfer without any persistence: nobody claims that the old data is there', async () => {
    const { target } = await startFilled();
    const { failure } = await restoreInto(target, sourceOf(rdb, {
      before: { byte: half(), act: async () => { await target.restart({ signal: 'SIGKILL' }); } },
    }));
    expect(failure).toMatchObject({ report: { dataNow: 'UNKNOWN', promoted: true } });
    expect(await target.cli('DBSIZE')).toBe('0');
  });

  it('target killed and not started again: the state is unknown and the command to run is told', async () => {
    const { target } = await startFilled();
    const { failure, records } = await restoreInto(target, sourceOf(rdb, { before: { byte: half(), act: () => target.kill() } }), { times: { reconnectMs: 300 } });
    expect(failure).toMatchObject({ code: 'TARGET_STATE_UNKNOWN', report: { dataNow: 'UNKNOWN', promoted: false } });
    expect(failure?.hint).toContain(`redis-cli -h 127.0.0.1 -p ${target.port} REPLICAOF NO ONE`);
    expect(failure?.hint).toContain(`master_port:${records[0]?.listenerPort}`);
  });

  it.each([
    { name: 'without append-only file', config: {}, dataNow: 'NEW' },
    { name: 'with an append-only file', config: { appendonly: 'yes' }, dataNow: 'OLD' },
  ])('target killed while it loads, $name: it is read back which data came up', async ({ config, dataNow }) => {
    const { target, old } = await startFilled(config as Record<string, string>);
    await slowLoad(target);
    const running = restoreInto(target, sourceOf(rdb));
    await waitFor(() => isLoading(target));
    await target.restart({ signal: 'SIGKILL' });
    const { failure, records } = await running;
    expect(records.at(-1)?.committed).toBe(true);
    expect(failure).toMatchObject({ name: 'RestoreFailure', report: { dataNow, promoted: true } });
    expect(await digest(target)).toBe(dataNow === 'NEW' ? wanted : old);
    expect(await takesWrites(target)).toBe(true);
  });

  it('shows the load as it goes on', async () => {
    const { target } = await startFilled();
    await slowLoad(target, 200);
    const seen: bigint[] = [];
    let phase = '';
    const { failure } = await restoreInto(target, sourceOf(rdb), {
      onProgress: (progress) => {
        if (progress.kind === 'phase') phase = progress.phase;
        if (progress.kind === 'amount' && phase === 'LOADING' && progress.bytesDone < (progress.bytesTotal ?? 0n)) seen.push(progress.bytesDone);
      },
    });
    expect(failure).toBeUndefined();
    expect(new Set(seen).size).toBeGreaterThan(2);
    expect(await digest(target)).toBe(wanted);
  });

  it('is complete although the link broke while the target loaded', async () => {
    const { target } = await startFilled();
    await slowLoad(target);
    let silenced: Promise<unknown> | undefined;
    const { failure, notices, report } = await restoreInto(target, sourceOf(rdb), {
      times: { pingMs: 60_000 },
      // A replica's silence ends a link as lost networks do; here we are the one that falls silent to it. Not before it loads: a machine may stand still while it takes the data.
      onProgress: (progress) => {
        if (progress.kind === 'phase' && progress.phase === 'LOADING') silenced ??= target.cli('CONFIG', 'SET', 'repl-timeout', '1');
      },
    });
    await silenced;
    expect(failure).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
    expect(report).toMatchObject({ dataNow: 'NEW', promoted: true });
    if (report?.loadMs === null) expect(notices).toContain('LINK_LOST_WHILE_LOADING');
  });

  it('says so when the loaded counts are not the archive\'s, and leaves the target a master', async () => {
    const { target } = await startFilled();
    const summary = { ...rdb.facts.summary, databases: [{ database: 0, keys: BigInt(KEYS + 1), expiring: 0n }] };
    const { failure } = await restoreInto(target, sourceOf({ ...rdb, facts: { ...rdb.facts, summary } }));
    expect(failure).toMatchObject({ code: 'CORRUPT', report: { dataNow: 'UNKNOWN', promoted: true, keysAfter: [{ database: 0, keys: BigInt(KEYS) }] } });
    expect(await takesWrites(target)).toBe(true);
  });

  it('gives strangers that come first, meanwhile and afterwards not a byte, and still succeeds', async () => {
    const { target } = await startFilled();
    const received: Buffer[] = [];
    let attempts = 0;
    let stop = false;
    const storm = async (port: number): Promise<void> => {
      while (!stop) {
        await new Promise<void>((done) => {
          attempts += 1;
          const socket = connect({ host: '127.0.0.1', port });
          socket.on('error', () => undefined).on('data', (chunk: Buffer) => received.push(chunk)).on('close', () => done());
          socket.on('connect', () => socket.write(attempts % 2 === 0 ? 'PING\r\nAUTH whatever\r\nREPLCONF capa eof\r\nPSYNC ? -1\r\n' : `PSYNC ${'a'.repeat(40)} 1\r\n`));
        });
      }
    };
    const storms: Promise<void>[] = [];
    const { failure, records, notices } = await restoreInto(target, sourceOf(rdb, { before: { byte: half(), act: async () => { await waitFor(() => attempts > 30); } } }), {
      deps: {
        recorder: {
          beforeReplicaOf: async (record) => {
            storms.push(storm(record.listenerPort));
            await waitFor(() => attempts > 3);
          },
          pointOfNoReturn: () => Promise.resolve(),
        },
      },
    });
    stop = true;
    await Promise.all(storms);
    expect(records).toEqual([]);
    expect(failure).toBeUndefined();
    expect(notices).toContain('LINK_PEER_REFUSED');
    expect(Buffer.concat(received).toString('latin1').replaceAll(/\+(PONG|OK)\r\n/g, '')).toBe('');
    expect(await digest(target)).toBe(wanted);
  });

  it('fails closed when the target\'s replication id is another than was read', async () => {
    const { target, old } = await startFilled();
    const replica = await start();
    const { failure } = await restoreInto(target, sourceOf(rdb), {
      deps: {
        recorder: {
          // A first replica changes its master's replication id between our look and REPLICAOF.
          beforeReplicaOf: async () => {
            const before = (await infoOf(target))['master_replid'];
            await replica.cli('REPLICAOF', target.host, String(target.port));
            await waitFor(async () => (await infoOf(target))['master_replid'] !== before);
          },
          pointOfNoReturn: () => Promise.resolve(),
        },
      },
    });
    expect(failure).toMatchObject({ code: 'CONFLICT', retryable: true, report: { dataNow: 'OLD', promoted: true, bytesSent: 0n } });
    expect(await digest(target)).toBe(old);
    expect(await takesWrites(target)).toBe(true);
  });

  it('leaves a target alone that somebody else has given another master meanwhile', async () => {
    const { target } = await startFilled();
    const other = await start();
    const { failure } = await restoreInto(target, sourceOf(rdb, { before: { byte: half(), act: async () => { await target.cli('REPLICAOF', '127.0.0.1', String(other.port)); } } }));
    expect(failure).toMatchObject({ code: 'TARGET_STATE_UNKNOWN', report: { promoted: false } });
    expect((await infoOf(target))['master_port']).toBe(String(other.port));
  });
});
