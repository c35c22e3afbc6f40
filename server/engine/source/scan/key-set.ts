import { createHash } from 'node:crypto';

/** Slots of the largest set: 16 bytes each. */
const MOST_SLOTS = 2 ** 21;
const FULL_AT = 0.75;
/** Keys that one set is meant for: half of what it takes, since a database grows while it is read. */
export const KEYS_PER_SET = (MOST_SLOTS * FULL_AT) / 2;

/** Names one key in 20 bytes. */
export const fingerprint = (key: Buffer): Buffer => createHash('sha1').update(key).digest();

/** Which of `parts` sets a key belongs to. */
export const partOf = (print: Buffer, parts: number): number => print.readUInt32LE(16) % parts;

/**
 * Keys that were seen, by 16 bytes of their SHA-1, in at most 32 MiB (48 while it grows): SCAN may show a key more than once, and a file that
 * holds one twice does not load. Two different keys with the same 16 bytes are not to be expected (one chance in 10^25 for a million).
 */
export class KeySet {
  private table: Uint32Array;
  private size = 0;

  /** @param expected keys; it grows up to `2 * KEYS_PER_SET` */
  constructor(expected: number) {
    const slots = Math.max(1_024, Math.min(expected, KEYS_PER_SET)) / FULL_AT;
    this.table = new Uint32Array(4 * Math.min(MOST_SLOTS, 2 ** Math.ceil(Math.log2(slots))));
  }

  get isFull(): boolean {
    return this.size >= MOST_SLOTS * FULL_AT;
  }

  /** False when it was there already. Not to be called when the set is full. */
  add(print: Buffer): boolean {
    if (this.size >= (this.table.length / 4) * FULL_AT && this.table.length < 4 * MOST_SLOTS) this.grow();
    // All zeroes in the last word mark a free slot; the one fingerprint that would look like it takes another form.
    if (!place(this.table, print.readUInt32LE(0), print.readUInt32LE(4), print.readUInt32LE(8), print.readUInt32LE(12) || 1)) return false;
    this.size += 1;
    return true;
  }

  private grow(): void {
    const larger = new Uint32Array(this.table.length * 2);
    const { table } = this;
    for (let at = 0; at < table.length; at += 4) {
      const [a, b, c, d] = [table[at] as number, table[at + 1] as number, table[at + 2] as number, table[at + 3] as number];
      if (d !== 0) place(larger, a, b, c, d);
    }
    this.table = larger;
  }
}

/** Puts four words into the first free slot from where they belong; false when they are there. There must be a free one. */
const place = (table: Uint32Array, a: number, b: number, c: number, d: number): boolean => {
  const mask = table.length / 4 - 1;
  for (let slot = a & mask; ; slot = (slot + 1) & mask) {
    const at = slot * 4;
    if (table[at + 3] === 0) {
      table.set([a, b, c, d], at);
      return true;
    }
    if (table[at] === a && table[at + 1] === b && table[at + 2] === c && table[at + 3] === d) return false;
  }
};
