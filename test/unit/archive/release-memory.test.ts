import { expect, test } from 'vitest';
import { releaseMemory } from '../../../server/engine/archive/release-memory.js';

const MIB = 1024 * 1024;

test('memory is given back at once, and not when it is collected', () => {
  const held = (): number => process.memoryUsage().arrayBuffers;
  const blocks = Array.from({ length: 64 }, () => Buffer.alloc(MIB, 1));
  const before = held();
  for (const block of blocks) releaseMemory(block);
  expect(before - held()).toBeGreaterThanOrEqual(64 * MIB);
  expect(blocks.every(({ length }) => length === 0)).toBe(true);
});

test('memory that others look at too is left alone', () => {
  const whole = Buffer.alloc(1_000, 7);
  const pooled = Buffer.from('a few bytes of a pool');
  const shared = Buffer.from(new SharedArrayBuffer(100)).fill(3);
  for (const part of [whole.subarray(0, 999), whole.subarray(1), pooled, shared]) releaseMemory(part);
  expect([whole.every((byte) => byte === 7), pooled.toString(), shared.every((byte) => byte === 3), whole.length, shared.length]).toEqual([true, 'a few bytes of a pool', true, 1_000, 100]);
});
