import { type StringCapture } from './capture.js';
import { MAX_LENGTH, MAX_LZF_EXPANSION } from './limits.js';
import { rdbError } from './rdb-error.js';

/** Longest head that is decoded at once: a compressed string's, one byte and two 64-bit lengths. */
export const MAX_HEAD = 19;

/** Decodes lengths and string heads. The results stand in the fields until the next call: no object per head. */
export class HeadReader {
  /** The length read, or the stored bytes of the string read. */
  length = 0;
  /** Halves of a length, for those that are 64-bit ids. */
  high = 0;
  low = 0;
  /** What a compressed string expands to, in bytes; -1 for all others. */
  expanded = -1;

  /**
   * Reads a length at `pos` into `length` (inexact above 2^53) and, for 64-bit ones, `high` and `low`. Returns the
   * position behind it, or -1 when the buffer ends within.
   */
  readLength(buf: Uint8Array, pos: number, end: number, base: number): number {
    const first = buf[pos] as number;
    this.high = 0;
    if (first < 0x40) {
      if (pos >= end) return -1;
      this.length = this.low = first;
      return pos + 1;
    }
    if (first < 0x80) {
      if (end - pos < 2) return -1;
      this.length = this.low = ((first & 0x3f) << 8) | (buf[pos + 1] as number);
      return pos + 2;
    }
    if (first === 0x80) {
      if (end - pos < 5) return -1;
      this.low = be32(buf, pos + 1);
      this.length = this.low >>> 0;
      return pos + 5;
    }
    if (first === 0x81) {
      if (end - pos < 9) return -1;
      this.high = be32(buf, pos + 1);
      this.low = be32(buf, pos + 5);
      this.length = (this.high >>> 0) * 2 ** 32 + (this.low >>> 0);
      return pos + 9;
    }
    if (pos >= end) return -1;
    throw rdbError('CORRUPT', `a length begins with 0x${first.toString(16)}`, base + pos);
  }

  /**
   * Reads what stands before a string's stored bytes: `length` of them follow. Returns where they begin, or -1 as above.
   * `capture`, when given, is told what to expect, or gets an integer's text.
   */
  readString(buf: Uint8Array, pos: number, end: number, base: number, capture: StringCapture | null): number {
    const first = buf[pos] as number;
    let body: number;
    this.expanded = -1;
    if (first < 0xc0) {
      body = this.readLength(buf, pos, end, base);
      if (body < 0) return -1;
    } else if (first < 0xc3) {
      const width = 1 << (first & 3);
      body = pos + 1 + width;
      if (body > end) return -1;
      this.length = 0;
      if (capture !== null) capture.addInteger(littleEndian32(buf, pos + 1) << (32 - 8 * width) >> (32 - 8 * width));
    } else if (first === 0xc3) {
      const second = this.readLength(buf, pos + 1, end, base);
      if (second < 0) return -1;
      const stored = this.length;
      body = this.readLength(buf, second, end, base);
      if (body < 0) return -1;
      this.expanded = this.length;
      this.length = stored;
      if (this.expanded > stored * MAX_LZF_EXPANSION) {
        throw rdbError('CORRUPT', `${stored} compressed bytes cannot expand to ${this.expanded}`, base + pos);
      }
    } else throw rdbError('CORRUPT', `string encoding ${first & 0x3f} does not exist`, base + pos);
    if (this.length > MAX_LENGTH || this.expanded > MAX_LENGTH) {
      throw rdbError('CORRUPT', `a string of ${Math.max(this.length, this.expanded)} bytes`, base + pos);
    }
    if (capture !== null && first !== 0xc0 && first !== 0xc1 && first !== 0xc2) capture.expect(this.length, this.expanded);
    return body;
  }
}

const be32 = (buf: Uint8Array, at: number): number =>
  ((buf[at] as number) << 24) | ((buf[at + 1] as number) << 16) | ((buf[at + 2] as number) << 8) | (buf[at + 3] as number);

/** Reads past the end count as zero bytes. */
export const littleEndian32 = (buf: Uint8Array, at: number): number =>
  (buf[at] as number) | ((buf[at + 1] as number) << 8) | ((buf[at + 2] as number) << 16) | ((buf[at + 3] as number) << 24);
