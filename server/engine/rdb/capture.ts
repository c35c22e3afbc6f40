import { expandLzf } from './lzf.js';
import { MAX_EVENT_KEY } from './limits.js';

/** Collects the few strings whose bytes matter (notes, keys) while the walk passes over them. Bounded; reused. */
export class StringCapture {
  private readonly stored = new Uint8Array(MAX_EVENT_KEY);
  private used = 0;
  private limit = 0;
  /** Length after expansion of a compressed string, or -1. */
  private expanded = -1;
  private dropped = false;

  /** @param limit longest string wanted, in bytes; at most `MAX_EVENT_KEY`. */
  begin(limit: number): void {
    this.limit = limit;
    this.used = 0;
    this.expanded = -1;
    this.dropped = false;
  }

  /** Announces the body that follows: `stored` bytes, expanding to `expanded` (-1: not compressed). */
  expect(stored: number, expanded: number): void {
    this.expanded = expanded;
    this.dropped = stored > this.limit || expanded > this.limit;
  }

  add(chunk: Uint8Array, from: number, to: number): void {
    if (this.dropped) return;
    this.stored.set(chunk.subarray(from, to), this.used);
    this.used += to - from;
  }

  /** An integer-encoded string stands for its decimal text. */
  addInteger(value: number): void {
    const text = String(value);
    for (let at = 0; at < text.length; at++) this.stored[this.used++] = text.charCodeAt(at);
  }

  /** The string's bytes, valid until the next `begin`; null when it is longer than the limit or does not expand. */
  take(): Uint8Array | null {
    if (this.dropped) return null;
    const bytes = this.stored.subarray(0, this.used);
    return this.expanded < 0 ? bytes : expandLzf(bytes, this.expanded);
  }
}
