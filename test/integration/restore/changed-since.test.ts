import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digest } from '../../kit/digest.js';
import { startRedis, startSentinel, type RedisServer } from '../../kit/redis.js';
import { eventually, waitFor } from '../../kit/wait.js';
import { infoOf, inspect, restoreInto, sourceOf, takeRdb, type Ran, type Rdb } from './harness.js';

type Change = (target: RedisServer) => Promise<unknown>;

/** What was well in the plan, and is not any more when the first byte would leave. */
describe('a target that changes in the last moment', () => {
  let rdb: Rdb;
  const servers: RedisServer[] = [];
  const start = async (config: Record<string, string> = {}): Promise<{ target: RedisServer; old: string }> => {
    const target = await startRedis({ config });
    servers.push(target);
    await target.cli('MSET', 'a', '1', 'b', '2');
    return { target, old: await digest(target) };
  };
  const expectUntouched = async ({ failure, report }: Ran, target: RedisServer, old: string): Promise<void> => {
    expect(report).toBeUndefined();
    expect(failure?.report).toMatchObject({ dataNow: 'OLD', promoted: true, bytesSent: 0n });
    expect(await digest(target)).toBe(old);
    expect((await infoOf(target))['role']).toBe('master');
  };
  const set = (name: string, value: string): Change => (target) => target.cli('CONFIG', 'SET', name, value);

  beforeAll(async () => {
    const { target: source } = await start();
    await source.cli('DEBUG', 'POPULATE', '500', 'key', '1000');
    rdb = await takeRdb(source);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  const changes: { what: string; change: Change; blocker?: string; code: string }[] = [
    { what: 'takes writes as a replica', change: set('replica-read-only', 'no'), blocker: 'REPLICA_READ_ONLY_OFF', code: 'TARGET_BLOCKED' },
    { what: 'has too little memory', change: set('maxmemory', '1mb'), blocker: 'INSUFFICIENT_MEMORY', code: 'INSUFFICIENT_MEMORY' },
    { what: 'would load from the socket what nobody has verified', change: set('repl-diskless-load', 'swapdb'), code: 'CONFLICT' },
    {
      what: 'has got a Sentinel', blocker: 'SENTINEL_IN_CHARGE', code: 'TARGET_BLOCKED',
      change: async (target) => {
        servers.push(await startSentinel({ master: { host: target.host, port: target.port }, downAfterMs: 200 }));
        await waitFor(async () => (await target.cli('CLIENT', 'LIST')).includes('name=sentinel-'));
      },
    },
  ];

  it.each(changes)('just before the first byte: $what', async ({ change, blocker, code }) => {
    const { target, old } = await start();
    // The record is kept after the last look but one, and before REPLICAOF.
    const ran = await restoreInto(target, sourceOf(rdb), { deps: { recorder: { beforeReplicaOf: () => change(target).then(() => undefined), pointOfNoReturn: () => Promise.reject(new Error('must not come so far')) } } });
    expect(ran.failure).toMatchObject({ code, ...(blocker ? { details: { blockers: blocker } } : {}) });
    expect(ran.phases).not.toContain('LOADING');
    await expectUntouched(ran, target, old);
  });

  it('while the archive was read: it is not even told to follow', async () => {
    const { target, old } = await start({ 'repl-diskless-load': 'swapdb' });
    const ran = await restoreInto(target, sourceOf(rdb, { before: { byte: 0, act: async () => { await target.cli('CONFIG', 'SET', 'replica-read-only', 'no'); } } }));
    expect(ran.failure).toMatchObject({ code: 'TARGET_BLOCKED', details: { blockers: 'REPLICA_READ_ONLY_OFF' } });
    expect([ran.phases, ran.records]).toEqual([['PREPARING', 'VERIFYING', 'PREPARING'], []]);
    await expectUntouched(ran, target, old);
  });

  it('made to load from the socket before it is told to follow: the archive is verified first', async () => {
    const { target } = await start();
    const ran = await restoreInto(target, sourceOf(rdb), { deps: { safetyBackup: async () => { await target.cli('CONFIG', 'SET', 'repl-diskless-load', 'swapdb'); return { replicationOffset: null }; } } });
    expect(ran.failure).toBeUndefined();
    expect(ran.phases.filter((phase) => phase === 'VERIFYING')).toHaveLength(1);
    expect(ran.report).toMatchObject({ dataNow: 'NEW', bgsaveSuggested: true });
  });

  it('its disk takes nothing', async () => {
    const { target, old } = await start();
    // A disk that is full and one that is gone look the same to a server that opens a file.
    rmSync(target.dir, { recursive: true });
    await target.cli('BGSAVE');
    await eventually(async () => { expect((await infoOf(target))['rdb_last_bgsave_status']).toBe('err'); });
    expect((await inspect(target, rdb)).blockers).toMatchObject([{ name: 'DISK_FAILING', code: 'STORAGE_IO', message: expect.stringContaining('rdb_last_bgsave_status:err') as string }]);
    const known = await restoreInto(target, sourceOf(rdb));
    expect(known.failure).toMatchObject({ code: 'STORAGE_IO', details: { blockers: 'DISK_FAILING' } });
    expect(known.records).toEqual([]);
    await expectUntouched(known, target, old);
  });

  it('min-replicas-to-write: said before, and no more and no less in force afterwards', async () => {
    const { target } = await start({ 'min-replicas-to-write': '1' });
    expect((await inspect(target, rdb)).warnings).toContainEqual(expect.objectContaining({ name: 'MIN_REPLICAS', mustAccept: false }));
    const { failure } = await restoreInto(target, sourceOf(rdb));
    expect(failure).toBeUndefined();
    expect(await target.cli('DBSIZE')).toBe('502');
    await expect(target.client({ maxRetriesPerRequest: 0 }).set('a', '1')).rejects.toThrow('NOREPLICAS');
    expect(await target.cli('CONFIG', 'GET', 'min-replicas-to-write')).toContain('1');
  });
});
