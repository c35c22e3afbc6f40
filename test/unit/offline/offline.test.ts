import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { openFilesystemStore } from '../../../server/engine/store/filesystem.js';
import { nodeFsOps, type FsOps } from '../../../server/engine/store/fs-ops.js';
import { readOnly } from '../../../server/engine/store/read-only.js';
import { type Store } from '../../../server/engine/store/store.js';
import { extract } from '../../../server/offline/extract.js';
import { createOutputFile } from '../../../server/offline/output-file.js';
import { printable, size, table } from '../../../server/offline/text.js';
import { memoryStore } from '../../kit/memory-store.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { BACKUP_ID, rdbOf, RING, writeArchive } from '../archive/archive-kit.js';

const { plain, rdb } = rdbOf(2_000_000, 1);
let folder: string;
beforeEach(() => { folder = makeTempDir('offline'); });
afterEach(() => removeTempDir(folder));

describe('an output file', () => {
  const files = (): string[] => readdirSync(folder);

  it('is there whole, for its owner alone, or not at all', async () => {
    const path = join(folder, 'out');
    const file = await createOutputFile(path, { replace: false });
    await file.write(Buffer.from('one '));
    await file.write(Buffer.from('two'));
    expect(files()).toEqual([expect.stringMatching(/^\.out\.[0-9a-f]+\.partial$/)]);
    await file.commit();
    await file.abort();
    expect([files(), readFileSync(path, 'utf8'), statSync(path).mode & 0o777]).toEqual([['out'], 'one two', 0o600]);
    const other = await createOutputFile(join(folder, 'other'), { replace: false });
    await other.write(Buffer.from('half'));
    await other.abort();
    await other.abort();
    expect(files()).toEqual(['out']);
  });

  it('never takes the place of another one that nobody allowed it to replace, however late that comes', async () => {
    const path = join(folder, 'out');
    const file = await createOutputFile(path, { replace: false });
    writeFileSync(path, 'came in between');
    await expect(file.commit()).rejects.toMatchObject({ code: 'CONFLICT', hint: expect.stringContaining('--force') as string });
    await file.abort();
    expect([files(), readFileSync(path, 'utf8')]).toEqual([['out'], 'came in between']);
    await expect(createOutputFile(path, { replace: false })).rejects.toMatchObject({ code: 'CONFLICT' });
    const replacing = await createOutputFile(path, { replace: true });
    await replacing.write(Buffer.from('new'));
    expect(readFileSync(path, 'utf8')).toBe('came in between');
    await replacing.commit();
    expect([files(), readFileSync(path, 'utf8')]).toEqual([['out'], 'new']);
    mkdirSync(join(folder, 'sub'));
    await expect(createOutputFile(join(folder, 'sub'), { replace: true })).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(createOutputFile(join(folder, 'no', 'folder'), { replace: true })).rejects.toMatchObject({ code: 'STORAGE_IO' });
  });
});

describe('an extraction', () => {
  const silent = { out: () => Promise.resolve(), err: () => undefined, progress: () => undefined };

  it('that is stopped in the middle leaves nothing', async () => {
    const store = memoryStore();
    await writeArchive(store, plain, {}, { rdb });
    const stop = new AbortController();
    const stopping = { ...silent, progress: () => stop.abort(new DomainError('INTERRUPTED', 'Stopped.')) };
    await expect(extract({ store, keys: RING }, { backupId: BACKUP_ID, to: join(folder, 'out'), force: false }, stopping, stop.signal)).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('that fails replaces nothing, though it might', async () => {
    const store = memoryStore();
    await writeArchive(store, plain, {}, { rdb: { ...rdb, keys: 1n } });
    writeFileSync(join(folder, 'out'), 'kept');
    expect(await extract({ store, keys: RING }, { backupId: BACKUP_ID, to: join(folder, 'out'), force: true }, silent, new AbortController().signal)).toBe(1);
    expect([readdirSync(folder), readFileSync(join(folder, 'out'), 'utf8')]).toEqual([['out'], 'kept']);
  });
});

describe('a store that is only read', () => {
  it('lets nothing through that would change it', async () => {
    const inner = memoryStore(new Map([['a/b', Buffer.from('x')]]));
    const store = readOnly(inner);
    for (const change of [store.create('a/c'), store.remove('a/b'), store.sweep({ olderThan: new Date(), keep: () => false }), store.claim('x', null)]) await expect(change).rejects.toMatchObject({ code: 'CONFLICT' });
    expect((await store.check()).writable).toBe(false);
    expect(await store.stat('a/b')).toMatchObject({ size: 1n });
  });

  it('is opened without a single call that changes something, with a marker or without one', async () => {
    const changes: string[] = [];
    const watching = new Proxy(nodeFsOps, {
      get: (target, name) => {
        if (!['openFile', 'readFile', 'names', 'stat'].includes(String(name))) changes.push(String(name));
        return Reflect.get(target, name) as unknown;
      },
    }) as FsOps;
    const use = async (store: Store): Promise<string[]> => {
      const keys: string[] = [];
      for await (const { key } of store.list('')) keys.push(key);
      expect(await store.stat('backups/x/y')).toBeNull();
      return keys;
    };
    const root = join(folder, 'store');
    await writeArchive(await openFilesystemStore({ root, create: true }), plain, {}, { rdb });
    const marked = await use(await openFilesystemStore({ root, create: false, readOnly: true, fs: watching }));
    expect(marked).toHaveLength(3);
    await nodeFsOps.unlink(join(root, '.snapback-store'));
    expect(await use(await openFilesystemStore({ root, create: false, readOnly: true, fs: watching }))).toEqual(marked);
    expect(changes).toEqual([]);
    await expect(openFilesystemStore({ root, create: false })).rejects.toMatchObject({ code: 'STORAGE_IO' });
  });

  it('is none where there are neither archives nor a marker: the volume may not be mounted', async () => {
    for (const root of [folder, join(folder, 'nowhere')]) await expect(openFilesystemStore({ root, create: false, readOnly: true })).rejects.toMatchObject({ code: 'STORAGE_IO', details: { marker: 'MISSING' } });
    const root = join(folder, 'store');
    await writeArchive(await openFilesystemStore({ root, create: true }), plain, {}, { rdb });
    const store = await openFilesystemStore({ root, create: false, readOnly: true });
    await nodeFsOps.rename(root, `${root}.aside`);
    await expect(store.stat(`backups/${BACKUP_ID}/manifest`)).rejects.toMatchObject({ code: 'STORAGE_IO' });
  });
});

describe('what is printed', () => {
  it('drives no terminal', () => {
    expect(printable('a\u001b[31mb\n\u202ec\ud800 größe 夜 \u{1f4e6}')).toBe('a\\u{1b}[31mb\\u{a}\\u{202e}c\\u{d800} größe 夜 \u{1f4e6}');
  });
  it('has three figures and a unit', () => {
    expect([0n, 999n, 1024n, 10_240n, 123_456n, 1_048_576n, 5n * 1024n ** 3n, 4_000n * 1024n ** 4n].map(size)).toEqual(['0 B', '999 B', '1.00 KiB', '10.0 KiB', '121 KiB', '1.00 MiB', '5.00 GiB', '4000 TiB']);
  });
  it('stands in columns', () => {
    expect(table([['A', 'BB', 'C'], ['aaa', 'b', 'c c']])).toBe('A    BB  C\naaa  b   c c\n');
  });
});
