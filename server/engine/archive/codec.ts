import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';
import { DomainError } from '../../domain/errors.js';
import { type CodecName } from './layout.js';

/** Compresses blocks on their own. Runs off the main thread; several calls may run at once. */
export interface Codec {
  readonly name: CodecName;
  /** The result may be longer than `block`: the caller then stores the block raw. Null: not worth trying. */
  compress(block: Uint8Array): Promise<Uint8Array | null>;
  /** Never yields more than `plainLength` bytes; rejects on anything malformed. */
  expand(stored: Uint8Array, plainLength: number): Promise<Uint8Array>;
}

const compressBrotli = promisify(brotliCompress);
const expandBrotli = promisify(brotliDecompress);

/**
 * The output buffer is as large as the block, so that one block costs one trip to the thread pool; Node's default of 16 KiB
 * makes dozens and halves the speed. A window no larger than the block saves memory and loses nothing.
 */
const brotli = (quality: number): Codec => ({
  name: 'brotli',
  compress: (block) => compressBrotli(block, {
    chunkSize: Math.max(block.length, 64),
    params: {
      [constants.BROTLI_PARAM_QUALITY]: quality,
      [constants.BROTLI_PARAM_LGWIN]: Math.min(20, Math.max(16, Math.ceil(Math.log2(block.length + 16)))),
      [constants.BROTLI_PARAM_SIZE_HINT]: block.length,
    },
  }),
  // One byte more than needed: an output that fills the buffer exactly would make a second trip to learn that it has ended.
  expand: (stored, plainLength) => expandBrotli(stored, { chunkSize: Math.max(plainLength + 1, 64), maxOutputLength: plainLength }),
});

const none: Codec = {
  name: 'none',
  compress: () => Promise.resolve(null),
  expand: () => Promise.reject(new RangeError('A compressed block in an archive without compression.')),
};

export interface CodecChoice {
  name: CodecName;
  /** brotli: 0 to 11, default 0. Not recorded: any quality reads the same. */
  quality?: number | undefined;
}

/** The codec of that name; UNSUPPORTED_FORMAT for those whose ids are reserved. */
export const codecFor = ({ name, quality }: CodecChoice): Codec => {
  switch (name) {
    case 'none':
      return none;
    case 'brotli':
      return brotli(quality ?? DEFAULT_QUALITY);
    case 'zstd':
    case 'lz4':
      throw new DomainError('UNSUPPORTED_FORMAT', `Codec ${name} is not part of this version.`, { hint: 'Use brotli or none.' });
  }
};

/** Quality 0 takes about a third less CPU than 1 for files 5 to 10 % larger, and keeps ahead of a server that sends 250 MB/s. */
const DEFAULT_QUALITY = 0;
export const DEFAULT_CODEC: CodecChoice = { name: 'brotli' };
