import { type KeyAmount } from '../../domain/inspection.js';

const EMPTY = -1;

interface Entry extends KeyAmount {
  bytesOfPrefix: Uint8Array;
  hash: number;
  exact: boolean;
}

export interface PrefixCount extends KeyAmount {
  prefix: Uint8Array;
  exact: boolean;
}

/**
 * Counts keys by prefixes, of which it holds at most `2 * keep`. When there are as many, those with the fewest bytes go, and half stay: what they had
 * is then among the others. So sums are always right; a prefix that was there before the first went is exact as long as it stays, and later ones may
 * have lost a part. Constant work per key, whatever the keys are.
 */
export class PrefixTable {
  /** What the prefixes had that went. */
  readonly gone: KeyAmount = { keys: 0, bytes: 0 };

  private entries: Entry[] = [];
  /** Open addressing: places in `entries`. */
  private readonly slots: Int32Array;
  private readonly mask: number;
  private pruned = false;
  private last: Entry | undefined;

  constructor(private readonly keep: number) {
    const size = 2 ** Math.ceil(Math.log2(keep * 4));
    this.slots = new Int32Array(size).fill(EMPTY);
    this.mask = size - 1;
  }

  /** A key of `size` bytes whose prefix is `name[0, length)`. */
  add(name: Uint8Array, length: number, size: number): void {
    const { last } = this;
    const entry = last !== undefined && equal(last.bytesOfPrefix, name, length) ? last : this.entryOf(name, length);
    entry.keys++;
    entry.bytes += size;
    this.last = entry;
  }

  /** Most bytes first. */
  counts(): PrefixCount[] {
    return this.ordered().map(({ bytesOfPrefix, keys, bytes, exact }) => ({ prefix: bytesOfPrefix, keys, bytes, exact }));
  }

  private entryOf(name: Uint8Array, length: number): Entry {
    const hash = hashOf(name, length);
    let slot = hash & this.mask;
    for (let at = this.slots[slot] as number; at !== EMPTY; at = this.slots[slot] as number) {
      const entry = this.entries[at] as Entry;
      if (entry.hash === hash && equal(entry.bytesOfPrefix, name, length)) return entry;
      slot = (slot + 1) & this.mask;
    }
    if (this.entries.length >= this.keep * 2) {
      this.prune();
      slot = this.freeSlot(hash);
    }
    const entry: Entry = { bytesOfPrefix: name.slice(0, length), hash, keys: 0, bytes: 0, exact: !this.pruned };
    this.slots[slot] = this.entries.length;
    this.entries.push(entry);
    return entry;
  }

  private freeSlot(hash: number): number {
    let slot = hash & this.mask;
    while (this.slots[slot] !== EMPTY) slot = (slot + 1) & this.mask;
    return slot;
  }

  private prune(): void {
    const ordered = this.ordered();
    for (const { keys, bytes } of ordered.slice(this.keep)) {
      this.gone.keys += keys;
      this.gone.bytes += bytes;
    }
    this.entries = ordered.slice(0, this.keep);
    this.slots.fill(EMPTY);
    for (const [at, { hash }] of this.entries.entries()) this.slots[this.freeSlot(hash)] = at;
    this.pruned = true;
    this.last = undefined;
  }

  private ordered(): Entry[] {
    return [...this.entries].sort((a, b) => b.bytes - a.bytes || b.keys - a.keys || Buffer.compare(a.bytesOfPrefix, b.bytesOfPrefix));
  }
}

const equal = (prefix: Uint8Array, name: Uint8Array, length: number): boolean => {
  if (prefix.length !== length) return false;
  for (let at = 0; at < length; at++) if (prefix[at] !== name[at]) return false;
  return true;
};

/** FNV-1a. */
const hashOf = (name: Uint8Array, length: number): number => {
  let hash = 0x811c9dc5;
  for (let at = 0; at < length; at++) hash = Math.imul(hash ^ (name[at] as number), 0x01000193);
  return (hash ^ (hash >>> 15)) & 0x7fffffff;
};
