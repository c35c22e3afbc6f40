import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digest, keyCounts } from '../../kit/digest.js';
import { startRedis, type RedisServer } from '../../kit/redis.js';
import { seedAllTypes } from '../../kit/seed.js';
import { settingsOf } from '../../kit/settings.js';
import { eventually } from '../../kit/wait.js';
import { infoOf, restoreInto, safetyBackupOf, sourceOf, takeRdb, takesWrites, type Rdb } from './harness.js';

describe('a restore into a running server', () => {
  let source: RedisServer;
  let rdb: Rdb;
  let wanted: string;
  const servers: RedisServer[] = [];
  const start = async (config: Record<string, string> = {}): Promise<RedisServer> => {
    const server = await startRedis({ config });
    servers.push(server);
    return server;
  };
  const fillOld = async (server: RedisServer): Promise<void> => {
    const client = server.client({ db: 2 });
    for (let i = 0; i < 50; i += 1) await client.set(`old:${i}`, 'x'.repeat(100));
    client.disconnect();
  };

  beforeAll(async () => {
    source = await start();
    await seedAllTypes(source, { keysPerType: 5 });
    rdb = await takeRdb(source);
    wanted = await digest(source);
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('fills an empty server and leaves it a master whose settings are as they were', async () => {
    const target = await start();
    const config = await settingsOf(target);
    const { report, failure, phases, records } = await restoreInto(target, sourceOf(rdb));
    expect(failure).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
    expect(report).toMatchObject({ dataNow: 'NEW', promoted: true, keysBefore: [], bytesSent: BigInt(rdb.bytes.length), unsavedWriteBytes: null, bgsaveSuggested: false, notices: [] });
    expect(report?.keysAfter?.map(({ database, keys }) => [database, keys])).toEqual(rdb.facts.summary.databases.map(({ database, keys }) => [database, keys]));
    expect(report?.loadMs).toBeGreaterThanOrEqual(0);
    expect(phases).toEqual(['PREPARING', 'TRANSFERRING', 'LOADING', 'FINALIZING']);
    expect(records.map(({ committed }) => committed)).toEqual([false, true]);
    expect(await settingsOf(target)).toEqual(config);
    expect(await takesWrites(target)).toBe(true);
  });

  it('replaces what a filled server held, after a safety copy', async () => {
    const target = await start();
    await fillOld(target);
    const { report, failure } = await restoreInto(target, sourceOf(rdb, { pieceBytes: 777 }), { deps: { safetyBackup: safetyBackupOf(target) } });
    expect(failure).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
    expect(report).toMatchObject({ dataNow: 'NEW', promoted: true, keysBefore: [{ database: 2, keys: 50n, expiring: 0n }], unsavedWriteBytes: 0n });
    expect((await infoOf(target))['role']).toBe('master');
  });

  it('awaits the append-only file: what is acknowledged after the promotion survives a kill', async () => {
    const target = await start({ appendonly: 'yes' });
    await fillOld(target);
    const { failure } = await restoreInto(target, sourceOf(rdb));
    expect(failure).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
    const info = await infoOf(target);
    expect([info['aof_rewrite_in_progress'], info['aof_rewrite_scheduled'], info['aof_last_bgrewrite_status']]).toEqual(['0', '0', 'ok']);
    expect(await takesWrites(target)).toBe(true);
    await target.cli('CONFIG', 'SET', 'appendfsync', 'always');
    await target.cli('SET', 'last', 'acknowledged');
    await target.restart({ signal: 'SIGKILL' });
    expect(await target.cli('GET', 'last')).toBe('acknowledged');
    expect(await keyCounts(target)).not.toHaveProperty('2');
  });

  it('counts keys that have expired since as the archive does', async () => {
    const brief = await start();
    await brief.cli('CONFIG', 'SET', 'hz', '1');
    await brief.cli('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
    const client = brief.client();
    for (let i = 0; i < 30; i += 1) await client.set(`brief:${i}`, 'x', 'PX', 1);
    await client.set('lasting', 'x');
    client.disconnect();
    const expired = await takeRdb(brief);
    const target = await start();
    const { report, failure } = await restoreInto(target, sourceOf(expired));
    expect(failure).toBeUndefined();
    expect(report?.keysAfter).toEqual([{ database: 0, keys: 31n, expiring: 30n }]);
    await eventually(async () => { expect(await target.cli('DBSIZE')).toBe('1'); });
  });

  it.each(['swapdb', 'on-empty-db'])('loads from the socket with repl-diskless-load %s and offers a BGSAVE', async (mode) => {
    const target = await start({ 'repl-diskless-load': mode });
    if (mode === 'swapdb') await fillOld(target);
    const { report, failure } = await restoreInto(target, sourceOf(rdb));
    expect(failure).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
    expect(report?.bgsaveSuggested).toBe(true);
  });

  it('serves a target that has a password of its own for masters', async () => {
    const target = await start({ masterauth: 'what-the-customer-set' });
    const { failure } = await restoreInto(target, sourceOf(rdb));
    expect(failure).toBeUndefined();
    expect(await digest(target)).toBe(wanted);
    expect(await target.cli('CONFIG', 'GET', 'masterauth')).toContain('what-the-customer-set');
  });

  it('loses no write silently while writers go on', async () => {
    const target = await start();
    const writer = target.client();
    const acknowledged: number[] = [];
    const refused: string[] = [];
    let stop = false;
    const writing = (async (): Promise<void> => {
      for (let i = 0; !stop; i += 1) {
        await writer.set(`w:${i}`, String(i)).then(() => { acknowledged.push(i); }, (error: Error) => { refused.push(error.message.split(' ', 1)[0] ?? ''); });
      }
    })();
    let safe = '';
    const { report, failure } = await restoreInto(target, sourceOf(rdb), {
      deps: {
        safetyBackup: async (signal) => {
          const result = await safetyBackupOf(target)(signal);
          safe = await target.cli('DBSIZE');
          return result;
        },
      },
    });
    stop = true;
    await writing;
    expect(failure).toBeUndefined();
    expect(report?.unsavedWriteBytes).toBe(0n);
    expect(refused).toContain('READONLY');
    // Everything that was acknowledged is in the safety copy, or was written after the promotion and is there now.
    const lost: number[] = [];
    for (const i of acknowledged) {
      if (i >= Number(safe) && (await writer.get(`w:${i}`)) === null) lost.push(i);
    }
    expect(lost).toEqual([]);
    writer.disconnect();
  });

  it('says how much was written after the safety copy when writers were not held back', async () => {
    const target = await start();
    const { report, failure } = await restoreInto(target, sourceOf(rdb), {
      plan: { pauseWrites: false },
      deps: {
        safetyBackup: async (signal) => {
          const result = await safetyBackupOf(target)(signal);
          await target.cli('SET', 'late', 'x'.repeat(1_000));
          return result;
        },
      },
    });
    expect(failure).toBeUndefined();
    expect(report?.unsavedWriteBytes).toBeGreaterThan(1_000n);
    expect(report?.unsavedWriteBytes).toBeLessThan(1_200n);
  });
});
