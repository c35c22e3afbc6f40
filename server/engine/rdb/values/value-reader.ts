import { constants } from 'node:buffer';
import { HeadReader } from '../head-reader.js';
import { expandLzf } from '../lzf.js';
import { rdbError } from '../rdb-error.js';

const heads = new HeadReader();

/**
 * Reads one serialized value from its beginning. Strings are views of the value where they are stored plainly: they keep it in memory and must
 * not be changed. Nothing is allocated from a declared length that the value's own bytes do not bear out; whatever is wrong is CORRUPT, with the
 * byte at which it stands.
 */
export class ValueReader {
  pos = 0;
  private readonly bytes: Buffer;

  /** @param base where the value stands in its file, for errors */
  constructor(value: Uint8Array, private readonly base = 0) {
    this.bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  }

  /** Another reader of the same value. */
  from(position: number): ValueReader {
    const reader = new ValueReader(this.bytes, this.base);
    reader.pos = position;
    return reader;
  }

  /** The value's bytes, for positions that were kept. */
  get whole(): Buffer {
    return this.bytes;
  }

  get offset(): number {
    return this.base + this.pos;
  }

  corrupt(what: string, at = this.pos): Error {
    return rdbError('CORRUPT', what, this.base + at);
  }

  /** A length, exact up to 2^53. */
  length(): number {
    return this.head().length;
  }

  /** A length that may use all 64 bits, such as half of a stream's ID. */
  wideLength(): bigint {
    const { high, low } = this.head();
    return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  }

  /** A number of elements. @param least bytes that each of them takes at least */
  count(least: number): number {
    const at = this.pos;
    const count = this.length();
    if (count > (this.bytes.length - this.pos) / least) throw this.corrupt(`${count} elements in ${this.bytes.length - this.pos} bytes`, at);
    return count;
  }

  string(): Buffer {
    const at = this.pos;
    const first = this.bytes[at] ?? 0;
    const body = this.stringHead();
    if (first >= 0xc0 && first < 0xc3) {
      return Buffer.from(String(this.bytes.readIntLE(at + 1, body - at - 1)), 'latin1');
    }
    const { length, expanded } = heads;
    const stored = this.take(length);
    if (expanded < 0) return stored;
    const whole = expanded > constants.MAX_LENGTH ? null : expandLzf(stored, expanded);
    if (whole === null) throw this.corrupt(`${length} compressed bytes do not expand to ${expanded}`, at);
    return Buffer.from(whole.buffer, whole.byteOffset, whole.length);
  }

  skipString(): void {
    this.stringHead();
    this.skip(heads.length);
  }

  take(length: number): Buffer {
    const end = this.pos + length;
    if (end > this.bytes.length) throw this.short();
    const taken = this.bytes.subarray(this.pos, end);
    this.pos = end;
    return taken;
  }

  skip(length: number): void {
    if (length > this.bytes.length - this.pos) throw this.short();
    this.pos += length;
  }

  byte(): number {
    const byte = this.bytes[this.pos];
    if (byte === undefined) throw this.short();
    this.pos += 1;
    return byte;
  }

  /** Eight bytes, least significant first. */
  double(): number {
    return this.take(8).readDoubleLE(0);
  }

  /** Eight bytes, least significant first, signed. */
  int64(): bigint {
    return this.take(8).readBigInt64LE(0);
  }

  /** A stream's ID: two times eight bytes, most significant first. */
  streamId(): { ms: bigint; seq: bigint } {
    const bytes = this.take(16);
    return { ms: bytes.readBigUInt64BE(0), seq: bytes.readBigUInt64BE(8) };
  }

  /** Says that nothing more may follow. */
  end(): void {
    const left = this.bytes.length - this.pos;
    if (left > 0) throw this.corrupt(`${left} bytes follow a value`);
  }

  private head(): HeadReader {
    const next = heads.readLength(this.bytes, this.pos, this.bytes.length, this.base);
    if (next < 0) throw this.short();
    this.pos = next;
    return heads;
  }

  /** Leaves what was read in `heads` and returns where the string's stored bytes begin. */
  private stringHead(): number {
    if (this.pos >= this.bytes.length) throw this.short();
    const body = heads.readString(this.bytes, this.pos, this.bytes.length, this.base, null);
    if (body < 0) throw this.short();
    this.pos = body;
    return body;
  }

  private short(): Error {
    return this.corrupt('a value ends too early', this.bytes.length);
  }
}
