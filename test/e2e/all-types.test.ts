import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Backup, type Instance } from '@snapback/sdk';
import { digest, keyCounts, ownDigest } from '../kit/digest.js';
import { checkRdb } from '../kit/redis-binary.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { seedAllTypes } from '../kit/seed.js';
import { startService, type TestService } from '../kit/service.js';
import { backUp, firstEvent, flows, infoOf, register, saveSlowly, startRestore } from './scene.js';

const TYPES = ['HASH', 'LIST', 'SET', 'SORTED_SET', 'STREAM', 'STRING'];

describe('data of all types', () => {
  let service: TestService;
  let source: RedisServer;
  let instance: Instance;
  let backup: Backup;
  let folder: string;
  const servers: RedisServer[] = [];
  const start = async (options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> => {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  };

  beforeAll(async () => {
    [service, source, folder] = await Promise.all([startService(), start(), mkdtemp(join(tmpdir(), 'snapback-download-'))]);
    await seedAllTypes(source, { keysPerType: 5 });
    await source.cli('SET', 'canary-key-20fd', 'canary-value-20fd');
    instance = await register(service, 'source', source);
    backup = await backUp(service, instance.id, 'all types');
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), ...servers.map((server) => server.stop())]);
    await rm(folder, { recursive: true, force: true });
  });
  const download = async (from: Backup, name: string): Promise<string> => {
    const file = join(folder, name);
    await writeFile(file, Buffer.from(await new Response(await service.sdk.backups.download(from.id)).arrayBuffer()));
    return file;
  };
  /** A server that starts from a downloaded file and from nothing else. */
  const startFrom = async (from: Backup): Promise<RedisServer> => {
    const dir = await mkdtemp(join(folder, 'server-'));
    const file = await download(from, `${from.id}.rdb`);
    await checkRdb(file);
    await copyFile(file, join(dir, 'dump.rdb'));
    return start({ dir });
  };

  it('are counted as the server counts them, per database and type, with expiries and functions', async () => {
    const counts = await keyCounts(source);
    expect(Object.keys(counts)).toEqual(['0', '3', '15']);
    expect(Object.fromEntries((backup.databases ?? []).map(({ database, keys }) => [String(database), Number(keys)]))).toEqual(counts);
    expect(Number(backup.keys)).toBe(Object.values(counts).reduce((sum, keys) => sum + keys, 0));
    const info = await infoOf(source);
    const expiring = ['db0', 'db3', 'db15'].map((name) => Number(/expires=(\d+)/.exec(info[name] ?? '')?.[1]));
    expect(backup.databases?.map((database) => Number(database.expiring))).toEqual(expiring);
    expect(Number(backup.expiringKeys)).toBe(expiring.reduce((sum, keys) => sum + keys, 0));
    expect((backup.types ?? []).map(({ type }) => type).sort()).toEqual(TYPES);
    expect(backup).toMatchObject({ functions: 2, integrity: 'STRUCTURE_AND_CHECKSUM', unknownContent: null, captureMethod: 'REPLICATION', coverage: { kind: 'INSTANCE' }, engineVersion: source.version });
    expect(new Date(backup.expiresAt ?? 0).getTime() - new Date(backup.completedAt ?? 0).getTime()).toBe(7 * 24 * 3_600_000);
  });

  it('a server starts from the downloaded file with every key', async () => {
    const copy = await startFrom(backup);
    expect(await digest(copy)).toBe(await digest(source));
    expect(await ownDigest(copy)).toBe(await ownDigest(source));
    expect(await keyCounts(copy)).toEqual(await keyCounts(source));
  });

  it('into an empty server, and into a filled one, whose safety copy brings everything back', async () => {
    const { sdk } = service;
    const [wanted, wantedOwn] = [await digest(source), await ownDigest(source)];
    const target = await start();
    const registered = await register(service, 'target', target);
    const first = await sdk.restores.wait(await startRestore(service, backup.id, registered, { safetyBackup: true }));
    expect(first).toMatchObject({ dataNow: 'NEW', unsavedWriteBytes: '0', report: { promoted: true, keysBefore: [] } });
    expect(first.report?.keysAfter?.map(({ database, keys }) => [database, keys])).toEqual(backup.databases?.map(({ database, keys }) => [database, keys]));
    expect([await digest(target), await ownDigest(target)]).toEqual([wanted, wantedOwn]);

    // Other data, also where the backup has none, and other functions.
    for (const database of ['0', '7']) await target.cli('-n', database, 'MSET', 'only', 'here', 'string:raw:0:1', 'changed');
    await target.cli('FUNCTION', 'FLUSH');
    await target.cli('FUNCTION', 'LOAD', '#!lua name=other\nredis.register_function(\'other\', function() return 1 end)');
    const changed = await digest(target);
    const second = await sdk.restores.wait(await startRestore(service, backup.id, registered, { safetyBackup: true }));
    expect(await digest(target)).toBe(wanted);
    expect(await infoOf(target)).toMatchObject({ role: 'master', connected_slaves: '0' });

    const undo = second.safetyBackup?.id ?? '';
    expect(await sdk.backups.get(undo)).toMatchObject({ state: 'AVAILABLE', trigger: 'PRE_RESTORE', instance: { id: registered.id } });
    await sdk.restores.wait(await startRestore(service, undo, registered));
    expect(await digest(target)).toBe(changed);
  });

  it('a backup under write load is one moment of the data, loads, and restores as it is', async () => {
    const { sdk } = service;
    const writer = source.client();
    let written = 0;
    let over = false;
    // Two counters in one transaction: in any one moment they are equal.
    const writing = (async () => {
      while (!over) {
        written += 1;
        await writer.multi().select(0).incr('load:a').set(`load:key:${String(written % 500)}`, 'x'.repeat(written % 300)).rpush('load:list', written)
          .xadd('load:stream', '*', 'n', written).select(3).incr('load:b').exec();
      }
    })();
    try {
      await saveSlowly(source, 300);
      const started = await sdk.backups.create({ instanceId: instance.id, name: 'under load' });
      const before = written;
      await firstEvent(service, started.job, flows);
      const loaded = await sdk.backups.wait(started);
      expect(written).toBeGreaterThan(before + 10);
      over = true;
      await writing;

      const copy = await startFrom(loaded);
      const [a, b, length] = [await copy.cli('GET', 'load:a'), await copy.cli('-n', '3', 'GET', 'load:b'), await copy.cli('LLEN', 'load:list')];
      expect(Number(a)).toBeGreaterThan(0);
      expect([b, length]).toEqual([a, a]);
      expect(Number(a)).toBeLessThan(Number(await source.cli('GET', 'load:a')));

      const target = await start();
      await sdk.restores.wait(await startRestore(service, loaded.id, await register(service, 'loaded', target)));
      expect(await digest(target)).toBe(await digest(copy));
    } finally {
      over = true;
      await writing.catch(() => undefined);
      await saveSlowly(source, 0);
      writer.disconnect();
    }
  });

  it('nothing of it is in the log', () => {
    for (const content of ['canary-key-20fd', 'canary-value-20fd']) expect(service.logs()).not.toContain(content);
  });
});
