import { compressSync, uncompressSync } from 'lz4-napi';
import { describe, expect, it } from 'vitest';
import { codecFor } from '../../../server/engine/archive/codec/codec.js';
import { lz4Machine } from '../../../server/engine/archive/codec/lz4-machine.js';
import { KIB, randomBytesOf, rdbOf, seeded, textOf } from './archive-kit.js';
import { readLz4Block } from './lz4-reference.js';

const BLOCK = 512 * KIB;
const MOST = 1024 * KIB;
const machine = lz4Machine();
const codec = codecFor({ name: 'lz4' });
const text = textOf(BLOCK, 1);

/** Also what the codec would leave alone; as an archive has it, with its length in front. */
const pack = (block: Buffer): Buffer => {
  const stored = Buffer.from(machine.compress(block, 4));
  stored.writeUInt32LE(block.length);
  return stored;
};

/** What a codec of others makes of it; null when it refuses. */
const expandNative = (stored: Buffer): Buffer | null => {
  try {
    return uncompressSync(stored);
  } catch {
    return null;
  }
};

const expandOwn = async (stored: Uint8Array, length: number): Promise<Buffer | null> => {
  const plain = Buffer.alloc(length, 0xa5);
  return codec.expand(stored, plain).then(() => plain, (error: unknown) => {
    expect(error).toBeInstanceOf(RangeError);
    // Nothing of what is refused gets out.
    expect(plain.equals(Buffer.alloc(length, 0xa5))).toBe(true);
    return null;
  });
};

/** It comes back by each of three ways, and keeps the rules that decoders of others rely on. Returns the stored length. */
const check = async (block: Buffer, what: string): Promise<number> => {
  const stored = pack(block);
  const read = readLz4Block(stored.subarray(4), block.length);
  expect(read?.plain.equals(block), `${what}: by the letter`).toBe(true);
  expect(read?.endsRight, `${what}: end rules`).toBe(true);
  expect((await expandOwn(stored, block.length))?.equals(block), `${what}: by ours`).toBe(true);
  expect(expandNative(stored)?.equals(block), `${what}: by others`).toBe(true);
  expect((await expandOwn(compressSync(block), block.length))?.equals(block), `${what}: ours of others`).toBe(true);
  return stored.length;
};

/** Bytes of some kinds that data has: noise, runs, periods, copies of what came before. */
const mixed = (random: (below: number) => number, length: number): Buffer => {
  const block = Buffer.alloc(length);
  for (let at = 0; at < length;) {
    const end = Math.min(length, at + 1 + random(random(3) === 0 ? 900 : 40));
    const kind = random(4);
    const period = 1 + random(kind === 2 ? 12 : 70_000);
    for (; at < end; at += 1) block[at] = kind === 0 || at < period ? random(256) : kind === 1 ? random(3) : block[at - period]!;
  }
  return block;
};

describe('LZ4', () => {
  it.each([
    ['text', text, 0.5],
    ['an RDB', rdbOf(BLOCK, 2).plain, 0.6],
    ['a run of one byte', Buffer.alloc(BLOCK, 'a'), 0.005],
    ['a run of three', Buffer.alloc(BLOCK, 'abc'), 0.005],
    ['bytes that do not compress', randomBytesOf(MOST, 3), 1.005],
    ['noise that repeats after 65,535 bytes, as far as a match reaches', Buffer.concat(Array.from({ length: 3 }, () => randomBytesOf(65_535, 4))), 0.36],
    ['noise that repeats after 65,536 bytes, where none does', Buffer.concat(Array.from({ length: 3 }, () => randomBytesOf(65_536, 5))), 1.005],
    ['literals of 14 to 16, of 269 to 271 and of 65,536', Buffer.concat([14, 15, 16, 269, 270, 271, 65_536].flatMap((length) => [randomBytesOf(length, length), Buffer.alloc(40, length)])), 1.005],
    ['a block as large as they get', textOf(MOST, 6), 0.5],
  ])('gives %s back', async (what, block, most) => {
    expect(await check(block, what)).toBeLessThanOrEqual(block.length * most + 4);
  });

  it('gives the shortest blocks back, of all kinds', async () => {
    for (let length = 0; length <= 64; length += 1) {
      for (const block of [randomBytesOf(length, length), Buffer.alloc(length, 'a'), Buffer.alloc(length, 'abcde')]) await check(block, `${String(length)} bytes`);
    }
  });

  it('gives anything back', async () => {
    const random = seeded(20_260_102);
    for (let round = 0; round < 300; round += 1) await check(mixed(random, random(random(8) === 0 ? 200_000 : 3_000)), `round ${String(round)}`);
  });

  it('makes the same bytes of the same, whatever came before', () => {
    const first = pack(text);
    for (const other of [randomBytesOf(MOST, 7), textOf(MOST, 8), Buffer.alloc(100)]) {
      pack(other);
      expect(pack(text).equals(first)).toBe(true);
    }
  });

  it('takes a block from the memory that it has lent as from any other, while that of others is used too', async () => {
    const random = seeded(20_261_201);
    const codecs = Array.from({ length: 3 }, () => codecFor({ name: 'lz4' }));
    const desks = codecs.map((own) => own.lend?.() ?? Buffer.alloc(0));
    expect(new Set(desks.map(({ buffer }) => buffer)).size).toBe(3);
    const packWith = (own: typeof codec, block: Uint8Array): Promise<Buffer | null> => own.compress(block, (bytes) => bytes && Buffer.from(bytes));
    for (let round = 0; round < 60; round += 1) {
      const blocks = codecs.map(() => mixed(random, 1 + random(20_000)));
      // Filled all, and then compressed, in whatever order.
      for (const [at, block] of blocks.entries()) desks[at]?.set(block);
      await expandOwn(pack(text), text.length);
      for (const at of random(2) === 0 ? [0, 1, 2] : [2, 0, 1]) {
        const [own, block = Buffer.alloc(0)] = [codecs[at] ?? codec, blocks[at]];
        const packed = await packWith(own, desks[at]?.subarray(0, block.length) ?? block);
        expect(packed?.toString('hex'), `round ${String(round)}`).toBe((await packWith(codec, block))?.toString('hex'));
        // Of any other memory it takes a copy, and that is not made in what was lent.
        expect(desks[at]?.subarray(0, block.length).equals(block)).toBe(true);
      }
    }
    const [first = codec] = codecs;
    expect(first.lend?.()).toBe(desks[0]);
    first.takeBack?.();
    first.takeBack?.();
    expect(codecFor({ name: 'lz4' }).lend?.().buffer).toBe(desks[0]?.buffer);
    expect(first.lend?.().buffer).not.toBe(desks[0]?.buffer);
  });

  it('gives no more than a sixteenth away, for its speed, of what others save', () => {
    for (const block of [text, rdbOf(BLOCK, 9).plain, mixed(seeded(10), BLOCK)]) expect(pack(block).length).toBeLessThan(compressSync(block).length * 1.06);
  });

  it('leaves a block alone that hardly compresses', async () => {
    expect(await codec.compress(Buffer.concat([randomBytesOf(BLOCK - 10_000, 11), text.subarray(0, 10_000)]), (packed) => packed)).toBeNull();
    const packed = await codec.compress(text, (bytes) => bytes && Buffer.from(bytes));
    expect(packed?.equals(pack(text))).toBe(true);
  });

  it('refuses blocks that are larger than any of an archive', async () => {
    await expect(codec.compress(Buffer.alloc(MOST + 1), () => undefined)).rejects.toThrow(RangeError);
    await expect(codec.expand(compressSync(Buffer.alloc(MOST + 1)), Buffer.alloc(MOST + 1))).rejects.toThrow(RangeError);
    const long = Buffer.concat([pack(text), Buffer.alloc(2 * MOST)]);
    await expect(codec.expand(long, Buffer.alloc(BLOCK))).rejects.toThrow(RangeError);
  });

  it('refuses what is no block, and nothing else', async () => {
    const random = seeded(20_260_101);
    let refused = 0;
    for (let round = 0; round < 3_000; round += 1) {
      const block = mixed(random, 1 + random(400));
      const whole = random(2) === 0 ? pack(block) : compressSync(block);
      const stored = random(4) === 0 ? Buffer.from(whole.subarray(0, 4 + random(whole.length - 4))) : Buffer.from(whole);
      for (let hit = random(4); hit > 0 && stored.length > 4; hit -= 1) stored[4 + random(stored.length - 4)] = random(3) === 0 ? 255 : random(256);
      const right = readLz4Block(stored.subarray(4), block.length)?.plain ?? null;
      const own = await expandOwn(stored, block.length);
      expect(own?.toString('hex'), `round ${String(round)}: ${stored.toString('hex')}`).toBe(right?.toString('hex'));
      // Others may give fewer bytes than they were to, and only that.
      const native = expandNative(stored);
      if (native?.length === block.length || own !== null) expect(native?.toString('hex'), `round ${String(round)}: ${stored.toString('hex')}`).toBe(own?.toString('hex'));
      if (own === null) refused += 1;
    }
    expect(refused).toBeGreaterThan(500);
    expect(refused).toBeLessThan(2_500);
    await check(text, 'after all that');
  });

  it.each<[string, number[], number]>([
    ['nothing', [], 0],
    ['literals that are cut off', [0x50, 1, 2, 3, 4], 5],
    ['a length of literals that is cut off', [0xf0, 255, 255], 600],
    ['more literals than there should be', [0x20, 1, 2], 1],
    ['fewer', [0x20, 1, 2], 3],
    ['a distance that is cut off', [0x10, 1, 1], 10],
    ['a distance of zero', [0x14, 1, 0, 0, 0x10, 1], 10],
    ['a match from before the beginning', [0x14, 1, 2, 0, 0x10, 1], 10],
    ['a match as the very first', [0x04, 1, 0, 0x10, 1], 9],
    ['a length of a match that is cut off', [0x1f, 1, 1, 0, 255], 1_000],
    ['a match that is too long', [0x1f, 1, 1, 0, 255, 255, 255, 0, 0x10, 1], 20],
    ['a match that is the end', [0x10, 1, 1, 0], 5],
    ['lengths that go on for ever', [0xff, ...Array.from({ length: 70_000 }, () => 255)], MOST],
  ])('refuses %s', async (_, block, length) => {
    const stored = Buffer.from([0, 0, 0, 0, ...block]);
    stored.writeUInt32LE(length);
    expect(await expandOwn(stored, length)).toBeNull();
  });

  it('believes no length but the one it is told', async () => {
    const stored = pack(text);
    for (const claimed of [0, text.length - 1, text.length + 1, 2 ** 32 - 1]) {
      const lying = Buffer.from(stored);
      lying.writeUInt32LE(claimed);
      expect(await expandOwn(lying, text.length)).toBeNull();
    }
    for (const length of [0, text.length - 1, text.length + 1]) {
      expect(await expandOwn(stored, length)).toBeNull();
      const lying = Buffer.from(stored);
      lying.writeUInt32LE(length);
      expect(await expandOwn(lying, length)).toBeNull();
    }
    expect(await expandOwn(stored.subarray(0, 3), text.length)).toBeNull();
  });
});
