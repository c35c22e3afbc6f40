import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { settleRestore, type Settlement, type UndoRecord } from '../../../server/engine/restore.js';
import { digest } from '../../kit/digest.js';
import { startRedis, type RedisServer, type RedisServerOptions } from '../../kit/redis.js';
import { settingsOf } from '../../kit/settings.js';
import { endpointOf, dial, infoOf, restoreInto, safetyBackupOf, silent, sourceOf, takeRdb, takesWrites, TIMES, type Ran, type Rdb, type RunOptions, type SourceHooks } from './harness.js';

const NAME = 'repl-diskless-load';

/** `disklessLoad`: the setting is the target's own again, however the restore ends, and nothing else is changed. */
describe('a target that is to load while it receives', () => {
  let rdb: Rdb;
  let wanted: string;
  const servers: RedisServer[] = [];
  const proxies: Server[] = [];
  const start = async (options: RedisServerOptions = {}): Promise<RedisServer> => {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  };
  const startFilled = async (options: RedisServerOptions = {}): Promise<{ target: RedisServer; old: string }> => {
    const target = await start(options);
    await target.cli('MSET', 'a', '1', 'b', '2');
    return { target, old: await digest(target) };
  };
  const settingOf = async (target: RedisServer): Promise<string> => (await target.cli('CONFIG', 'GET', NAME)).split('\n')[1] ?? '';
  const restore = (target: RedisServer, hooks: SourceHooks = {}, { plan, ...options }: RunOptions = {}): Promise<Ran> =>
    restoreInto(target, sourceOf(rdb, hooks), { ...options, plan: { disklessLoad: true, ...plan } });
  const settle = (record: UndoRecord, target: RedisServer): Promise<Settlement> =>
    settleRestore(JSON.parse(JSON.stringify(record)) as UndoRecord, endpointOf(target), { dial, log: silent, assertOwned: () => Promise.resolve() }, TIMES);
  /** The archive is read twice; the transfer is the second time. */
  const halfWay = (act: () => Promise<void> | void): SourceHooks => ({ before: { byte: rdb.bytes.length / 2, reading: 2, act } });
  /** What it was told that changes how it replicates, in order. MONITOR does not show that. */
  const toldTo = async (target: RedisServer): Promise<string[]> => {
    const client = target.client();
    const entries = await client.slowlog('GET', 10_000) as [unknown, unknown, unknown, string[]][];
    client.disconnect();
    return entries.reverse().map(([, , , words]) => words.map((word) => word.toLowerCase())).flatMap(([command, ...args]) => {
      if (command === 'replicaof' && args[1] !== 'not-a-port') return [args[0] === 'no' ? 'replicaof no one' : 'replicaof'];
      return command === 'config' && args[0] === 'set' && args[2] !== 'no-such-value' ? [args.slice(1).join(' ')] : [];
    });
  };
  /** While a target receives, it answers nobody: what is to happen then happens between its REPLICAOF and the first byte. */
  const onceFollowing = (target: RedisServer, act: () => Promise<unknown>): () => Promise<void> => {
    let done = false;
    return async () => {
      if (done || (await infoOf(target))['role'] !== 'slave') return;
      done = true;
      await act();
    };
  };
  /** A restore whose node dies half way; returns what the next one finds. */
  const dieHalfWay = async (target: RedisServer): Promise<UndoRecord> => {
    let dead = false;
    const stop = new AbortController();
    const { records } = await restore(target, halfWay(() => { dead = true; stop.abort(); }), {
      signal: stop.signal, deps: { assertOwned: () => (dead ? Promise.reject(new DomainError('INTERRUPTED', 'The lease is lost.')) : Promise.resolve()) },
    });
    return records.at(-1)!;
  };
  const broken = (): never => { throw new DomainError('CORRUPT', 'Block 7 is damaged.'); };

  beforeAll(async () => {
    const source = await start();
    await source.cli('DEBUG', 'POPULATE', '3000', 'key', '60');
    rdb = await takeRdb(source);
    wanted = await digest(source);
  });
  afterEach(() => {
    for (const proxy of proxies.splice(0)) proxy.close();
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it.each(['disabled', 'on-empty-db'])('does so where its setting is %s, and has that again when it takes writes', async (before) => {
    const { target } = await startFilled({ config: { [NAME]: before, 'slowlog-log-slower-than': '0', 'slowlog-max-len': '10000' } });
    const config = await settingsOf(target);
    const { report, failure, phases, records, notices } = await restore(target, {}, { deps: { safetyBackup: safetyBackupOf(target) } });
    expect(failure).toBeUndefined();
    expect(await toldTo(target)).toEqual(['repl-diskless-load swapdb', 'replicaof', 'replicaof no one', `repl-diskless-load ${before}`]);
    expect(await digest(target)).toBe(wanted);
    expect(await settingsOf(target)).toEqual(config);
    // What loads at once is read as a whole before; what is in memory alone is told of.
    expect(phases.filter((phase) => phase === 'VERIFYING')).toHaveLength(1);
    expect(report).toMatchObject({ dataNow: 'NEW', promoted: true, bgsaveSuggested: true, settingLeft: false });
    expect(records.map(({ disklessLoadBefore }) => disklessLoadBefore)).toEqual([before, before]);
    expect(notices).toEqual(['DISKLESS_LOAD_PUT_BACK']);
    expect(target.log()).toMatch(/MASTER <-> REPLICA sync: receiving \d+ bytes from master to parser/);
  });

  it.each(['swapdb', 'on-empty-db'])('is left as it is where it is empty and has %s', async (before) => {
    const target = await start({ config: { [NAME]: before } });
    const { failure, records, notices } = await restore(target);
    expect(failure).toBeUndefined();
    expect([records[0]?.disklessLoadBefore, notices, await settingOf(target)]).toEqual([null, [], before]);
  });

  it('keeps its old data and its setting when the transfer breaks, is cancelled, or is never begun', async () => {
    const { target, old } = await startFilled();
    expect((await restore(target, halfWay(broken))).failure).toMatchObject({ code: 'CORRUPT', report: { dataNow: 'OLD', promoted: true, settingLeft: false } });
    const cancel = new AbortController();
    expect((await restore(target, halfWay(() => { cancel.abort(new DomainError('INTERRUPTED', 'Cancelled.')); }), { signal: cancel.signal })).failure).toMatchObject({ code: 'INTERRUPTED', report: { dataNow: 'OLD' } });
    const unreachable = await restore(target, {}, { plan: { link: { advertisedHost: '192.0.2.1' } }, times: { linkMs: 300 } });
    expect(unreachable.failure).toMatchObject({ code: 'TARGET_UNREACHABLE_BACK', report: { dataNow: 'OLD', promoted: true } });
    expect(await settingOf(target)).toBe('disabled');
    expect(await digest(target)).toBe(old);
    expect(await takesWrites(target)).toBe(true);
  });

  it('is not touched by a restore whose record could not be kept', async () => {
    const { target, old } = await startFilled();
    const logged = await target.cli('INFO', 'commandstats');
    const { failure } = await restore(target, {}, { deps: { recorder: { beforeReplicaOf: () => Promise.reject(new DomainError('INTERRUPTED', 'The lease is lost.')), pointOfNoReturn: () => Promise.resolve() } } });
    expect(failure).toMatchObject({ code: 'INTERRUPTED' });
    // One refused try asks for the right to it.
    expect(/cmdstat_config\|set:calls=\d+.*rejected_calls=0,failed_calls=(\d+)/.exec(await target.cli('INFO', 'commandstats'))?.[0]).toMatch(/calls=(\d+),.*failed_calls=\1$/);
    expect(logged).not.toContain('config|set');
    expect(await digest(target)).toBe(old);
  });

  it('keeps what somebody else sets meanwhile', async () => {
    const { target } = await startFilled();
    const { failure, notices } = await restore(target, {}, { deps: { assertOwned: onceFollowing(target, () => target.cli('CONFIG', 'SET', NAME, 'on-empty-db')) } });
    expect(failure).toBeUndefined();
    expect(await settingOf(target)).toBe('on-empty-db');
    expect(notices).toEqual([]);
  });

  it('is not told to follow when somebody sets it at the last moment', async () => {
    const { target, old } = await startFilled();
    const { failure } = await restore(target, {}, { deps: { recorder: { beforeReplicaOf: async () => { await target.cli('CONFIG', 'SET', NAME, 'on-empty-db'); }, pointOfNoReturn: () => Promise.resolve() } } });
    expect(failure).toMatchObject({ code: 'CONFLICT', report: { dataNow: 'OLD', promoted: true, bytesSent: 0n } });
    expect([await settingOf(target), await digest(target)]).toEqual(['on-empty-db', old]);
    expect(target.log()).not.toContain('Connecting to MASTER');
  });

  it('has its setting again after whoever finds a dead node\'s restore', async () => {
    const { target } = await startFilled();
    const record = await dieHalfWay(target);
    expect(await settingOf(target)).toBe('swapdb');
    expect(await settle(record, target)).toMatchObject({ action: 'PROMOTED', dataNow: 'OLD' });
    expect(await settingOf(target)).toBe('disabled');
    // Once more changes nothing, whatever the setting is by then.
    await target.cli('CONFIG', 'SET', NAME, 'on-empty-db');
    expect(await settle(record, target)).toMatchObject({ action: 'NOTHING' });
    expect(await settingOf(target)).toBe('on-empty-db');
  });

  it('keeps what its configuration says after a restart', async () => {
    const { target } = await startFilled();
    const record = await dieHalfWay(target);
    await target.restart({ config: { [NAME]: 'swapdb' } });
    expect(await settle(record, target)).toMatchObject({ action: 'NOTHING' });
    expect(await settingOf(target)).toBe('swapdb');
  });

  it('is left to others, and said so, while it follows somebody else', async () => {
    const { target } = await startFilled();
    const other = await start();
    const { failure, notices } = await restore(target, {}, { deps: { assertOwned: onceFollowing(target, () => target.cli('REPLICAOF', other.host, String(other.port))) } });
    expect(failure?.report).toMatchObject({ promoted: false, settingLeft: true });
    expect(notices).toContain('DISKLESS_LOAD_LEFT');
    expect(failure?.report.notices.join(' ')).toContain('run CONFIG SET repl-diskless-load disabled');
    expect([await settingOf(target), (await infoOf(target))['master_port']]).toEqual(['swapdb', String(other.port)]);
  });

  it('a run that slept before it set it, while others settled in vain, takes back what it did too late', async () => {
    const { target, old } = await startFilled();
    const kept: UndoRecord[] = [];
    let settled: Settlement | undefined;
    let asked = 0;
    const { failure } = await restore(target, {}, {
      deps: {
        recorder: { beforeReplicaOf: (record) => Promise.resolve(void kept.push(record)), pointOfNoReturn: () => Promise.reject(new Error('must not come so far')) },
        assertOwned: async () => {
          const [record] = kept;
          if (!record) return;
          if (settled) throw new DomainError('INTERRUPTED', 'The lease is lost.');
          // Right when it was given, the first time before the record's own step and the second right before the setting.
          if (asked++ === 1) settled = await settle(record, target);
        },
      },
    });
    expect(settled).toMatchObject({ action: 'NOTHING', dataNow: 'OLD' });
    expect(failure).toMatchObject({ code: 'INTERRUPTED' });
    expect([await settingOf(target), (await infoOf(target))['role'], await digest(target)]).toEqual(['disabled', 'master', old]);
  });

  it('has it again when the answer to putting it back is lost on the way', async () => {
    const { target } = await startFilled();
    // Cuts the connection that is told to put it back, once, when the server has done so.
    let cuts = 0;
    const proxy = createServer((client: Socket) => {
      const upstream = connect(target.port, target.host);
      for (const [one, other] of [[client, upstream], [upstream, client]] as const) {
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
      let cut = false;
      client.on('data', (bytes) => {
        cut ||= cuts === 0 && bytes.includes('disabled');
        upstream.write(bytes);
      });
      upstream.on('data', (bytes) => {
        if (!cut) client.write(bytes);
        else {
          cuts += 1;
          client.destroy();
        }
      });
    });
    proxies.push(proxy);
    const port = await new Promise<number>((ready) => { proxy.listen(0, '127.0.0.1', () => { ready((proxy.address() as { port: number }).port); }); });
    const { report, failure, notices } = await restore(target, {}, { plan: { endpoint: { ...endpointOf(target), port } } });
    expect(failure).toBeUndefined();
    expect(cuts).toBe(1);
    expect(report).toMatchObject({ dataNow: 'NEW', promoted: true, settingLeft: false });
    expect(notices).toEqual([]);
    expect([await settingOf(target), await digest(target)]).toEqual(['disabled', wanted]);
  });

  it('loads as it is configured to where it lacks the right, or the memory for both', async () => {
    const poor = await startFilled({ acl: ['default on nopass ~* &* +@all', 'restorer on >secret ~* &* +@all -config|set'] });
    const without = await restore(poor.target, {}, { plan: { endpoint: { ...endpointOf(poor.target), username: 'restorer', password: 'secret' } } });
    expect(without.failure).toBeUndefined();
    expect([without.records[0]?.disklessLoadBefore, without.report?.bgsaveSuggested, await digest(poor.target)]).toEqual([null, false, wanted]);

    const small = await start();
    await small.cli('DEBUG', 'POPULATE', '20000', 'old', '500');
    const used = Number((await infoOf(small))['used_memory']);
    await small.cli('CONFIG', 'SET', 'maxmemory', String(used + 1024 * 1024));
    const full = await restore(small);
    expect(full.failure).toBeUndefined();
    expect([full.records[0]?.disklessLoadBefore, await digest(small)]).toEqual([null, wanted]);
  });
});
