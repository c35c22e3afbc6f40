import { describe, expect, it } from 'vitest';
import { Rate } from '../../../server/jobs/rate.js';

describe('a rate', () => {
  it('is unknown at first, then taken over the last five seconds', () => {
    const rate = new Rate();
    expect(rate.bytesPerSecond).toBeNull();
    rate.add(0, 0n);
    expect(rate.bytesPerSecond).toBeNull();
    rate.add(100, 100n);
    expect(rate.bytesPerSecond).toBeNull();
    rate.add(1_000, 1_000n);
    expect(rate.bytesPerSecond).toBe(1_000);
    for (let at = 2_000; at <= 20_000; at += 1_000) rate.add(at, BigInt(at * 3));
    expect(rate.bytesPerSecond).toBe(3_000);
    rate.reset();
    expect(rate.bytesPerSecond).toBeNull();
  });

  it('holds few samples and stays right however often it is told', () => {
    const rate = new Rate();
    for (let i = 0; i <= 100_000; i += 1) rate.add(i / 10, BigInt(i));
    expect(rate.bytesPerSecond).toBeCloseTo(10_000, -2);
    expect((rate as unknown as { samples: unknown[] }).samples.length).toBeLessThan(150);
  });
});
