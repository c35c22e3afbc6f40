import { LEAST_BYTES, compileCrc64, type LongCrc64 } from './crc64-wasm.js';

/**
 * CRC-64 as Redis and Valkey end every RDB and DUMP payload with it ("Jones"): reflected polynomial 95ac9329ac4bc9b5,
 * initial value 0, no final xor; crc("123456789") = e9c6d914c4b8d9ca. Slice-by-8: eight table look-ups take eight bytes,
 * with the 64-bit values split into two 32-bit halves, because BigInt arithmetic is some hundred times slower. Long pieces go through WebAssembly, at many times that speed.
 */
const POLY_LO = 0xac4bc9b5 | 0;
const POLY_HI = 0x95ac9329 | 0;
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** `[slice * 256 + byte]`: what `byte` contributes when `slice` more bytes follow it. */
const LO = new Int32Array(8 * 256);
const HI = new Int32Array(8 * 256);

for (let byte = 0; byte < 256; byte++) {
  let lo = byte;
  let hi = 0;
  for (let bit = 0; bit < 8; bit++) {
    const odd = lo & 1;
    lo = (lo >>> 1) | (hi << 31);
    hi >>>= 1;
    if (odd !== 0) {
      lo ^= POLY_LO;
      hi ^= POLY_HI;
    }
  }
  LO[byte] = lo;
  HI[byte] = hi;
}
for (let at = 256; at < 8 * 256; at++) {
  const lo = LO[at - 256] ?? 0;
  const hi = HI[at - 256] ?? 0;
  LO[at] = ((lo >>> 8) | (hi << 24)) ^ (LO[lo & 255] ?? 0);
  HI[at] = (hi >>> 8) ^ (HI[lo & 255] ?? 0);
}

/** Made when it is needed first. */
let long: LongCrc64 | null | undefined;

/** A running CRC-64. Feeding the same bytes in other pieces gives the same value. */
export class Crc64 {
  private lo = 0;
  private hi = 0;

  /** @param seed value to go on from; a CRC that was read with `value` continues where it stood. */
  constructor(seed = 0n) {
    this.value = seed;
  }

  get value(): bigint {
    return (BigInt(this.hi >>> 0) << 32n) | BigInt(this.lo >>> 0);
  }

  private set value(crc: bigint) {
    this.lo = Number(BigInt.asIntN(32, crc));
    this.hi = Number(BigInt.asIntN(32, crc >> 32n));
  }

  update(chunk: Uint8Array): void {
    if (chunk.length >= LEAST_BYTES && long === undefined) long = compileCrc64(LO, HI);
    if (chunk.length < LEAST_BYTES || !long) return this.words(chunk);
    const { crc, rest } = long(this.value, chunk);
    this.value = crc;
    this.words(rest);
  }

  /** As `update`, without WebAssembly. */
  words(chunk: Uint8Array): void {
    const end = chunk.length;
    // Words can only be read where the platform is little-endian and the address a multiple of four.
    const head = LITTLE_ENDIAN ? Math.min(end, -chunk.byteOffset & 3) : end;
    const pairs = (end - head) >>> 3;
    this.bytewise(chunk, 0, head);
    if (pairs > 0) this.wordwise(new Int32Array(chunk.buffer, chunk.byteOffset + head, pairs * 2), 0, pairs * 2);
    this.bytewise(chunk, head + pairs * 8, end);
  }

  /**
   * As `update` with `bytes[from, to)`, for many small parts of one piece: nothing is made for a call.
   * @param words the 32-bit words of the same memory, from its first byte on
   */
  updateWithin(bytes: Uint8Array, words: Int32Array, from: number, to: number): void {
    if (to - from >= LEAST_BYTES) return this.update(bytes.subarray(from, to));
    const head = LITTLE_ENDIAN ? Math.min(to, (from + 3) & ~3) : to;
    const pairs = (to - head) >>> 3;
    this.bytewise(bytes, from, head);
    this.wordwise(words, head >>> 2, (head >>> 2) + pairs * 2);
    this.bytewise(bytes, head + pairs * 8, to);
  }

  /** Begins anew. */
  reset(): void {
    this.lo = 0;
    this.hi = 0;
  }

  /** Puts the value's eight bytes down, least significant first, as every RDB and payload ends. */
  writeTo(bytes: Uint8Array, at: number): void {
    for (let byte = 0; byte < 4; byte++) {
      bytes[at + byte] = (this.lo >>> (8 * byte)) & 255;
      bytes[at + 4 + byte] = (this.hi >>> (8 * byte)) & 255;
    }
  }

  // In both loops the indexes are bounded by construction: `as number` is free, a `?? 0` would be a compare per byte.
  private wordwise(words: Int32Array, from: number, end: number): void {
    let lo = this.lo;
    let hi = this.hi;
    for (let at = from; at < end; at += 2) {
      const a = lo ^ (words[at] as number);
      const b = hi ^ (words[at + 1] as number);
      const a0 = 1792 + (a & 255), a1 = 1536 + ((a >>> 8) & 255), a2 = 1280 + ((a >>> 16) & 255), a3 = 1024 + (a >>> 24);
      const b0 = 768 + (b & 255), b1 = 512 + ((b >>> 8) & 255), b2 = 256 + ((b >>> 16) & 255), b3 = b >>> 24;
      lo = (LO[a0] as number) ^ (LO[a1] as number) ^ (LO[a2] as number) ^ (LO[a3] as number)
        ^ (LO[b0] as number) ^ (LO[b1] as number) ^ (LO[b2] as number) ^ (LO[b3] as number);
      hi = (HI[a0] as number) ^ (HI[a1] as number) ^ (HI[a2] as number) ^ (HI[a3] as number)
        ^ (HI[b0] as number) ^ (HI[b1] as number) ^ (HI[b2] as number) ^ (HI[b3] as number);
    }
    this.lo = lo;
    this.hi = hi;
  }

  private bytewise(chunk: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; at++) {
      const index = (this.lo ^ (chunk[at] as number)) & 255;
      this.lo = ((this.lo >>> 8) | (this.hi << 24)) ^ (LO[index] as number);
      this.hi = (this.hi >>> 8) ^ (HI[index] as number);
    }
  }
}

/** CRC-64 of one piece of bytes; `seed` is the CRC of what came before it. */
export function crc64(bytes: Uint8Array, seed = 0n): bigint {
  const crc = new Crc64(seed);
  crc.update(bytes);
  return crc.value;
}
