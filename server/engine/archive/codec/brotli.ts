import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';
import { type Codec } from './codec.js';

const compressBrotli = promisify(brotliCompress);
const expandBrotli = promisify(brotliDecompress);

/** Where a block is sampled, and how much there: 32 KiB in all. */
const SAMPLES = 8;
const SAMPLE_BYTES = 4 * 1024;
/** Smaller blocks are compressed at once. */
const SAMPLED_FROM = 4 * SAMPLES * SAMPLE_BYTES;
/**
 * A block is compressed if that saves about this share of it. Bytes that hardly compress (encrypted, or compressed by the client or the
 * server) cost brotli twice as much as others: five CPU seconds per GiB for a few per cent.
 */
const WORTH_SAVING = 1 / 8;
/** Takes about a third less CPU than quality 1 for files 5 to 10 % larger. */
const DEFAULT_QUALITY = 0;

/** Pieces from all over the block: what they compress to differs by a few per cent from what the whole does. */
const sampleOf = (block: Uint8Array): Uint8Array => {
  const step = Math.floor((block.length - SAMPLE_BYTES) / (SAMPLES - 1));
  const sample = Buffer.allocUnsafe(SAMPLES * SAMPLE_BYTES);
  for (let at = 0; at < SAMPLES; at++) sample.set(block.subarray(at * step, at * step + SAMPLE_BYTES), at * SAMPLE_BYTES);
  return sample;
};

/**
 * The output buffer is as large as the input, so that one block costs one trip to the thread pool; Node's default of 16 KiB
 * makes dozens and halves the speed. A window no larger than the input saves memory and loses nothing.
 */
const pack = (bytes: Uint8Array, quality: number): Promise<Uint8Array> => compressBrotli(bytes, {
  chunkSize: Math.max(bytes.length, 64),
  params: {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_LGWIN]: Math.min(20, Math.max(16, Math.ceil(Math.log2(bytes.length + 16)))),
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  },
});

/** @param quality 0 to 11. Any quality reads the same. */
export const brotli = (quality: number = DEFAULT_QUALITY): Codec => ({
  name: 'brotli',
  compress: async (block, use) => {
    if (block.length >= SAMPLED_FROM) {
      const sample = sampleOf(block);
      const packed = await pack(sample, quality);
      if (packed.length > sample.length * (1 - WORTH_SAVING)) return use(null);
    }
    return use(await pack(block, quality));
  },
  expand: async (stored, into) => {
    // One byte more than needed: an output that fills the buffer exactly would make a second trip to learn that it has ended.
    const plain = await expandBrotli(stored, { chunkSize: Math.max(into.length + 1, 64), maxOutputLength: into.length });
    if (plain.length !== into.length) throw new RangeError(`The Brotli stream holds ${String(plain.length)} bytes instead of ${String(into.length)}.`);
    into.set(plain);
  },
});
