/** Incremental SHA-256 (FIPS 180-4). WebCrypto digests only what is in memory as a whole, which a backup must never be. */
export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** Hexadecimal. The hash cannot be used after it. */
  digest(): string;
}

const BLOCK = 64;

/** First 32 bits of the fractional part of a root: the constants are defined so (FIPS 180-4, 4.2.2 and 5.3.3). */
const fraction = (root: number): number => ((root - Math.floor(root)) * 2 ** 32) | 0;

const primes = (count: number): number[] => {
  const found: number[] = [];
  for (let candidate = 2; found.length < count; candidate += 1) {
    if (found.every((prime) => candidate % prime !== 0)) found.push(candidate);
  }
  return found;
};

const ROUND = /*#__PURE__*/ Int32Array.from(/*#__PURE__*/ primes(64), (prime) => fraction(Math.cbrt(prime)));
const INITIAL = /*#__PURE__*/ Int32Array.from(/*#__PURE__*/ primes(8), (prime) => fraction(Math.sqrt(prime)));

/** A length in bytes as the two 32-bit words of its length in bits. Exact up to 2^50 bytes. */
export const lengthInBits = (bytes: number): [high: number, low: number] => [Math.floor(bytes / 2 ** 29), (bytes % 2 ** 29) * 8];

export const createSha256 = (): Sha256 => {
  const state = INITIAL.slice();
  const words = new Int32Array(64);
  const pending = new Uint8Array(BLOCK);
  let pendingLength = 0;
  let totalLength = 0;

  // Each sum is cut back to 32 bits by itself: V8 keeps integers then, which is 2.5 times as fast as cutting the total.
  const compress = (bytes: Uint8Array, from: number, blocks: number): void => {
    const w = words;
    const k = ROUND;
    const s = state;
    for (let block = 0, at = from; block < blocks; block += 1, at += BLOCK) {
      for (let i = 0; i < 16; i += 1) {
        const p = at + i * 4;
        w[i] = ((bytes[p] as number) << 24) | ((bytes[p + 1] as number) << 16) | ((bytes[p + 2] as number) << 8) | (bytes[p + 3] as number);
      }
      for (let i = 16; i < 64; i += 1) {
        const x = (w[i - 15] as number) | 0;
        const y = (w[i - 2] as number) | 0;
        const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        w[i] = ((((w[i - 16] as number) + s0) | 0) + (((w[i - 7] as number) + s1) | 0)) | 0;
      }
      let [a, b, c, d, e, f, g, h] = s as unknown as [number, number, number, number, number, number, number, number];
      for (let i = 0; i < 64; i += 1) {
        const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (((((h + s1) | 0) + (g ^ (e & (f ^ g)))) | 0) + (((k[i] as number) + (w[i] as number)) | 0)) | 0;
        const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (s0 + ((a & b) ^ (c & (a ^ b)))) | 0;
        h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
      }
      s[0] = (s[0] as number) + a; s[1] = (s[1] as number) + b; s[2] = (s[2] as number) + c; s[3] = (s[3] as number) + d;
      s[4] = (s[4] as number) + e; s[5] = (s[5] as number) + f; s[6] = (s[6] as number) + g; s[7] = (s[7] as number) + h;
    }
  };

  const update = (bytes: Uint8Array): void => {
    totalLength += bytes.length;
    let at = 0;
    if (pendingLength > 0) {
      at = Math.min(BLOCK - pendingLength, bytes.length);
      pending.set(bytes.subarray(0, at), pendingLength);
      pendingLength += at;
      if (pendingLength < BLOCK) return;
      compress(pending, 0, 1);
      pendingLength = 0;
    }
    const blocks = Math.floor((bytes.length - at) / BLOCK);
    if (blocks > 0) compress(bytes, at, blocks);
    const rest = bytes.subarray(at + blocks * BLOCK);
    pending.set(rest);
    pendingLength = rest.length;
  };

  return {
    update,
    digest: () => {
      const padding = new Uint8Array((pendingLength < 56 ? 64 : 128) - pendingLength);
      padding[0] = 0x80;
      const view = new DataView(padding.buffer);
      const [high, low] = lengthInBits(totalLength);
      view.setUint32(padding.length - 8, high);
      view.setUint32(padding.length - 4, low);
      update(padding);
      return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
    },
  };
};
