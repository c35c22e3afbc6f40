import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { codecFor } from '../../../server/engine/archive/codec/codec.js';

const BLOCK = 512 * 1024;
const text = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `line ${i} of something\n`).join('')).subarray(0, BLOCK);

describe('brotli', () => {
  const codec = codecFor({ name: 'brotli' });
  const pack = (block: Buffer): Promise<Buffer | null> => codec.compress(block, (packed) => packed && Buffer.from(packed));

  it('leaves a block alone that hardly compresses', async () => {
    expect(await pack(randomBytes(BLOCK))).toBeNull();
  });

  it.each([
    ['text', text],
    ['a block of which half is text, in stretches smaller than the distance of the samples', Buffer.concat(Array.from({ length: 16 }, (_, i) => [text.subarray(i * 16_384, (i + 1) * 16_384), randomBytes(16_384)]).flat())],
    ['a short block, which is not sampled', text.subarray(0, 1_000)],
  ])('compresses %s, and gives it back', async (_, block) => {
    const packed = (await pack(block))!;
    expect(packed.length).toBeLessThan(block.length * 0.8);
    const plain = Buffer.alloc(block.length);
    await codec.expand(packed, plain);
    expect(plain.equals(block)).toBe(true);
    for (const length of [0, block.length - 1, block.length + 1]) await expect(codec.expand(packed, Buffer.alloc(length))).rejects.toThrow(RangeError);
  });
});
