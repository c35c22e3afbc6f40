import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createSha256, lengthInBits } from '../../../sdk/src/sha256.js';

const expected = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('SHA-256', () => {
  it('gives the digests of the standard', () => {
    const cases: [string, string][] = [
      ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
      ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    ];
    for (const [text, digest] of cases) {
      const hash = createSha256();
      hash.update(new TextEncoder().encode(text));
      expect(hash.digest()).toBe(digest);
    }
  });

  it('agrees with node:crypto at every length around the padding and block limits', () => {
    for (let length = 0; length <= 260; length += 1) {
      const bytes = randomBytes(length);
      const hash = createSha256();
      hash.update(bytes);
      expect(hash.digest(), `${String(length)} bytes`).toBe(expected(bytes));
    }
  });

  it('does not depend on how the bytes are cut, nor on where they stand in a larger buffer', () => {
    const bytes = randomBytes(1 << 20);
    for (const step of [1009, 64, 63, 65, 4096, 65_537]) {
      const hash = createSha256();
      for (let at = 0; at < bytes.length; at += step) hash.update(bytes.subarray(at, at + step));
      expect(hash.digest(), `steps of ${String(step)}`).toBe(expected(bytes));
    }
  });

  it('gives lengths beyond 32 bits, those of files from 512 MiB on', () => {
    for (const bytes of [0, 1, 2 ** 29 - 1, 2 ** 29, 2 ** 29 + 1, 123_456_789_012, 2 ** 50 - 1]) {
      const [high, low] = lengthInBits(bytes);
      expect((BigInt(high) << 32n) | BigInt(low), `${String(bytes)} bytes`).toBe(BigInt(bytes) * 8n);
    }
  });
});
