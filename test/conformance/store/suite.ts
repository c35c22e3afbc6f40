import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { type ReadOptions, type Store, type StoredObject } from '../../../server/engine/store/store.js';

export interface StoreFixture {
  store: Store;
  /** Bytes of an unsealed object from which on something of it is in the storage, and stays there when its process dies. */
  tracedFrom: number;
  /** A second handle on the same storage, as another process would have. */
  reopen(): Promise<Store>;
  dispose(): Promise<void>;
}

const bytes = (length: number, seed = 1): Buffer => {
  const out = Buffer.alloc(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
};

export const readAll = async (store: Store, key: string, options?: ReadOptions): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  for await (const part of store.read(key, options)) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
};

export const put = async (store: Store, key: string, content: Uint8Array): Promise<void> => {
  const writer = await store.create(key);
  await writer.write(content);
  await writer.commit();
};

export const listAll = async (store: Store, prefix = ''): Promise<StoredObject[]> => {
  const found: StoredObject[] = [];
  for await (const object of store.list(prefix)) found.push(object);
  return found;
};

const failsWith = async (code: string, run: () => Promise<unknown>, mentions?: string): Promise<void> => {
  const error: unknown = await run().then(() => undefined, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DomainError);
  expect((error as DomainError).code).toBe(code);
  if (mentions !== undefined) expect((error as DomainError).message).toContain(mentions);
};

const tomorrow = (): Date => new Date(Date.now() + 86_400_000);

/** What every store must do, whatever it is made of. `open` gives each test an empty store of its own. */
export const storeConformance = (name: string, open: () => Promise<StoreFixture>): void => {
  describe(`store contract: ${name}`, () => {
    let fixture: StoreFixture;
    let store: Store;
    beforeEach(async () => {
      fixture = await open();
      store = fixture.store;
    });
    afterEach(() => fixture.dispose());

    it('gives back what was written, in any number of chunks', async () => {
      const content = bytes(3_000_017);
      const writer = await store.create('backups/b1/rdb');
      for (let at = 0, size = 1; at < content.length; at += size, size = (size * 7) % 400_009) {
        await writer.write(content.subarray(at, at + size));
      }
      await writer.commit();
      expect((await readAll(store, 'backups/b1/rdb')).equals(content)).toBe(true);
      expect((await store.stat('backups/b1/rdb'))?.size).toBe(3_000_017n);
    });

    it('does not keep the caller\'s buffer', async () => {
      const writer = await store.create('a');
      const buffer = Buffer.from('first');
      await writer.write(buffer);
      buffer.write('XXXXX');
      await writer.write(buffer.subarray(0, 0));
      await writer.commit();
      expect((await readAll(store, 'a')).toString()).toBe('first');
    });

    it('keeps empty objects', async () => {
      const writer = await store.create('empty');
      await writer.commit();
      expect((await store.stat('empty'))?.size).toBe(0n);
      expect((await readAll(store, 'empty')).length).toBe(0);
    });

    it('reads ranges, short or empty behind the end', async () => {
      const content = bytes(1_300_000, 9);
      await put(store, 'r', content);
      const cases: [bigint | undefined, bigint | undefined][] = [
        [undefined, undefined], [0n, 0n], [0n, 1n], [5n, undefined], [524_287n, 2n], [524_288n, 524_288n], [1_299_999n, 1n], [1_299_999n, 10n],
        [1_300_000n, 5n], [2_000_000n, undefined], [undefined, 9_000_000n],
      ];
      for (const [offset, length] of cases) {
        const start = Number(offset ?? 0n);
        const want = content.subarray(start, length === undefined ? undefined : start + Number(length));
        expect((await readAll(store, 'r', { offset, length })).equals(want), `${String(offset)}+${String(length)}`).toBe(true);
      }
      await failsWith('BAD_INPUT', () => readAll(store, 'r', { offset: -1n }));
      await failsWith('BAD_INPUT', () => readAll(store, 'r', { length: -1n }));
    });

    it('reads in pieces of at most 1 MiB that are the reader\'s own until it asks for the next, however long that takes', async () => {
      const content = bytes(2_500_000, 3);
      await put(store, 'pieces', content);
      const parts: Uint8Array[] = [];
      for await (const part of store.read('pieces')) {
        expect(part.length).toBeLessThanOrEqual(1024 * 1024);
        await new Promise((resolve) => setImmediate(resolve));
        parts.push(Buffer.from(part));
        part.fill(0xee);
      }
      expect(Buffer.concat(parts).equals(content)).toBe(true);
    });

    it('lets a reader stop in the middle, and others read at the same time', async () => {
      const content = bytes(2_000_000, 4);
      await put(store, 'shared', content);
      for await (const part of store.read('shared')) {
        expect(part.length).toBeGreaterThan(0);
        break;
      }
      const [a, b] = await Promise.all([readAll(store, 'shared'), readAll(store, 'shared', { offset: 1_000_000n })]);
      expect(a.equals(content)).toBe(true);
      expect(b.equals(content.subarray(1_000_000))).toBe(true);
    });

    it('hides an object until it is committed', async () => {
      const writer = await store.create('backups/b1/rdb');
      await writer.write(bytes(700_000));
      expect(await store.stat('backups/b1/rdb')).toBeNull();
      expect(await listAll(store)).toEqual([]);
      await failsWith('NOT_FOUND', () => readAll(store, 'backups/b1/rdb'), 'backups/b1/rdb');
      await writer.commit();
      expect((await listAll(store)).map((object) => object.key)).toEqual(['backups/b1/rdb']);
      expect((await (await fixture.reopen()).stat('backups/b1/rdb'))?.size).toBe(700_000n);
    });

    it('leaves nothing of an aborted object', async () => {
      const writer = await store.create('backups/b1/rdb');
      await writer.write(bytes(100_000));
      await writer.abort();
      await writer.abort();
      expect(await listAll(store)).toEqual([]);
      expect(await store.sweep({ olderThan: tomorrow(), keep: () => false })).toEqual([]);
      await failsWith('CONFLICT', () => writer.write(bytes(1)));
      await failsWith('CONFLICT', () => writer.commit());
      await put(store, 'backups/b1/rdb', bytes(10));
    });

    it('writes once: a taken key is CONFLICT, also when it was taken in between', async () => {
      const late = await store.create('k/one');
      await late.write(Buffer.from('late'));
      await put(store, 'k/one', Buffer.from('first'));
      await failsWith('CONFLICT', () => store.create('k/one'), 'k/one');
      await failsWith('CONFLICT', () => late.commit(), 'k/one');
      expect((await readAll(store, 'k/one')).toString()).toBe('first');
      expect(await store.sweep({ olderThan: tomorrow(), keep: () => false })).toEqual([]);
    });

    it('lets exactly one of many racing writers win', async () => {
      const writers = await Promise.all(Array.from({ length: 8 }, () => store.create('race/x')));
      await Promise.all(writers.map((writer, i) => writer.write(Buffer.from([i]))));
      const outcomes = await Promise.allSettled(writers.map((writer) => writer.commit()));
      const won = outcomes.flatMap((outcome, i) => (outcome.status === 'fulfilled' ? [i] : []));
      expect(won).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect((outcome.reason as DomainError).code).toBe('CONFLICT');
      }
      expect([...(await readAll(store, 'race/x'))]).toEqual(won);
    });

    it('ignores abort after commit', async () => {
      const writer = await store.create('done');
      await writer.write(Buffer.from('x'));
      await writer.commit();
      await writer.abort();
      expect((await readAll(store, 'done')).toString()).toBe('x');
      await failsWith('CONFLICT', () => writer.write(Buffer.from('y')));
    });

    it('stats unknown keys as null and reads them as NOT_FOUND', async () => {
      expect(await store.stat('backups/none/manifest')).toBeNull();
      await failsWith('NOT_FOUND', () => readAll(store, 'backups/none/manifest'), 'backups/none/manifest');
    });

    it('removes, and again without complaint; the key is free after it', async () => {
      await put(store, 'backups/b1/rdb', bytes(10));
      await put(store, 'backups/b1/manifest', bytes(10));
      await store.remove('backups/b1/manifest');
      await store.remove('backups/b1/manifest');
      await store.remove('backups/never/was');
      expect((await listAll(store)).map((object) => object.key)).toEqual(['backups/b1/rdb']);
      await store.remove('backups/b1/rdb');
      expect(await listAll(store)).toEqual([]);
      await put(store, 'backups/b1/manifest', Buffer.from('anew'));
      expect((await readAll(store, 'backups/b1/manifest')).toString()).toBe('anew');
    });

    it('commits next to removals in the same folder', async () => {
      for (let turn = 0; turn < 20; turn += 1) {
        await put(store, 'f/old', bytes(1));
        await Promise.all([put(store, 'f/new', bytes(2)), store.remove('f/old')]);
        expect((await listAll(store)).map((object) => object.key)).toEqual(['f/new']);
        await store.remove('f/new');
      }
    });

    it('makes first objects while removals empty what is above them', async () => {
      for (let turn = 0; turn < 40; turn += 1) {
        const writes = ['a', 'b', 'c'].map((name) => put(store, `g/${name}${String(turn)}/new`, bytes(1)));
        await Promise.all([...writes, ...['x', 'y', 'z'].map((name) => store.remove(`g/${name}/never`))]);
        await Promise.all(['a', 'b', 'c'].map((name) => store.remove(`g/${name}${String(turn)}/new`)));
      }
      expect(await listAll(store)).toEqual([]);
    });

    it('lists by prefix, in byte order, with sizes and times', async () => {
      const before = Date.now();
      const keys = ['backups/a/manifest', 'backups/a/rdb', 'backups/a-b/rdb', 'backups/a.b', 'backups/b/rdb', 'other/x', 'top'];
      for (const [i, key] of keys.entries()) await put(store, key, bytes(i));
      const all = await listAll(store);
      expect(all.map((object) => object.key)).toEqual([...keys].sort());
      for (const { key, size, modifiedAt } of all) {
        expect(size).toBe(BigInt(keys.indexOf(key)));
        expect(modifiedAt.getTime()).toBeGreaterThan(before - 60_000);
        expect(modifiedAt.getTime()).toBeLessThan(Date.now() + 60_000);
      }
      expect((await listAll(store, 'backups/a/')).map((object) => object.key)).toEqual(['backups/a/manifest', 'backups/a/rdb']);
      expect(await listAll(store, 'backups/none/')).toEqual([]);
      const behind = async (prefix: string, after: string): Promise<string[]> => {
        const found: string[] = [];
        for await (const { key } of store.list(prefix, { after })) found.push(key);
        return found;
      };
      expect(await behind('', 'backups/a/rdb')).toEqual(['backups/b/rdb', 'other/x', 'top']);
      expect(await behind('backups/', 'backups/a.b')).toEqual(['backups/a/manifest', 'backups/a/rdb', 'backups/b/rdb']);
      expect(await behind('', 'zzz')).toEqual([]);
      await failsWith('BAD_INPUT', () => listAll(store, 'backups/a'));
      await failsWith('BAD_INPUT', () => listAll(store, '../'));
    });

    it('refuses keys that are not plain segments', async () => {
      const bad = [
        '', '/', '/etc/passwd', 'a/', '/a', 'a//b', '.', '..', '../x', 'a/../b', 'a/./b', '.hidden', 'a/.tmp', 'a\\b', 'C:x', 'a b', 'ä', 'a\0b', 'a\nb',
        'a%2f', 'a+b', 'a~b', '-x', 'x'.repeat(129), Array.from({ length: 300 }, () => 'ab').join('/'),
      ];
      for (const key of bad) {
        await failsWith('BAD_INPUT', () => store.create(key));
        await failsWith('BAD_INPUT', () => readAll(store, key));
        await failsWith('BAD_INPUT', () => store.stat(key));
        await failsWith('BAD_INPUT', () => store.remove(key));
      }
      expect(await listAll(store)).toEqual([]);
    });

    it('sweeps what a crash left, but nothing young, claimed or sealed', async () => {
      await put(store, 'backups/sealed/manifest', bytes(5));
      // A process that dies neither commits nor aborts.
      const dead = await store.create('backups/dead/rdb');
      await dead.write(bytes(fixture.tracedFrom));
      const alive = await store.create('backups/alive/rdb');
      await alive.write(bytes(fixture.tracedFrom));
      const later = await fixture.reopen();
      expect(await later.sweep({ olderThan: new Date(Date.now() - 3_600_000), keep: () => false })).toEqual([]);
      expect(await later.sweep({ olderThan: tomorrow(), keep: (key) => key.startsWith('backups/alive/') })).toEqual(['backups/dead/rdb']);
      expect(await later.sweep({ olderThan: tomorrow(), keep: (key) => key.startsWith('backups/alive/') })).toEqual([]);
      await alive.commit();
      await failsWith('STORAGE_IO', () => dead.commit(), 'backups/dead/rdb');
      expect((await listAll(store)).map((object) => object.key)).toEqual(['backups/alive/rdb', 'backups/sealed/manifest']);
    });

    it('stops at an aborted signal with its reason, and keeps nothing', async () => {
      await put(store, 'big', bytes(3_000_000));
      const reason = new DomainError('TOO_SLOW', 'Too slow.');
      const reading = new AbortController();
      await failsWith('TOO_SLOW', async () => {
        for await (const part of store.read('big', { signal: reading.signal })) {
          expect(part.length).toBeGreaterThan(0);
          reading.abort(reason);
        }
      });
      await failsWith('TOO_SLOW', () => store.create('never', { signal: reading.signal }));
      const writing = new AbortController();
      const writer = await store.create('cut', { signal: writing.signal });
      await writer.write(bytes(10));
      writing.abort(reason);
      await failsWith('TOO_SLOW', () => writer.write(bytes(10)));
      await failsWith('TOO_SLOW', () => writer.commit());
      await writer.abort();
      expect((await listAll(store)).map((object) => object.key)).toEqual(['big']);
      expect(await store.sweep({ olderThan: tomorrow(), keep: () => false })).toEqual([]);
    });

    it('proves that it can be written to, and leaves no trace of it', async () => {
      const health = await store.check();
      expect(health).toMatchObject({ writable: true, problem: null });
      if (health.freeBytes !== null) expect(health.freeBytes > 0n).toBe(true);
      expect(await listAll(store)).toEqual([]);
      expect(await store.sweep({ olderThan: tomorrow(), keep: () => false })).toEqual([]);
    });

    it('has an id that another handle sees too', async () => {
      expect(store.id).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
      expect((await fixture.reopen()).id).toBe(store.id);
    });

    it('is one catalogue\'s: whoever claims it names whom it belonged to', async () => {
      expect(await store.owner()).toBeNull();
      expect(await store.claim('one', 'somebody')).toBeNull();
      expect(await store.claim('one', null)).toBe('one');
      const other = await fixture.reopen();
      expect([await other.owner(), other.id]).toEqual(['one', store.id]);
      expect(await other.claim('two', null)).toBe('one');
      expect(await other.claim('two', 'one')).toBe('two');
      expect(await store.owner()).toBe('two');
      await put(store, 'backups/b1/rdb', Buffer.from('x'));
      expect((await fixture.reopen()).id).toBe(store.id);
    });

    it('never lacks its marker while it changes hands', async () => {
      const looks: Promise<unknown>[] = [];
      let owner: string | null = null;
      for (let turn = 0; turn < 20; turn += 1) {
        looks.push(listAll(store), store.owner());
        owner = await store.claim(`catalogue-${turn}`, owner);
        expect(owner).toBe(`catalogue-${turn}`);
      }
      await Promise.all(looks);
    });
  });
};
