import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { settleRestore, type Settlement, type UndoRecord } from '../../../server/engine/restore.js';
import { digest } from '../../kit/digest.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { waitFor } from '../../kit/wait.js';
import { dial, endpointOf, infoOf, restoreInto, silent, sourceOf, takeRdb, takesWrites, TIMES, type Rdb, type RunOptions, type SourceHooks } from './harness.js';

/** A node that dies takes its sockets with it and changes nothing any more; so does one whose lease is gone. */
describe('a restore whose node died', () => {
  let rdb: Rdb;
  let wanted: string;
  const servers: RedisServer[] = [];
  const start = async (config: Record<string, string> = {}): Promise<RedisServer> => {
    const server = await startRedis({ config });
    servers.push(server);
    return server;
  };
  const startFilled = async (config: Record<string, string> = {}): Promise<{ target: RedisServer; old: string }> => {
    const target = await start(config);
    await target.cli('MSET', 'a', '1', 'b', '2');
    return { target, old: await digest(target) };
  };
  const settle = (record: UndoRecord, target: RedisServer, assertOwned = (): Promise<void> => Promise.resolve()): Promise<Settlement> =>
    // What was kept as JSON has to do.
    settleRestore(JSON.parse(JSON.stringify(record)) as UndoRecord, endpointOf(target), { dial, log: silent, assertOwned }, TIMES);

  /** Runs until `die` is called; the last record that was kept is what the next node finds. */
  const crash = async (target: RedisServer, plan: (die: () => void) => { hooks?: SourceHooks; options?: RunOptions }): Promise<UndoRecord> => {
    let dead = false;
    const stop = new AbortController();
    const die = (): void => {
      dead = true;
      stop.abort();
    };
    const { hooks, options } = plan(die);
    const { failure, records } = await restoreInto(target, sourceOf(rdb, hooks), {
      ...options, signal: stop.signal,
      deps: { assertOwned: () => (dead ? Promise.reject(new DomainError('INTERRUPTED', 'The lease is lost.')) : Promise.resolve()), ...options?.deps },
    });
    expect(failure).toMatchObject({ code: 'INTERRUPTED' });
    return records.at(-1)!;
  };

  beforeAll(async () => {
    const source = await start();
    const client = source.client();
    const batch = client.pipeline();
    for (let i = 0; i < 3_000; i += 1) batch.set(`k:${i}`, `${i}`.padEnd(60, 'x'));
    await batch.exec();
    rdb = await takeRdb(source);
    wanted = await digest(source);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('before REPLICAOF: nothing is to be done', async () => {
    const { target, old } = await startFilled();
    const kept: UndoRecord[] = [];
    await crash(target, (die) => ({ options: { deps: { recorder: { beforeReplicaOf: async (record) => { kept.push(record); die(); }, pointOfNoReturn: () => Promise.resolve() } } } })).catch(() => undefined);
    expect(await settle(kept[0]!, target)).toMatchObject({ action: 'NOTHING', dataNow: 'OLD' });
    expect(await digest(target)).toBe(old);
  });

  it('a run that slept just before REPLICAOF, while others settled in vain, takes back what it did too late', async () => {
    const { target, old } = await startFilled();
    const kept: UndoRecord[] = [];
    let settled: Settlement | undefined;
    let asked = 0;
    const { failure } = await restoreInto(target, sourceOf(rdb), {
      deps: {
        recorder: { beforeReplicaOf: (record) => Promise.resolve(void kept.push(record)), pointOfNoReturn: () => Promise.reject(new Error('must not come so far')) },
        assertOwned: async () => {
          const [record] = kept;
          if (!record) return;
          if (settled) throw new DomainError('INTERRUPTED', 'The lease is lost.');
          // The last answer that was right when it was given: whoever has the job next looks, before the command leaves.
          if ((await infoOf(target))['role'] === 'master' && asked++ === 1) settled = await settle(record, target);
        },
      },
    });
    expect(settled).toMatchObject({ action: 'NOTHING', dataNow: 'OLD' });
    expect(failure).toMatchObject({ code: 'INTERRUPTED', report: { dataNow: 'OLD', promoted: true } });
    expect(await infoOf(target)).toMatchObject({ role: 'master' });
    expect(await digest(target)).toBe(old);
    expect(await takesWrites(target)).toBe(true);
  });

  it('in the middle of the transfer: the target was left a replica, keeps its old data, and is made a master again', async () => {
    const { target, old } = await startFilled();
    const record = await crash(target, (die) => ({ hooks: { before: { byte: rdb.bytes.length / 2, act: die } } }));
    expect((await infoOf(target))).toMatchObject({ role: 'slave', master_port: String(record.listenerPort) });
    expect(await settle(record, target)).toMatchObject({ action: 'PROMOTED', dataNow: 'OLD' });
    expect(await digest(target)).toBe(old);
    expect(await takesWrites(target)).toBe(true);
    expect(await settle(record, target)).toMatchObject({ action: 'NOTHING', dataNow: 'OLD' });
  });

  it.each([{ name: 'without append-only file', config: {} }, { name: 'with an append-only file', config: { appendonly: 'yes' } }])('while the target loads, $name: the load is awaited and the new data kept', async ({ config }) => {
    const { target } = await startFilled(config as Record<string, string>);
    await target.cli('CONFIG', 'SET', 'loading-process-events-interval-bytes', '1024');
    await target.cli('CONFIG', 'SET', 'key-load-delay', '300');
    const record = await crash(target, (die) => ({ options: { onProgress: (progress) => { if (progress.kind === 'phase' && progress.phase === 'LOADING') die(); } } }));
    expect(record.committed).toBe(true);
    await waitFor(async () => (await infoOf(target))['loading'] === '1');
    expect(await settle(record, target)).toMatchObject({ action: 'PROMOTED', dataNow: 'NEW' });
    expect(await digest(target)).toBe(wanted);
    expect((await infoOf(target))['aof_rewrite_in_progress']).toBe('0');
    await target.cli('CONFIG', 'SET', 'appendfsync', 'always');
    expect(await takesWrites(target)).toBe(true);
    expect(await settle(record, target)).toMatchObject({ action: 'NOTHING', dataNow: 'NEW' });
    await target.restart({ signal: 'SIGKILL' });
    if (record.appendOnly) expect(await target.cli('GET', 'written-after')).toBe('1');
  });

  it('leaves the target as it is when the work has gone to yet another node', async () => {
    const { target } = await startFilled();
    const record = await crash(target, (die) => ({ hooks: { before: { byte: rdb.bytes.length / 2, act: die } } }));
    await expect(settle(record, target, () => Promise.reject(new DomainError('INTERRUPTED', 'Not ours.')))).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect((await infoOf(target))['role']).toBe('slave');
  });

  it('leaves a target alone that follows another master by now', async () => {
    const { target } = await startFilled();
    const other = await start();
    const record = await crash(target, (die) => ({ hooks: { before: { byte: rdb.bytes.length / 2, act: die } } }));
    await target.cli('REPLICAOF', '127.0.0.1', String(other.port));
    expect(await settle(record, target)).toMatchObject({ action: 'LEFT_ALONE' });
    expect(await infoOf(target)).toMatchObject({ role: 'slave', master_port: String(other.port) });
  });

  it('says which command to run when the target is gone', async () => {
    const { target } = await startFilled();
    const record = await crash(target, (die) => ({ hooks: { before: { byte: rdb.bytes.length / 2, act: die } } }));
    await target.kill();
    await expect(settleRestore(record, endpointOf(target), { dial, log: silent, assertOwned: () => Promise.resolve() }, { ...TIMES, reconnectMs: 200 })).rejects.toMatchObject({
      code: 'TARGET_STATE_UNKNOWN', hint: expect.stringContaining(`redis-cli -h 127.0.0.1 -p ${target.port} REPLICAOF NO ONE`) as string,
    });
  });

  it('gives its port back at the end', async () => {
    const { target } = await startFilled();
    const { failure, records } = await restoreInto(target, sourceOf(rdb));
    expect(failure).toBeUndefined();
    const refused = await new Promise<string>((done) => {
      const socket = connect({ host: '127.0.0.1', port: records[0]?.listenerPort ?? 0 });
      socket.on('connect', () => { socket.destroy(); done('connected'); }).on('error', (error: NodeJS.ErrnoException) => done(error.code ?? ''));
    });
    expect(refused).toBe('ECONNREFUSED');
  });
});
