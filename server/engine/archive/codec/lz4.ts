import { type Codec } from './codec.js';
import { borrowLz4Machine, giveBackLz4Machine, lz4Machine, type Lz4Machine } from './lz4-machine.js';

/** A block that would get smaller by less than this share is not worth expanding again. It costs LZ4 half of what others do; no sample is needed to save that. */
const WORTH_SAVING = 1 / 16;

/** A stored block begins with its plain length, 4 bytes little-endian. */
const PREFIX = 4;

/** On the caller's thread: half a millisecond or two for a block are less than the trip to another one and back, and the memory of this one stays. */
export const lz4 = (): Codec => {
  let lent: Lz4Machine | undefined;
  return {
    name: 'lz4',
    compress: async (block, use) => {
      const machine = lent?.holds(block) === true ? lent : lz4Machine();
      const packed = machine.compress(block, PREFIX);
      if (packed.length > block.length * (1 - WORTH_SAVING)) return use(null);
      packed.writeUInt32LE(block.length);
      return use(packed);
    },
    lend: () => (lent ??= borrowLz4Machine()).plain,
    takeBack: () => {
      if (lent !== undefined) giveBackLz4Machine(lent);
      lent = undefined;
    },
    expand: async (stored, into) => {
      const claimed = stored.length < PREFIX ? -1 : new DataView(stored.buffer, stored.byteOffset, PREFIX).getUint32(0, true);
      if (claimed !== into.length) throw new RangeError('The LZ4 block has another length than it should.');
      lz4Machine().expand(stored.subarray(PREFIX), into);
    },
  };
};
