import { expandLzf, expandLzfStart } from './lzf.js';

const FIRST_ROOM = 1_024;

/** Collects the few strings whose bytes matter (notes, keys, heads of values) while the walk passes over them. Bounded; reused. */
export class StringCapture {
  /** Length of the whole string, expanded, in bytes. */
  length = 0;

  private stored = new Uint8Array(FIRST_ROOM);
  private used = 0;
  private limit = 0;
  private compressed = false;

  /** @param limit how much of the string is wanted, in bytes */
  begin(limit: number): void {
    this.limit = limit;
    this.used = 0;
    this.length = 0;
    this.compressed = false;
  }

  /** Announces the body that follows: `stored` bytes, expanding to `expanded` (-1: not compressed). */
  expect(stored: number, expanded: number): void {
    this.compressed = expanded >= 0;
    this.length = this.compressed ? expanded : stored;
  }

  add(chunk: Uint8Array, from: number, to: number): void {
    // A byte that stands alone takes two in a compressed string.
    const room = this.compressed ? this.limit * 2 : this.limit;
    const end = Math.min(to, from + room - this.used);
    if (end <= from) return;
    const used = this.used + end - from;
    if (used > this.stored.length) this.grow(used);
    this.stored.set(chunk.subarray(from, end), this.used);
    this.used = used;
  }

  /** An integer-encoded string stands for its decimal text. */
  addInteger(value: number): void {
    const text = String(value);
    for (let at = 0; at < text.length; at++) this.stored[this.used++] = text.charCodeAt(at);
    this.length = text.length;
  }

  /** The whole string, valid until the next `begin`; null when it is longer than the limit or does not expand. */
  take(): Uint8Array | null {
    if (this.length > this.limit) return null;
    const bytes = this.stored.subarray(0, this.used);
    return this.compressed ? expandLzf(bytes, this.length) : bytes;
  }

  /** As much of its beginning as was kept, at most the limit; of a compressed string, what that expands to. Valid until the next `begin`. */
  takeStart(): Uint8Array {
    const bytes = this.stored.subarray(0, this.used);
    return this.compressed ? expandLzfStart(bytes, Math.min(this.limit, this.length)) : bytes;
  }

  private grow(used: number): void {
    const more = new Uint8Array(Math.max(used, this.stored.length * 2));
    more.set(this.stored.subarray(0, this.used));
    this.stored = more;
  }
}
