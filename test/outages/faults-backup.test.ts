import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Instance } from '@snapback/sdk';
import { type FakeServer, type FakeServerOptions, startFakeServer } from '../kit/fake-server.js';
import { silentAfter, soundRdb, withLength, withMark } from '../kit/hostile/sources.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';
import { archivesOf, backUp, expectFailedBackup, expectFailedJob, firstEvent, flows, populate, register, saveSlowly, startRestore, storedFiles } from '../e2e/scene.js';

const PASSWORD = 'canary-password-b0c4';

/** Makes a folder refuse new files, for root too where that is allowed, and says how. Returns the way back. */
const makeReadOnly = (volume: string, mounted: boolean): { how: string; undo: () => void } => {
  if (mounted) {
    execFileSync('mount', ['-o', 'remount,ro', volume]);
    return { how: 'mounted read-only', undo: () => { execFileSync('mount', ['-o', 'remount,rw', volume]); } };
  }
  const temporaries = join(volume, 'store', '.tmp');
  if (process.getuid?.() !== 0) {
    chmodSync(temporaries, 0o500);
    return { how: 'without the right to write', undo: () => { chmodSync(temporaries, 0o700); } };
  }
  renameSync(temporaries, `${temporaries}-aside`);
  writeFileSync(temporaries, '');
  return {
    how: 'with a file where a folder should be (root may not mount here)',
    undo: () => {
      rmSync(temporaries);
      renameSync(`${temporaries}-aside`, temporaries);
    },
  };
};

const mountVolume = (path: string): boolean => {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=700', 'tmpfs', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

/** Processes forked by a process, from /proc: the parent's id is the second field behind the name in brackets. */
const childrenOf = (parent: number): number[] =>
  readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return Number(/\) \S (\d+) /.exec(readFileSync(`/proc/${String(pid)}/stat`, 'utf8'))?.[1]) === parent;
    } catch {
      return false; // It has ended since it was listed.
    }
  });

describe('a backup that something goes wrong with', () => {
  let volume: string;
  let mounted = false;
  let service: TestService;
  let good: RedisServer;
  let protectedOne: Instance;
  const fakes: FakeServer[] = [];

  beforeAll(async () => {
    volume = makeTempDir('volume');
    mounted = mountVolume(volume);
    mkdirSync(join(volume, 'store'), { mode: 0o700 });
    const [started, redis] = await Promise.all([startService({ env: { STORE_URL: `file://${volume}/store`, SOURCE_IDLE_SECONDS: '5' } }), startRedis({ password: PASSWORD })]);
    service = { ...started, storeRoot: join(volume, 'store') };
    good = redis;
    await good.cli('SET', 'canary-key-b0c4', 'canary-value-b0c4');
    protectedOne = await register(service, 'good', good, { password: PASSWORD });
  });
  afterAll(async () => {
    await Promise.all([service?.stop(), good?.stop(), ...fakes.map((fake) => fake.stop())]);
    if (mounted) execFileSync('umount', ['-l', volume]);
    await removeTempDir(volume);
  });
  /** After whatever happened, the service goes on. */
  afterEach(async () => {
    const before = await service.sdk.backups.list({ states: ['AVAILABLE'] }).toArray({ limit: 100 });
    const next = await backUp(service, protectedOne.id, 'goes on');
    expect(next).toMatchObject({ state: 'AVAILABLE', keys: '1' });
    expect(await storedFiles(service)).toEqual(archivesOf(next.id, ...before.map(({ id }) => id)));
  });

  const fromFake = async (name: string, options: FakeServerOptions): Promise<{ fake: FakeServer; instance: Instance }> => {
    const fake = await startFakeServer(options);
    fakes.push(fake);
    return { fake, instance: await register(service, name, fake) };
  };

  it('the source is killed in the middle of the transfer; started again, it is backed up', async () => {
    const source = await startRedis({ config: { rdbcompression: 'no' } });
    try {
      await populate(source, 6_000, 1_000);
      const instance = await register(service, 'killed', source);
      await saveSlowly(source, 10_000);
      const started = await service.sdk.backups.create({ instanceId: instance.id, name: 'killed' });
      await firstEvent(service, started.job, flows);
      expect((await storedFiles(service)).some((path) => path.includes(started.backup.id))).toBe(true);
      await source.kill();
      const ended = await expectFailedBackup(service, started, 'SOURCE_DISCONNECTED');
      expect(ended.failure).toMatchObject({ phase: 'TRANSFERRING', retryable: true, message: expect.stringContaining(String(source.port)) as string });

      const unreachable = await service.sdk.backups.create({ instanceId: instance.id, name: 'down' });
      expect((await expectFailedBackup(service, unreachable, 'CONNECT_FAILED')).failure?.phase).toBe('PREPARING');
      await source.restart();
      await source.cli('SET', 'a', '1');
      expect(await backUp(service, instance.id, 'back')).toMatchObject({ state: 'AVAILABLE', keys: '1' });
    } finally {
      await source.stop();
    }
  });

  it('the fork of the source is killed in the middle: no error line, the connection just ends', async () => {
    const source = await startRedis({ config: { rdbcompression: 'no' } });
    try {
      await populate(source, 6_000, 1_000);
      const instance = await register(service, 'childless', source);
      await saveSlowly(source, 10_000);
      const started = await service.sdk.backups.create({ instanceId: instance.id, name: 'childless' });
      await firstEvent(service, started.job, flows);
      await source.cli('CONFIG', 'SET', 'rdb-key-save-delay', '0');
      expect(childrenOf(source.pid)).toHaveLength(1);
      for (const child of childrenOf(source.pid)) process.kill(child, 'SIGKILL');
      await expectFailedBackup(service, started, 'SOURCE_DISCONNECTED');
    } finally {
      await source.stop();
    }
  });

  it('an RDB with one flipped bit', async () => {
    const sound = soundRdb(200_000);
    const flipped = Buffer.from(sound);
    const at = Math.floor(sound.length / 2);
    flipped[at] = (flipped[at] ?? 0) ^ 0x10;
    const { instance } = await fromFake('flipped', { psync: withMark(flipped) });
    const started = await service.sdk.backups.create({ instanceId: instance.id, name: 'flipped' });
    await expectFailedBackup(service, started, 'CORRUPT');

    const checksum = Buffer.from(sound);
    checksum[checksum.length - 1] = (checksum[checksum.length - 1] ?? 0) ^ 1;
    const { instance: other } = await fromFake('wrong checksum', { psync: withLength(checksum) });
    await expectFailedBackup(service, await service.sdk.backups.create({ instanceId: other.id, name: 'wrong checksum' }), 'CORRUPT');
  });

  it('an RDB cut short: by its length, and by its own end', async () => {
    const sound = soundRdb(200_000);
    const cut = sound.subarray(0, 150_000);
    const { instance: byLength } = await fromFake('cut', { psync: async (link, server) => { await withLength(cut, { announced: sound.length })(link, server); link.end(); } });
    await expectFailedBackup(service, await service.sdk.backups.create({ instanceId: byLength.id, name: 'cut' }), 'SOURCE_DISCONNECTED');
    const { instance: byMark } = await fromFake('ended early', { psync: withMark(cut) });
    await expectFailedBackup(service, await service.sdk.backups.create({ instanceId: byMark.id, name: 'ended early' }), 'TRUNCATED');
  });

  it('a source that falls silent, one that is no RDB, and one that refuses', async () => {
    const { sdk } = service;
    const { instance: silent } = await fromFake('silent', { psync: silentAfter(50_000) });
    // Found out after its time; the others fail meanwhile.
    const waiting = await sdk.backups.create({ instanceId: silent.id, name: 'silent' });
    const { instance: noise } = await fromFake('noise', { psync: withLength(Buffer.alloc(10_000, 'no RDB at all')) });
    await expectFailedJob(service, (await sdk.backups.create({ instanceId: noise.id, name: 'noise' })).job, 'UNSUPPORTED_FORMAT');
    const { instance: refusing } = await fromFake('refusing', { psync: async (link) => { await link.send('-NOMASTERLINK Can\'t SYNC while not connected with my master\r\n'); link.end(); } });
    const refused = await expectFailedJob(service, (await sdk.backups.create({ instanceId: refusing.id, name: 'refusing' })).job, 'SOURCE_DISCONNECTED');
    expect(refused.failure?.message).toContain('NOMASTERLINK');
    await expectFailedBackup(service, waiting, 'TOO_SLOW');
  });

  it('the folder of the store is read-only: nothing is written, and a restore does not begin without its safety copy', async ({ annotate }) => {
    const { sdk } = service;
    const kept = await backUp(service, protectedOne.id, 'kept');
    const files = await storedFiles(service);
    const target = await startRedis();
    const { how, undo } = makeReadOnly(volume, mounted);
    await annotate(`The store was ${how}.`);
    const code = how.startsWith('with a file') ? 'STORAGE_IO' : 'STORAGE_PERMISSION';
    try {
      await target.cli('SET', 'old', 'data');
      const started = await sdk.backups.create({ instanceId: protectedOne.id, name: 'no room to write' });
      const ended = await expectFailedJob(service, started.job, code);
      expect(ended.failure?.message).toContain(volume);
      expect(await sdk.backups.get(started.backup)).toMatchObject({ state: 'FAILED' });

      const { restore, job } = await startRestore(service, kept.id, await register(service, 'target', target), { safetyBackup: true });
      await expectFailedJob(service, job, code);
      expect(await sdk.restores.get(restore)).toMatchObject({ dataNow: 'OLD', report: { promoted: true, bytesSent: '0' }, safetyBackup: { state: 'FAILED' } });
      expect(await target.cli('GET', 'old')).toBe('data');
      expect(await target.cli('SET', 'old', 'writable')).toBe('OK');
      // What is there can still be read.
      expect((await new Response(await sdk.backups.download(kept.id)).arrayBuffer()).byteLength).toBe(Number(kept.sizeBytes));
      expect((await sdk.service.info()).store.writable).toBe(false);
    } finally {
      undo();
      await target.stop();
    }
    expect(await storedFiles(service)).toEqual(files);
    expect((await sdk.service.info()).store.writable).toBe(true);
  });

  it('logs why, and neither passwords nor keys nor values', () => {
    expect(service.logs()).toContain('SOURCE_DISCONNECTED');
    for (const secret of [PASSWORD, 'canary-key-b0c4', 'canary-value-b0c4']) expect(service.logs()).not.toContain(secret);
  });
});
