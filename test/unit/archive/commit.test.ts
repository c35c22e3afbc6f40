import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { createArchive, listArchives, openArchive, removeArchive, removeAttempts, type ArchiveEntry } from '../../../server/engine/archive/archive.js';
import { nodeFsOps, type FsOps } from '../../../server/engine/store/fs-ops.js';
import { type Store } from '../../../server/engine/store/store.js';
import { MASTER, RING, BACKUP_ID, OTHER_ID, facts, randomBytesOf, readPlain, scratchStore, textOf, writeArchive, type Scratch } from './archive-kit.js';

const entries = async (store: Store): Promise<ArchiveEntry[]> => {
  const found: ArchiveEntry[] = [];
  for await (const entry of listArchives(store)) found.push(entry);
  return found;
};

describe('archive commit protocol', () => {
  let at: Scratch;
  afterEach(() => at.dispose());
  /** The folder that all archives share stays; what lies in it counts. */
  const leftovers = async (): Promise<string[]> => {
    const shared = await readdir(join(at.root, 'backups')).catch(() => []);
    return [...(await readdir(at.root)).filter((name) => name !== 'backups'), ...await readdir(join(at.root, '.tmp')), ...shared].sort();
  };
  const NOTHING = ['.snapback-store', '.tmp'];

  it('shows nothing before the manifest, everything after', async () => {
    at = await scratchStore();
    const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID });
    await writer.write(textOf(3_000_000, 1));
    expect(await entries(at.store)).toEqual([]);
    await expect(openArchive(at.store, BACKUP_ID, { keys: RING })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const manifest = await writer.seal(facts());
    const [entry, ...more] = await entries(at.store);
    expect(more).toEqual([]);
    expect(entry).toMatchObject({ backupId: BACKUP_ID, sealed: true, keys: ['key.' + MASTER.id, 'manifest', 'rdb'].map((name) => `backups/${BACKUP_ID}/${name}`) });
    expect(entry!.size).toBe(manifest.artifacts[0].storedSize + 76n + BigInt((await at.get(`backups/${BACKUP_ID}/manifest`)).length));
    await writer.abort();
    expect((await entries(at.store)).map((one) => one.sealed)).toEqual([true]);
    await expect(createArchive(at.store, { keys: RING, backupId: BACKUP_ID })).rejects.toMatchObject({ code: 'CONFLICT' });
  });

  it('leaves nothing of an aborted archive, at any moment, twice too', async () => {
    at = await scratchStore();
    for (const size of [0, 1, 3_000_000]) {
      const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID });
      // Not awaited: the abort comes while blocks are being compressed and written.
      const writing = writer.write(randomBytesOf(size, 2)).catch((error: unknown) => error);
      await Promise.all([writer.abort(), writing]);
      await writer.abort();
      await expect(writer.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'CONFLICT' });
      await expect(writer.seal(facts())).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await leftovers()).toEqual(NOTHING);
    }
  });

  it('a dead process leaves temporaries only, which the sweep takes; the id is free', async () => {
    at = await scratchStore();
    const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID });
    await writer.write(textOf(2_000_000, 3));
    expect(await entries(at.store)).toEqual([]);
    const olderThan = new Date(Date.now() + 60_000);
    expect(await at.store.sweep({ olderThan, keep: (key) => key.includes(BACKUP_ID) })).toEqual([]);
    expect(await at.store.sweep({ olderThan, keep: () => false })).toEqual([`backups/${BACKUP_ID}/rdb`]);
    expect(await leftovers()).toEqual(NOTHING);
    await expect(writer.seal(facts())).rejects.toMatchObject({ code: 'STORAGE_IO' });
    await writer.abort();
    await writeArchive(at.store, textOf(10, 4));
    expect((await readPlain(at.store)).length).toBe(10);
  });

  it('without its manifest an archive is a leftover that can be removed', async () => {
    at = await scratchStore();
    await writeArchive(at.store, textOf(1000, 5));
    await writeArchive(at.store, textOf(1000, 6), { backupId: OTHER_ID });
    await at.store.remove(`backups/${BACKUP_ID}/manifest`);
    expect((await entries(at.store)).map(({ backupId, sealed }) => [backupId, sealed])).toEqual([[BACKUP_ID, false], [OTHER_ID, true]]);
    await expect(openArchive(at.store, BACKUP_ID, { keys: RING })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(createArchive(at.store, { keys: RING, backupId: BACKUP_ID })).rejects.toMatchObject({ code: 'CONFLICT' });
    await removeArchive(at.store, BACKUP_ID);
    await removeArchive(at.store, BACKUP_ID);
    expect((await entries(at.store)).map((one) => one.backupId)).toEqual([OTHER_ID]);
    await writeArchive(at.store, textOf(7, 7));
    expect((await readPlain(at.store)).length).toBe(7);
  });

  it('removes the manifest first: stopped at any step, it is gone or still whole', async () => {
    at = await scratchStore();
    for (let stopAt = 1; stopAt <= 3; stopAt += 1) {
      // The wrapped key sorts before the manifest.
      await writeArchive(at.store, textOf(1000, 8));
      let calls = 0;
      const dying: Store = Object.assign(Object.create(at.store) as Store, {
        remove: (name: string) => (++calls === stopAt ? Promise.reject(new Error('killed')) : at.store.remove(name)),
      });
      await expect(removeArchive(dying, BACKUP_ID)).rejects.toThrow('killed');
      const [entry] = await entries(at.store);
      expect(entry).toMatchObject(stopAt === 1 ? { sealed: true } : { sealed: false });
      expect(entry?.keys).toHaveLength(4 - stopAt);
      await removeArchive(at.store, BACKUP_ID);
      expect(await entries(at.store)).toEqual([]);
    }
  });

  const fault = (code: string): Promise<never> => Promise.reject(Object.assign(new Error(code), { code }));
  const failing: [string, string, () => FsOps][] = [
    ['disk full in the middle', 'STORAGE_FULL', () => {
      let left = 1_500_000;
      return { ...nodeFsOps, createFile: async (path) => {
        const file = await nodeFsOps.createFile(path);
        return { ...file, append: (chunk) => ((left -= chunk.length) < 0 ? fault('ENOSPC') : file.append(chunk)) };
      } };
    }],
    ['fsync of the data', 'STORAGE_IO', () => ({ ...nodeFsOps, createFile: async (path) => ({
      ...await nodeFsOps.createFile(path), sync: () => (path.includes('+rdb~') ? fault('EIO') : Promise.resolve()),
    }) })],
    ['fsync of the key', 'STORAGE_IO', () => ({ ...nodeFsOps, createFile: async (path) => ({
      ...await nodeFsOps.createFile(path), sync: () => (path.includes('+key.') ? fault('EIO') : Promise.resolve()),
    }) })],
    ['fsync of the manifest', 'STORAGE_IO', () => ({ ...nodeFsOps, createFile: async (path) => ({
      ...await nodeFsOps.createFile(path), sync: () => (path.includes('+manifest~') ? fault('EIO') : Promise.resolve()),
    }) })],
    ['link of the manifest', 'STORAGE_PERMISSION', () => ({
      ...nodeFsOps, link: (from, to) => (to.endsWith('/manifest') ? fault('EACCES') : nodeFsOps.link(from, to)),
    })],
  ];
  for (const [name, code, make] of failing) {
    it(`a fault leaves nothing after abort: ${name}`, async () => {
      at = await scratchStore(make());
      const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID });
      const run = async (): Promise<void> => {
        for (let i = 0; i < 40; i += 1) await writer.write(randomBytesOf(100_000, i));
        await writer.seal(facts());
      };
      await expect(run()).rejects.toMatchObject({ code });
      await writer.abort();
      expect(await leftovers()).toEqual(NOTHING);
      await expect(openArchive(at.store, BACKUP_ID, { keys: RING })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });
  }

  it('stops at its signal with the reason', async () => {
    at = await scratchStore();
    const stop = new AbortController();
    const reason = new DomainError('LIMIT_EXCEEDED', 'Too much.');
    const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID, signal: stop.signal });
    await writer.write(textOf(1_000_000, 9));
    stop.abort(reason);
    await expect(writer.write(Buffer.from('x'))).rejects.toBe(reason);
    await expect(writer.seal(facts())).rejects.toBe(reason);
    await writer.abort();
    expect(await leftovers()).toEqual(NOTHING);
  });

  describe('two attempts at one backup, of which the first only slept', () => {
    /** An archive that is written whole; only its seal is left to do. */
    const written = async (attempt: number, plain: Buffer) => {
      const writer = await createArchive(at.store, { keys: RING, backupId: BACKUP_ID, attempt });
      await writer.write(plain);
      return writer;
    };
    const owned = (): Promise<void> => Promise.resolve();
    const lost = (): Promise<void> => Promise.reject(new DomainError('INTERRUPTED', 'Lost.'));
    const [old, fresh] = [textOf(700_000, 10), randomBytesOf(600_000, 11)];
    const keys = async (): Promise<string[]> => (await entries(at.store)).flatMap((entry) => entry.keys.map((key) => key.split('/')[2]!));

    it('the one that woke up neither replaces nor removes what the next one has sealed', async () => {
      at = await scratchStore();
      const sleeper = await written(1, old);
      const next = await written(2, fresh);
      await next.seal(facts(), owned);
      await expect(sleeper.seal(facts(), lost)).rejects.toMatchObject({ code: 'INTERRUPTED' });
      await sleeper.abort();
      expect(await keys()).toEqual([`key.${MASTER.id}.2`, 'manifest', 'rdb.2']);
      expect((await readPlain(at.store)).equals(fresh)).toBe(true);
    });

    it('also when it had asked before it fell asleep', async () => {
      at = await scratchStore();
      const sleeper = await written(1, old);
      const next = await written(2, fresh);
      // Between its last question and its manifest, the other one seals.
      let asked = 0;
      const asleep = async (): Promise<void> => {
        asked += 1;
        if (asked > 1) return lost();
        await next.seal(facts(), owned);
      };
      await expect(sleeper.seal(facts(), asleep)).rejects.toMatchObject({ code: 'INTERRUPTED' });
      await sleeper.abort();
      expect(await keys()).toEqual([`key.${MASTER.id}.2`, 'manifest', 'rdb.2']);
      expect((await readPlain(at.store)).equals(fresh)).toBe(true);
    });

    it('what it sealed, for want of knowing, is replaced by the one that counts; its data goes', async () => {
      at = await scratchStore();
      const sleeper = await written(1, old);
      const next = await written(2, fresh);
      await sleeper.seal(facts(), owned);
      await next.seal(facts(), owned);
      expect(await keys()).toEqual([`key.${MASTER.id}.2`, 'manifest', 'rdb.2']);
      expect((await readPlain(at.store)).equals(fresh)).toBe(true);
    });

    it('one that wakes up at its very beginning clears away what it and those before it left, and nothing of the next one', async () => {
      at = await scratchStore();
      const put = async (object: string): Promise<void> => {
        const writer = await at.store.create(`backups/${BACKUP_ID}/${object}`);
        await writer.commit();
      };
      for (const object of ['rdb', 'rdb.2', 'key.00000000', 'key.00000000.2', 'rdb.3', 'key.00000000.3']) await put(object);
      await removeAttempts(at.store, BACKUP_ID, 2);
      expect(await keys()).toEqual(['key.00000000.3', 'rdb.3']);
      await put('manifest');
      await at.tamper(`backups/${BACKUP_ID}/manifest`, Buffer.from(JSON.stringify({ artifacts: [{ object: 'rdb.3' }] })));
      await removeAttempts(at.store, BACKUP_ID, 2);
      expect(await keys()).toEqual(['key.00000000.3', 'manifest', 'rdb.3']);
      // One that nobody can read is in everybody's way.
      await at.tamper(`backups/${BACKUP_ID}/manifest`, Buffer.from('{'));
      await removeAttempts(at.store, BACKUP_ID, 3);
      expect(await keys()).toEqual([]);
    });

    it('nobody else replaces a sealed archive', async () => {
      at = await scratchStore();
      const other = await written(2, fresh);
      await writeArchive(at.store, old);
      await expect(other.seal(facts())).rejects.toMatchObject({ code: 'CONFLICT' });
      await other.abort();
      expect(await keys()).toEqual([`key.${MASTER.id}`, 'manifest', 'rdb']);
      expect((await readPlain(at.store)).equals(old)).toBe(true);
    });
  });
});
