import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createArchive, openArchive, SealingThreads, type CodecChoice } from '../../../server/engine/archive/archive.js';
import { nodeFsOps } from '../../../server/engine/store/fs-ops.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { transpile } from '../../kit/transpile.js';
import { waitFor } from '../../kit/wait.js';
import { BACKUP_ID, facts, KIB, randomBytesOf, readPlain, RING, scratchStore, textOf, type Scratch } from '../../unit/archive/archive-kit.js';

const B = 256 * KIB as 262144;

/** Keys enough for several blocks, of content that compresses and of content that does not. */
const rdbOf = (keys: number): Buffer => {
  const rdb = new RdbBuilder(11).select(0);
  for (let at = 0; at < keys; at += 1) rdb.string(`key ${String(at)}`, at % 2 === 0 ? textOf(3_000, at) : randomBytesOf(3_000, at));
  return rdb.build();
};

const counting = (): ((bytes: number) => Uint8Array) => {
  let next = 0;
  return (bytes) => Uint8Array.from({ length: bytes }, () => next++);
};

describe('sealing on threads', () => {
  let entry: URL;
  let threads: SealingThreads;
  let at: Scratch;
  beforeAll(() => {
    entry = pathToFileURL(join(transpile('server/engine', 'server/domain'), 'server/engine/archive/sealing/thread.js'));
    threads = new SealingThreads(entry, 2);
  });
  afterAll(() => threads.close());
  beforeEach(async () => { at = await scratchStore(); });
  afterEach(() => at.dispose());

  const objects = async (): Promise<string[]> => {
    const keys: string[] = [];
    for await (const { key } of at.store.list('')) keys.push(key);
    return keys;
  };
  const writeIn = async (plain: Uint8Array, writer: Awaited<ReturnType<typeof createArchive>>, chunk = 50_001): Promise<void> => {
    for (let from = 0; from < plain.length; from += chunk) await writer.write(plain.subarray(from, from + chunk));
  };

  const codecs: CodecChoice[] = [{ name: 'lz4' }, { name: 'brotli' }, { name: 'none' }];
  it.each(codecs.flatMap((codec) => [true, false].map((encrypted) => ({ codec, encrypted }))))('gives the same bytes as without ($codec.name, encrypted: $encrypted)', async ({ codec, encrypted }) => {
    for (const keys of [0, 1, 600]) {
      const plain = rdbOf(keys);
      const made: Buffer[] = [];
      for (const where of [undefined, threads]) {
        const writer = await createArchive(at.store, { backupId: BACKUP_ID, keys: encrypted ? RING : undefined, codec, blockSize: B, random: counting(), walk: true, threads: where });
        await writeIn(plain, writer);
        const rdb = await writer.content();
        expect(rdb).toMatchObject({ keys: BigInt(keys), bytes: BigInt(plain.length), integrity: 'STRUCTURE_AND_CHECKSUM' });
        await writer.seal(facts({ rdb }));
        made.push(await at.get(`backups/${BACKUP_ID}/rdb`), await at.get(`backups/${BACKUP_ID}/manifest`));
        expect((await readPlain(at.store)).equals(plain)).toBe(true);
        const reader = await openArchive(at.store, BACKUP_ID, { keys: RING });
        await reader.verify();
        for (const key of await objects()) await at.store.remove(key);
      }
      expect(made[0]?.equals(made[2] ?? Buffer.alloc(0))).toBe(true);
      expect(made[1]?.equals(made[3] ?? Buffer.alloc(0))).toBe(true);
    }
  });

  it('serves several archives at once, each with its own bytes', async () => {
    const plains = Array.from({ length: 7 }, (_, i) => rdbOf(200 + 40 * i));
    await Promise.all(plains.map(async (plain, i) => {
      const backupId = `bak_01hzy0000000000000000000b${String(i)}`;
      const writer = await createArchive(at.store, { backupId, keys: RING, blockSize: B, walk: true, threads });
      await writeIn(plain, writer, 20_000 + 977 * i);
      const rdb = await writer.content();
      const { backup, ...rest } = facts({ rdb });
      await writer.seal({ ...rest, backup });
      expect((await readPlain(at.store, undefined, backupId)).equals(plain)).toBe(true);
    }));
  });

  it('says what is wrong with the bytes while nobody writes, and leaves nothing behind', async () => {
    const broken = rdbOf(10);
    broken[broken.length - 1]! ^= 1;
    const writer = await createArchive(at.store, { backupId: BACKUP_ID, keys: RING, walk: true, threads });
    await writer.write(broken);
    await waitFor(() => writer.faulted.aborted, { message: 'the fault to show by itself' });
    expect(writer.faulted.reason).toMatchObject({ code: 'CORRUPT' });
    await expect(writer.write(Buffer.alloc(1)).then(() => writer.content())).rejects.toMatchObject({ code: 'CORRUPT' });
    await writer.abort();
    expect(await objects()).toEqual([]);
  });

  it.each([['more bytes', Buffer.from('more'), 'CORRUPT'], ['fewer', null, 'TRUNCATED']] as const)('refuses %s than the RDB has', async (_, more, code) => {
    const plain = rdbOf(3);
    const writer = await createArchive(at.store, { backupId: BACKUP_ID, keys: RING, walk: true, threads });
    await writer.write(more === null ? plain.subarray(0, -1) : Buffer.concat([plain, more]));
    await expect(writer.content()).rejects.toMatchObject({ code });
    await writer.abort();
    expect(await objects()).toEqual([]);
  });

  it('is held up by a store that stands still, within the depth of the pipeline', async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    let gated = false;
    const slow = await scratchStore({
      ...nodeFsOps,
      createFile: async (path) => {
        const file = await nodeFsOps.createFile(path);
        return { ...file, append: async (chunk) => { if (gated) await gate; await file.append(chunk); } };
      },
    });
    try {
      const plain = rdbOf(3_000);
      const writer = await createArchive(slow.store, { backupId: BACKUP_ID, keys: RING, blockSize: B, walk: true, threads });
      gated = true;
      const writing = writeIn(plain, writer);
      await waitFor(() => writer.plainBytes > 0n);
      let before = -1n;
      await waitFor(async () => {
        const still = writer.plainBytes === before;
        before = writer.plainBytes;
        await new Promise((resolve) => setTimeout(resolve, 50));
        return still;
      });
      expect(Number(writer.plainBytes)).toBeLessThanOrEqual(5 * B);
      release();
      await writing;
      await writer.seal(facts({ rdb: await writer.content() }));
      expect((await readPlain(slow.store)).equals(plain)).toBe(true);
    } finally {
      await slow.dispose();
    }
  });

  it('fails as the store does', async () => {
    let writes = 0;
    const failing = await scratchStore({
      ...nodeFsOps,
      createFile: async (path) => {
        const file = await nodeFsOps.createFile(path);
        return { ...file, append: (chunk) => (++writes > 3 ? Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })) : file.append(chunk)) };
      },
    });
    try {
      const writer = await createArchive(failing.store, { backupId: BACKUP_ID, keys: RING, blockSize: B, walk: true, threads });
      await expect(writeIn(rdbOf(3_000), writer).then(() => writer.content())).rejects.toMatchObject({ code: 'STORAGE_FULL' });
      await writer.abort();
    } finally {
      await failing.dispose();
    }
  });

  it('a thread that dies fails what it had, which leaves nothing behind; the next archive gets another', async () => {
    const mortal = new SealingThreads(entry, 1);
    try {
      const writer = await createArchive(at.store, { backupId: BACKUP_ID, keys: RING, blockSize: B, walk: true, threads: mortal });
      await writeIn(rdbOf(300), writer);
      await mortal.close();
      await waitFor(() => writer.faulted.aborted);
      await expect(writer.content()).rejects.toMatchObject({ code: 'INTERNAL', retryable: true });
      await writer.abort();
      expect(await objects()).toEqual([]);
      const plain = rdbOf(5);
      const again = await createArchive(at.store, { backupId: BACKUP_ID, keys: RING, walk: true, threads: mortal });
      await again.write(plain);
      await again.seal(facts({ rdb: await again.content() }));
      expect((await readPlain(at.store)).equals(plain)).toBe(true);
    } finally {
      await mortal.close();
    }
  });

  it('gives up in the middle and leaves nothing behind', async () => {
    const writer = await createArchive(at.store, { backupId: BACKUP_ID, keys: RING, blockSize: B, walk: true, threads });
    await writeIn(rdbOf(2_000), writer);
    await writer.abort();
    expect(await objects()).toEqual([]);
    await expect(writer.write(Buffer.alloc(1))).rejects.toMatchObject({ code: 'CONFLICT' });
  });
});
