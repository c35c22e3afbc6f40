import { RdbReader } from '../../../server/engine/rdb/reader.js';

/** A sound RDB file, cut into the pieces that mutations rearrange. All of them together, and a checksum, are the file. */
export interface SeedFile {
  name: string;
  bytes: Buffer;
  /** Everything before the first key's type byte. */
  head: Buffer;
  /** Each key with its value, and what stands before it: expiry, notes, the choice of a database. */
  records: readonly Buffer[];
  /** What follows the last key, up to the EOF opcode. */
  tail: Buffer;
}

const HEADER = 9;
const CHECKSUM = 8;

export const seedFile = (name: string, bytes: Buffer): SeedFile => {
  const ends: number[] = [];
  let first: number | undefined;
  const reader = new RdbReader({
    onKey: ({ offset, bytes: length }) => {
      first ??= offset;
      ends.push(offset + length);
    },
  });
  reader.push(bytes);
  reader.finish();
  const begin = first ?? HEADER;
  return {
    name, bytes, head: bytes.subarray(0, begin), records: ends.map((end, at) => bytes.subarray(ends[at - 1] ?? begin, end)),
    tail: bytes.subarray(ends.at(-1) ?? begin, bytes.length - CHECKSUM),
  };
};
