import { expandLz4Block } from './lz4-block.js';
import { type Codec } from './codec.js';

/** The addon has binaries for the usual platforms only. */
const native = await import('lz4-napi').then(
  ({ compressSync, uncompressSync }) => ({ compressSync, uncompressSync }),
  () => null,
);

/** Whether blocks can be compressed here. Expanding works everywhere. */
export const canCompressLz4 = native !== null;

/** A block that would get smaller by less than this share is not worth expanding again. It costs LZ4 half of what others do; no sample is needed to save that. */
const WORTH_SAVING = 1 / 16;

/** A stored block begins with its plain length, 4 bytes little-endian. */
const PREFIX = 4;

const plainLengthOf = (stored: Uint8Array): number =>
  stored.length < PREFIX ? -1 : new DataView(stored.buffer, stored.byteOffset, PREFIX).getUint32(0, true);

/** @throws Error when blocks are to be compressed and cannot be; see `canCompressLz4` */
export const lz4 = (): Codec => ({
  name: 'lz4',
  compress: async (block) => {
    if (native === null) throw new Error('LZ4 has no binary for this platform.');
    const packed = native.compressSync(block as Buffer);
    return packed.length > block.length * (1 - WORTH_SAVING) ? null : packed;
  },
  // Half a millisecond for a block of 512 KiB: less than the trip to the thread pool and back, whose memory is new each time.
  expand: (stored, plainLength) => new Promise((resolve) => {
    // The addon allocates what the prefix says.
    if (plainLengthOf(stored) !== plainLength) throw new RangeError('The LZ4 block has another length than it should.');
    resolve(native === null ? expandLz4Block(stored.subarray(PREFIX), plainLength) : native.uncompressSync(stored));
  }),
});
