import { HeadReader } from '../../rdb/head-reader.js';
import { rdbError } from '../../rdb/rdb-error.js';
import { type RdbMagic } from '../../rdb/summary.js';

/** What an element is made of. */
type Part = 'STRING' | 'LENGTH' | 'EIGHT_BYTES' | 'TEXT_DOUBLE';

interface Layout {
  /** Bytes before the count, which belong to every element. */
  before: number;
  element: readonly Part[];
}

const of = (...element: Part[]): Layout => ({ before: 0, element });

/** Types that are a count and so many elements, as in the walker's programs. Lists of packed nodes are split between nodes. */
const COMMON: Readonly<Record<number, Layout>> = {
  1: of('STRING'), 2: of('STRING'), 3: of('STRING', 'TEXT_DOUBLE'), 4: of('STRING', 'STRING'), 5: of('STRING', 'EIGHT_BYTES'), 14: of('STRING'), 18: of('LENGTH', 'STRING'),
};
const LAYOUTS: Readonly<Record<RdbMagic, Readonly<Record<number, Layout>>>> = {
  REDIS: { ...COMMON, 22: of('LENGTH', 'STRING', 'STRING'), 24: { before: 8, element: ['LENGTH', 'STRING', 'STRING'] } },
  VALKEY: { ...COMMON, 22: of('STRING', 'STRING', 'EIGHT_BYTES') },
};

export const isSplittable = (rdbType: number, magic: RdbMagic): boolean => LAYOUTS[magic][rdbType] !== undefined;

const PIECE_BYTES = 256 * 1024;
const NOTHING = Buffer.alloc(0);

/** How far an element reaches from `at`; -1 when it is not whole. */
const elementEnd = (heads: HeadReader, element: readonly Part[], bytes: Buffer, at: number, base: number): number => {
  let pos = at;
  for (const part of element) {
    if (pos >= bytes.length) return -1;
    switch (part) {
      case 'STRING':
        pos = heads.readString(bytes, pos, bytes.length, base, null);
        if (pos < 0) return -1;
        pos += heads.length;
        break;
      case 'LENGTH':
        pos = heads.readLength(bytes, pos, bytes.length, base);
        if (pos < 0) return -1;
        break;
      case 'EIGHT_BYTES':
        pos += 8;
        break;
      case 'TEXT_DOUBLE': {
        const length = bytes[pos] as number;
        pos += 1 + (length >= 253 ? 0 : length);
        break;
      }
    }
  }
  return pos > bytes.length ? -1 : pos;
};

/** A value of some elements out of a larger one. */
const valueOf = (before: Uint8Array, elements: Buffer, count: number): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = 0x80;
  head.writeUInt32BE(count, 1);
  return Buffer.concat([before, head, elements]);
};

/**
 * Takes a value that is too large for memory apart into values of the same type with some of its elements each, in their order. Holds a quarter of a
 * MiB, or one element where that is larger. Fails with CORRUPT.
 *
 * @param chunks the value's bytes
 * @param offset where it stands in its file, for errors
 */
export async function* splitValue(rdbType: number, magic: RdbMagic, chunks: AsyncIterable<Uint8Array>, offset: number): AsyncGenerator<Buffer, void> {
  const layout = LAYOUTS[magic][rdbType];
  if (layout === undefined) throw rdbError('UNSUPPORTED_FORMAT', `values of type ${rdbType} cannot be split`, offset);
  const heads = new HeadReader();
  let held: Buffer = NOTHING;
  /** Where `held` begins. */
  let base = offset;
  let before: Buffer | null = null;
  let left = -1;
  let count = 0;
  let end = 0;
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  const take = function* (): Generator<Buffer, void> {
    held = Buffer.concat([held, ...waiting]);
    waiting = [];
    waitingBytes = 0;
    if (before === null) {
      const start = held.length <= layout.before ? -1 : heads.readLength(held, layout.before, held.length, base);
      if (start < 0) return;
      before = Buffer.from(held.subarray(0, layout.before));
      left = heads.length;
      held = held.subarray(start);
      base += start;
    }
    for (; left > 0; left--) {
      const next = elementEnd(heads, layout.element, held, end, base);
      if (next < 0) return;
      end = next;
      count += 1;
      if (end < PIECE_BYTES) continue;
      yield valueOf(before, held.subarray(0, end), count);
      held = held.subarray(end);
      base += end;
      end = count = 0;
    }
  };
  for await (const chunk of chunks) {
    waiting.push(Buffer.from(chunk));
    waitingBytes += chunk.length;
    // An element that is not whole yet is looked at again when twice as much has come.
    if (waitingBytes >= held.length - end) yield* take();
  }
  yield* take();
  if (left !== 0) throw rdbError('CORRUPT', 'a value ends too early', base + held.length);
  if (end < held.length) throw rdbError('CORRUPT', `${held.length - end} bytes follow a value`, base + end);
  if (count > 0) yield valueOf(before ?? NOTHING, held, count);
}
