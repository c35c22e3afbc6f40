import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { type FileOps, type FsOps, nodeFsOps } from '../../../server/engine/store/fs-ops.js';
import { STAGE_BYTES } from '../../../server/engine/store/staging.js';
import { type ObjectWriter } from '../../../server/engine/store/store.js';
import { listAll, put, readAll, storeConformance } from './suite.js';

const scratch = (): Promise<string> => mkdtemp(join(tmpdir(), 'snapback-store-'));

storeConformance('file system', async () => {
  const folder = await scratch();
  const root = join(folder, 'store');
  return {
    store: await openFilesystemStore({ root, create: true }),
    tracedFrom: 1,
    reopen: () => openFilesystemStore({ root, create: false }),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
});

storeConformance('file system without hard links', async () => {
  const folder = await scratch();
  const root = join(folder, 'store');
  const fs: FsOps = { ...nodeFsOps, link: () => Promise.reject(Object.assign(new Error('link'), { code: 'EPERM' })) };
  return {
    store: await openFilesystemStore({ root, create: true, fs }),
    tracedFrom: 1,
    reopen: () => openFilesystemStore({ root, create: false, fs }),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
});

const fault = (code: string): Error => Object.assign(new Error(`${code}: injected`), { code });

/** File calls as usual, but for those named here. */
const faulty = (calls: Partial<FsOps>, file: Partial<FileOps> = {}): FsOps => ({
  ...nodeFsOps,
  createFile: async (path) => ({ ...(await nodeFsOps.createFile(path)), ...file }),
  openFile: async (path) => ({ ...(await nodeFsOps.openFile(path)), ...file }),
  ...calls,
});

const thrownBy = async (run: () => Promise<unknown>): Promise<DomainError> => {
  const error: unknown = await run().then(() => undefined, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DomainError);
  return error as DomainError;
};

describe('file system store', () => {
  let folder: string;
  let root: string;
  beforeEach(async () => {
    folder = await scratch();
    root = join(folder, 'deep', 'store');
    await openFilesystemStore({ root, create: true, storeId: 'store-1' });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const open = (fs?: FsOps) => openFilesystemStore({ root, create: false, fs });
  const temporaries = (): Promise<string[]> => readdir(join(root, '.tmp'));

  it('keeps files 0600 and folders 0700, and below the shared ones no folder that holds nothing', async () => {
    const store = await open();
    await put(store, 'backups/b1/rdb', Buffer.from('x'));
    expect((await stat(join(root, 'backups/b1/rdb'))).mode & 0o777).toBe(0o600);
    for (const path of [root, join(root, 'backups'), join(root, 'backups/b1')]) expect((await stat(path)).mode & 0o777).toBe(0o700);
    await store.remove('backups/b1/rdb');
    expect((await readdir(root)).sort()).toEqual(['.snapback-store', '.tmp', 'backups']);
    expect(await readdir(join(root, 'backups'))).toEqual([]);
  });

  it('keeps its id, wherever create is said again', async () => {
    expect((await openFilesystemStore({ root, create: true, storeId: 'other' })).id).toBe('store-1');
    const fresh = join(folder, 'fresh');
    const ids = await Promise.all(Array.from({ length: 6 }, async () => (await openFilesystemStore({ root: fresh, create: true })).id));
    expect(new Set(ids).size).toBe(1);
    expect((await readdir(fresh)).sort()).toEqual(['.snapback-store', '.tmp']);
  });

  it('refuses a folder without marker, with foreign content, and layouts it does not know', async () => {
    const plain = join(folder, 'plain');
    expect((await thrownBy(() => openFilesystemStore({ root: plain, create: false }))).code).toBe('STORAGE_IO');
    await mkdir(plain);
    await writeFile(join(plain, 'holiday.jpg'), 'x');
    const foreign = await thrownBy(() => openFilesystemStore({ root: plain, create: true }));
    expect(foreign.code).toBe('STORAGE_IO');
    expect(await readdir(plain)).toEqual(['holiday.jpg']);
    await writeFile(join(root, '.snapback-store'), JSON.stringify({ format: 2, storeId: 'store-1' }));
    expect((await thrownBy(() => open())).code).toBe('UNSUPPORTED_FORMAT');
    await writeFile(join(root, '.snapback-store'), '{"format":1');
    expect((await thrownBy(() => open())).code).toBe('STORAGE_IO');
  });

  it('names its catalogue from the start where one is given, and takes archives that lost their marker only when that is meant', async () => {
    const fresh = join(folder, 'fresh');
    expect(await (await openFilesystemStore({ root: fresh, create: true, catalogueId: 'c-1' })).owner()).toBe('c-1');
    expect(await (await openFilesystemStore({ root: fresh, create: true, catalogueId: 'c-2' })).owner()).toBe('c-1');
    await put(await openFilesystemStore({ root: fresh, create: false }), 'backups/b1/rdb', Buffer.from('x'));
    await rm(join(fresh, '.snapback-store'));
    expect((await thrownBy(() => openFilesystemStore({ root: fresh, create: true }))).hint).toContain('store:adopt');
    const again = await openFilesystemStore({ root: fresh, create: 'overContent', catalogueId: 'c-3' });
    expect(await again.owner()).toBe('c-3');
    expect(await listAll(again)).toHaveLength(1);
    await writeFile(join(root, '..', 'holiday.jpg'), 'x');
    expect((await thrownBy(() => openFilesystemStore({ root: join(root, '..'), create: 'overContent' }))).code).toBe('STORAGE_IO');
  });

  it('notices a vanished volume in every call, and another one in its place', async () => {
    const store = await open();
    await put(store, 'backups/b1/manifest', Buffer.from('x'));
    await rename(root, join(folder, 'away'));
    await mkdir(root);
    const calls: (() => Promise<unknown>)[] = [
      () => store.create('backups/b2/rdb'), () => store.stat('backups/b1/manifest'), () => readAll(store, 'backups/b1/manifest'),
      () => store.remove('backups/b1/manifest'), () => listAll(store), () => store.sweep({ olderThan: new Date(), keep: () => false }),
    ];
    for (const call of calls) {
      const error = await thrownBy(call);
      expect(error.code).toBe('STORAGE_IO');
      expect(error.message).toContain('not mounted');
    }
    expect(await store.check()).toMatchObject({ writable: false, problem: { code: 'STORAGE_IO' } });
    expect(await readdir(root)).toEqual([]);
    await writeFile(join(root, '.snapback-store'), JSON.stringify({ format: 1, storeId: 'stranger' }));
    expect((await thrownBy(() => listAll(store))).message).toContain('stranger');
    await rm(root, { recursive: true });
    await rename(join(folder, 'away'), root);
    expect((await readAll(store, 'backups/b1/manifest')).toString()).toBe('x');
  });

  it.each([[1, 20_000], [1000, 3_333], [STAGE_BYTES - 1, 3], [STAGE_BYTES, 2], [STAGE_BYTES + 1, 3], [5 * STAGE_BYTES, 1]])('keeps what is written in pieces of %i bytes, %i times', async (bytes, times) => {
    const store = await open();
    const pieces = Array.from({ length: times }, (_, at) => Buffer.alloc(bytes, at % 251));
    const writer = await store.create('backups/b1/rdb');
    // The memory is the caller's again with each answer.
    const shared = Buffer.alloc(bytes);
    for (const piece of pieces) {
      piece.copy(shared);
      await writer.write(shared);
      shared.fill(255);
    }
    await writer.commit();
    expect((await readAll(store, 'backups/b1/rdb')).equals(Buffer.concat(pieces))).toBe(true);
  });

  const atEachStep: [string, string, () => FsOps][] = [
    ['ENOSPC at write', 'STORAGE_FULL', () => faulty({}, { append: () => Promise.reject(fault('ENOSPC')) })],
    ['EDQUOT at write', 'STORAGE_FULL', () => faulty({}, { append: () => Promise.reject(fault('EDQUOT')) })],
    ['EIO at write', 'STORAGE_IO', () => faulty({}, { append: () => Promise.reject(fault('EIO')) })],
    ['ENOSPC at fsync', 'STORAGE_FULL', () => faulty({}, { sync: () => Promise.reject(fault('ENOSPC')) })],
    ['EIO at fsync', 'STORAGE_IO', () => faulty({}, { sync: () => Promise.reject(fault('EIO')) })],
    ['EACCES at link', 'STORAGE_PERMISSION', () => faulty({ link: () => Promise.reject(fault('EACCES')) })],
    ['EROFS at mkdir', 'STORAGE_PERMISSION', () => faulty({ createFolder: () => Promise.reject(fault('EROFS')) })],
    ['EIO at the fsync of the folder', 'STORAGE_IO', () => faulty({
      syncFolder: (path) => (path.endsWith('b1') ? Promise.reject(fault('EIO')) : nodeFsOps.syncFolder(path)),
    })],
  ];
  for (const [name, code, make, bytes] of atEachStep.flatMap((step) => [[...step, 1000] as const, [...step, 5 * STAGE_BYTES / 2] as const])) {
    it(`${name} is ${code} and final: nothing becomes visible, nothing stays (${String(bytes)} bytes)`, async () => {
      const calls = make();
      const store = await open({ ...calls, createFolder: (path) => (path.endsWith('.tmp') ? nodeFsOps.createFolder(path) : calls.createFolder(path)) });
      const writer = await store.create('backups/b1/rdb');
      const error = await thrownBy(async () => {
        await writer.write(Buffer.alloc(bytes));
        await writer.commit();
      });
      expect(error.code).toBe(code);
      expect(error.message).toContain('backups/b1/rdb');
      expect(error.hint).toBeDefined();
      expect((await thrownBy(() => writer.commit())).code).toBe(code);
      await writer.abort();
      expect(await store.stat('backups/b1/rdb')).toBeNull();
      expect(await listAll(store)).toEqual([]);
      expect(await temporaries()).toEqual([]);
    });
  }

  it('makes a large object durable while it grows, and never forgets what the disk said then', async () => {
    const answers: (Error | null)[] = [];
    const syncs: Promise<void>[] = [];
    const store = await open(faulty({}, {
      append: () => Promise.resolve(),
      sync: () => {
        const answer = answers.shift() ?? null;
        const sync = answer === null ? Promise.resolve() : Promise.reject(answer);
        syncs.push(sync);
        return sync;
      },
    }));
    const chunk = Buffer.alloc(16 * 1024 * 1024);
    const write = async (key: string, chunks: number): Promise<ObjectWriter> => {
      const writer = await store.create(key);
      for (let i = 0; i < chunks; i += 1) await writer.write(chunk);
      return writer;
    };

    await (await write('backups/b1/rdb', 6)).commit();
    expect(syncs).toHaveLength(4);

    answers.push(fault('EIO'));
    const writer = await write('backups/b2/rdb', 2);
    // The disk says from here on that all is well.
    const error = await thrownBy(() => writer.commit());
    expect(error).toMatchObject({ code: 'STORAGE_IO' });
    expect(await store.stat('backups/b2/rdb')).toBeNull();

    answers.push(fault('ENOSPC'));
    expect(await thrownBy(() => write('backups/b3/rdb', 4))).toMatchObject({ code: 'STORAGE_FULL' });
    expect(await temporaries()).toEqual([]);
  });

  it('says the position of a read fault', async () => {
    await put(await open(), 'x', Buffer.alloc(700_000));
    const store = await open(faulty({}, {
      read: async (into, position) => {
        if (position > 0n) throw fault('EIO');
        into.fill(0);
        return into.length;
      },
    }));
    const error = await thrownBy(() => readAll(store, 'x'));
    expect(error.code).toBe('STORAGE_IO');
    expect(error.message).toContain('byte 524288');
  });

  it('reports a file where a folder should be', async () => {
    await writeFile(join(root, 'backups'), 'in the way');
    const store = await open();
    const error = await thrownBy(() => store.create('backups/b1/rdb'));
    expect(error).toMatchObject({ code: 'STORAGE_IO', details: { errno: 'ENOTDIR' } });
  });

  it('does not follow links out of the store', async () => {
    await writeFile(join(folder, 'secret'), 's');
    await symlink(join(folder, 'secret'), join(root, 'link'));
    const store = await open();
    expect(await store.stat('link')).toBeNull();
    expect(await listAll(store)).toEqual([]);
    expect((await thrownBy(() => readAll(store, 'link'))).code).toBe('STORAGE_IO');
  });

  it('sweeps by the time of the last write', async () => {
    const store = await open();
    const old = await store.create('backups/b1/rdb');
    await old.write(Buffer.from('x'));
    const [name] = await temporaries();
    const hour = 3_600_000;
    await utimes(join(root, '.tmp', name!), new Date(), new Date(Date.now() - 2 * hour));
    const young = await store.create('backups/b2/rdb');
    await young.write(Buffer.from('x'));
    expect(await store.sweep({ olderThan: new Date(Date.now() - hour), keep: () => false })).toEqual(['backups/b1/rdb']);
    expect(await temporaries()).toHaveLength(1);
    await Promise.all([old.abort(), young.abort()]);
    expect(await temporaries()).toEqual([]);
  });

  it('sweeps folders that hold nothing, and markers that were not put in place; what is in use stays', async () => {
    const store = await open();
    await put(store, 'backups/b1/rdb', Buffer.from('x'));
    for (const name of ['b2', 'b3']) await mkdir(join(root, 'backups', name));
    await writeFile(join(root, '.snapback-store.half'), '{');
    const old = new Date(Date.now() - 7_200_000);
    for (const path of ['backups/b1', 'backups/b2', 'backups', '.snapback-store', '.snapback-store.half']) await utimes(join(root, path), old, old);
    await store.sweep({ olderThan: new Date(Date.now() - 3_600_000), keep: () => false });
    expect(await readdir(join(root, 'backups'))).toEqual(['b1', 'b3']);
    expect((await readdir(root)).sort()).toEqual(['.snapback-store', '.tmp', 'backups']);
    expect((await readAll(store, 'backups/b1/rdb')).toString()).toBe('x');
  });
});

/** A real file system of 1 MiB; needs the right to mount. */
const mountTiny = (path: string): boolean => {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

describe('file system store on a volume of its own', () => {
  let folder: string;
  let mounted = false;
  beforeEach(async () => {
    folder = await scratch();
    mounted = mountTiny(folder);
  });
  afterEach(async () => {
    if (mounted) execFileSync('umount', ['-l', folder]);
    await rm(folder, { recursive: true, force: true });
  });

  it('full, read-only, unmounted: each its code, what was sealed stays', async ({ annotate }) => {
    if (!mounted) {
      await annotate('Mounting is not allowed here: only the injected faults above were run.', 'warning');
      return;
    }
    const root = join(folder, 'store');
    const store = await openFilesystemStore({ root, create: true });
    await put(store, 'backups/b1/rdb', Buffer.alloc(100_000, 7));

    const full = await thrownBy(async () => {
      const writer = await store.create('backups/b2/rdb');
      for (let i = 0; i < 64; i += 1) await writer.write(Buffer.alloc(65_536));
      await writer.commit();
    });
    expect(full.code).toBe('STORAGE_FULL');
    expect(await readdir(join(root, '.tmp'))).toEqual([]);
    const roomy = await store.check();
    expect(roomy.writable).toBe(true);
    expect(roomy.freeBytes).toBeGreaterThan(0n);
    expect(roomy.freeBytes).toBeLessThan(1_048_576n);

    execFileSync('mount', ['-o', 'remount,ro', folder]);
    expect((await thrownBy(() => store.create('backups/b3/rdb'))).code).toBe('STORAGE_PERMISSION');
    expect((await thrownBy(() => store.remove('backups/b1/rdb'))).code).toBe('STORAGE_PERMISSION');
    expect(await store.check()).toMatchObject({ writable: false, problem: { code: 'STORAGE_PERMISSION' } });
    expect((await readAll(await openFilesystemStore({ root, create: false }), 'backups/b1/rdb')).length).toBe(100_000);

    execFileSync('umount', [folder]);
    mounted = false;
    const gone = await thrownBy(() => listAll(store));
    expect(gone).toMatchObject({ code: 'STORAGE_IO' });
    expect(gone.message).toContain('not mounted');
    expect((await thrownBy(() => openFilesystemStore({ root, create: false }))).code).toBe('STORAGE_IO');
  });
});
