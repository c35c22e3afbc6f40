/**
 * Encodings that pack a collection into one string, and begin with how much is in it (ziplist.c, listpack.c, intset.c, zipmap.c of Redis). What their
 * heads say is not compared with what follows.
 */
export const Packing = {
  ZIPMAP: 0,
  ZIPLIST: 1,
  /** Field and value, or member and score. */
  ZIPLIST_PAIRS: 2,
  INTSET: 3,
  LISTPACK: 4,
  LISTPACK_PAIRS: 5,
  /** Field, value and expiry. */
  LISTPACK_TRIPLES: 6,
  /** A listpack, or one element by itself, as the node's container says. */
  QUICKLIST_NODE: 7,
} as const;
export type Packing = (typeof Packing)[keyof typeof Packing];

/** Bytes at the beginning of such a string that have its count. */
export const PACKED_HEAD_BYTES = 10;

/** How a node of a list is kept: as one element that is too big to be packed. */
export const PLAIN_CONTAINER = 1;

const uint16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? NaN) + (bytes[at + 1] ?? NaN) * 256;

/** A count in two bytes; all ones stand for "more than fits". */
const smallCount = (bytes: Uint8Array, at: number): number => {
  const count = uint16(bytes, at);
  return count === 0xffff ? NaN : count;
};

/** NaN where it does not come out even. */
const divided = (count: number, by: number): number => (count % by === 0 ? count / by : NaN);

/** Elements in a packed string, a pair counted once. NaN: its head does not say. */
export const packedElements = (packing: number, head: Uint8Array, container: number): number => {
  switch (packing) {
    case Packing.ZIPMAP:
      return (head[0] ?? NaN) < 254 ? (head[0] as number) : NaN;
    case Packing.ZIPLIST:
      return smallCount(head, 8);
    case Packing.ZIPLIST_PAIRS:
      return divided(smallCount(head, 8), 2);
    case Packing.INTSET:
      return uint16(head, 4) + uint16(head, 6) * 65_536;
    case Packing.LISTPACK:
      return smallCount(head, 4);
    case Packing.LISTPACK_PAIRS:
      return divided(smallCount(head, 4), 2);
    case Packing.LISTPACK_TRIPLES:
      return divided(smallCount(head, 4), 3);
    case Packing.QUICKLIST_NODE:
      return container === PLAIN_CONTAINER ? 1 : smallCount(head, 4);
    default:
      throw new RangeError(`There is no packing ${packing}.`);
  }
};
