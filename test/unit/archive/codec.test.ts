import { randomBytes } from 'node:crypto';
import { compress } from 'lz4-napi';
import { describe, expect, it } from 'vitest';
import { codecFor } from '../../../server/engine/archive/codec/codec.js';
import { expandLz4Block } from '../../../server/engine/archive/codec/lz4-block.js';
import { seeded } from './archive-kit.js';

const BLOCK = 512 * 1024;
const text = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `line ${i} of something\n`).join('')).subarray(0, BLOCK);

describe('brotli', () => {
  const codec = codecFor({ name: 'brotli' });

  it('leaves a block alone that hardly compresses', async () => {
    expect(await codec.compress(randomBytes(BLOCK))).toBeNull();
  });

  it.each([
    ['text', text],
    ['a block of which half is text, in stretches smaller than the distance of the samples', Buffer.concat(Array.from({ length: 16 }, (_, i) => [text.subarray(i * 16_384, (i + 1) * 16_384), randomBytes(16_384)]).flat())],
    ['a short block, which is not sampled', text.subarray(0, 1_000)],
  ])('compresses %s, and gives it back', async (_, block) => {
    const packed = await codec.compress(block);
    expect(packed?.length).toBeLessThan(block.length * 0.8);
    expect(Buffer.from(await codec.expand(packed ?? Buffer.alloc(0), block.length)).equals(block)).toBe(true);
  });
});

describe('LZ4', () => {
  const codec = codecFor({ name: 'lz4' });
  /** Also what the codec would leave alone. */
  const pack = (block: Uint8Array): Promise<Buffer> => compress(block);
  /** What both ways to expand make of it; the second is for machines that the first is not built for. */
  const expandBoth = async (stored: Uint8Array, length: number): Promise<(string | null)[]> => [
    await codec.expand(stored, length).then((plain) => Buffer.from(plain).toString('latin1'), () => null),
    await new Promise<Uint8Array>((resolve) => { resolve(expandLz4Block(stored.subarray(4), length)); }).then((plain) => Buffer.from(plain).toString('latin1'), () => null),
  ];

  it.each([
    ['text', text],
    ['one byte', Buffer.from('x')],
    ['a run of one byte, whose match reaches into its own copy', Buffer.alloc(BLOCK, 'a')],
    ['bytes that do not compress', randomBytes(BLOCK)],
    ['a run of three', Buffer.alloc(1_000, 'abc')],
    ['literals of 15, of 270 and of 65,536', Buffer.concat([15, 270, 65_536].flatMap((length) => [randomBytes(length), Buffer.alloc(40, length)]))],
  ])('gives %s back, natively and without', async (_, block) => {
    expect(await expandBoth(await pack(block), block.length)).toEqual([block.toString('latin1'), block.toString('latin1')]);
  });

  it('leaves a block alone that hardly compresses', async () => {
    expect(await codec.compress(Buffer.concat([randomBytes(BLOCK - 10_000), text.subarray(0, 10_000)]))).toBeNull();
  });

  it('compresses text', async () => {
    expect((await codec.compress(text))?.length).toBeLessThan(text.length / 3);
  });

  it('never gives more than the length asked for, whatever the bytes are', async () => {
    const random = seeded(20_260_101);
    let refused = 0;
    for (let round = 0; round < 3_000; round += 1) {
      const length = 1 + random(600);
      const plain = Buffer.from(Array.from({ length }, (_, i) => (random(3) === 0 ? random(256) : 97 + (i % (1 + random(9))))));
      const stored = await pack(plain);
      const damaged = random(4) === 0 ? Buffer.from(stored.subarray(0, random(stored.length))) : Buffer.from(stored);
      for (let hit = 0; hit <= random(3) && damaged.length > 4; hit += 1) damaged[4 + random(damaged.length - 4)] = random(256);
      const [native, own] = await expandBoth(damaged, length);
      // What comes out short is for the reader of the archive to refuse; ours does so by itself.
      if (native?.length === length || own !== null) expect(own, `round ${String(round)}: ${damaged.toString('hex')}`).toBe(native);
      else refused += 1;
      expect(native?.length ?? 0).toBeLessThanOrEqual(length);
    }
    expect(refused).toBeGreaterThan(500);
  });

  it('believes no length but the one it is told', async () => {
    const stored = await pack(text);
    for (const claimed of [0, text.length - 1, text.length + 1, 2 ** 32 - 1]) {
      const lying = Buffer.from(stored);
      lying.writeUInt32LE(claimed);
      await expect(codec.expand(lying, text.length)).rejects.toThrow(RangeError);
    }
    for (const length of [0, text.length - 1, text.length + 1]) {
      await expect(codec.expand(stored, length)).rejects.toThrow(RangeError);
      expect(() => expandLz4Block(stored.subarray(4), length)).toThrow(RangeError);
    }
    await expect(codec.expand(stored.subarray(0, 3), text.length)).rejects.toThrow(RangeError);
  });
});
