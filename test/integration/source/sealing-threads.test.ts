import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createArchive, openArchive, SealingThreads, type CodecChoice } from '../../../server/engine/archive/archive.js';
import { nodeFsOps } from '../../../server/engine/store/fs-ops.js';
import { STAGE_BYTES } from '../../../server/engine/store/staging.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { transpile } from '../../kit/transpile.js';
import { waitFor } from '../../kit/wait.js';
import { BACKUP_ID, facts, KIB, randomBytesOf, readPlain, RING, scratchStore, textOf, writeArchive, type Scratch } from '../../unit/archive/archive-kit.js';

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

describe('blocks on threads', () => {
  let entry: URL;
  let threads: SealingThreads;
  let at: Scratch;
  beforeAll(() => {
    entry = pathToFileURL(join(transpile('server/data-thread.ts', 'server/engine', 'server/domain', 'server/security'), 'server/data-thread.js'));
    threads = new SealingThreads(entry, { most: 2 });
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
      // Half of it compresses to little, so that what the store stages may be twice as much of it.
      expect(Number(writer.plainBytes)).toBeLessThanOrEqual(5 * B + 2 * STAGE_BYTES);
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
    const mortal = new SealingThreads(entry, { most: 1 });
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

  const readThere = async (options: { cut?: [number, number]; release?: boolean; on?: SealingThreads } = {}): Promise<{ bytes: Buffer; memories: Set<ArrayBufferLike> }> => {
    const reader = await openArchive(at.store, BACKUP_ID, { keys: RING, threads: options.on ?? threads });
    const memories = new Set<ArrayBufferLike>();
    const parts: Uint8Array[] = [];
    const range = options.cut ? { start: BigInt(options.cut[0]), end: BigInt(options.cut[1]) } : {};
    for await (const piece of reader.read(range)) {
      memories.add(piece.buffer);
      parts.push(options.release ? Uint8Array.from(piece) : piece);
      if (options.release) reader.release(piece);
    }
    await reader.close();
    return { bytes: Buffer.concat(parts), memories };
  };

  it.each(codecs.flatMap((codec) => [true, false].map((encrypted) => ({ codec, encrypted }))))('are opened as they were sealed ($codec.name, encrypted: $encrypted)', async ({ codec, encrypted }) => {
    const plain = Buffer.concat(Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? textOf(100_000, i) : randomBytesOf(100_000, i))));
    await writeArchive(at.store, plain, { codec, blockSize: B, keys: encrypted ? RING : undefined });
    const kept = await readThere();
    expect(kept.bytes.equals(plain)).toBe(true);
    expect(kept.memories.size).toBe(Math.ceil(plain.length / B));
    const givenBack = await readThere({ release: true });
    expect(givenBack.bytes.equals(plain)).toBe(true);
    expect(givenBack.memories.size).toBeLessThan(6);
    for (const cut of [[0, 1], [B - 1, B + 1], [B, 2 * B], [5, plain.length - 7], [plain.length - 1, plain.length]] as [number, number][]) {
      expect((await readThere({ cut, release: true })).bytes.equals(plain.subarray(...cut)), cut.join('-')).toBe(true);
    }
    const reader = await openArchive(at.store, BACKUP_ID, { keys: RING, threads });
    await reader.verify();
  });

  it.each(['lz4', 'brotli'] as const)('that are damaged are reported in their turn, with their place, after the good ones (%s)', async (name) => {
    const plain = textOf(6 * B, 1);
    await writeArchive(at.store, plain, { blockSize: B, codec: { name }, keys: RING });
    const key = `backups/${BACKUP_ID}/rdb`;
    const rdb = await at.get(key);
    const second = 64 + 32 + rdb.readUInt32LE(64);
    rdb[second + 1_000]! ^= 1;
    await at.tamper(key, rdb);
    const reader = await openArchive(at.store, BACKUP_ID, { keys: RING, threads });
    let got = 0;
    const reading = (async () => { for await (const piece of reader.read()) got += piece.length; })();
    await expect(reading).rejects.toMatchObject({ code: 'CORRUPT', details: { key, part: 'block 1', offset: second }, message: expect.stringContaining('its tag is wrong') as string });
    expect(got).toBe(B);
  });

  it('that cannot be expanded, though their tag is right, are damaged', async () => {
    const plain = textOf(3 * B, 1);
    await writeArchive(at.store, plain, { blockSize: B, codec: { name: 'lz4' }, keys: undefined });
    const key = `backups/${BACKUP_ID}/rdb`;
    const rdb = await at.get(key);
    const length = rdb.readUInt32LE(64);
    rdb.fill(0xff, 90, 64 + 16 + length);
    createHash('sha256').update(rdb.subarray(0, 64)).update(rdb.subarray(64, 80)).update(rdb.subarray(80, 80 + length)).digest().copy(rdb, 80 + length, 0, 16);
    await at.tamper(key, rdb);
    await expect(readThere()).rejects.toMatchObject({ code: 'CORRUPT', details: { part: 'block 0', offset: 64 }, message: expect.stringContaining('cannot be expanded') as string });
    expect((await readThere({ cut: [B, 3 * B] })).bytes.equals(plain.subarray(B))).toBe(true);
  });

  it('that are being opened fail when their thread dies; whoever leaves early leaves nothing under way', async () => {
    const mortal = new SealingThreads(entry, { most: 1 });
    try {
      await writeArchive(at.store, textOf(12 * B, 1), { blockSize: B, keys: RING });
      const reader = await openArchive(at.store, BACKUP_ID, { keys: RING, threads: mortal });
      for await (const piece of reader.read()) {
        expect(piece.length).toBe(B);
        break;
      }
      const reading = (async () => { for await (const piece of reader.read()) if (piece.length > 0) await mortal.close(); })();
      await expect(reading).rejects.toMatchObject({ code: 'INTERNAL', retryable: true });
      expect((await readThere({ on: mortal })).bytes.length).toBe(12 * B);
    } finally {
      await mortal.close();
    }
  });
});
