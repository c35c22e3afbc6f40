import { DomainError } from '../../../domain/errors.js';
import { type CodecName } from '../layout.js';
import { brotli } from './brotli.js';
import { canCompressLz4, lz4 } from './lz4.js';

/** Compresses blocks on their own. Runs off the main thread; several calls may run at once. */
export interface Codec {
  readonly name: CodecName;
  /** The result may be longer than `block`: the caller then stores the block raw. Null: not worth trying. */
  compress(block: Uint8Array): Promise<Uint8Array | null>;
  /** Never yields more than `plainLength` bytes; rejects on anything malformed. */
  expand(stored: Uint8Array, plainLength: number): Promise<Uint8Array>;
}

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
      return brotli(quality);
    case 'lz4':
      return lz4();
    case 'zstd':
      throw new DomainError('UNSUPPORTED_FORMAT', `Codec ${name} is not part of this version.`, { hint: 'Use lz4, brotli or none.' });
  }
};

/** Whether blocks can be compressed with it on this machine; reading is possible everywhere. */
export const canCompress = (name: CodecName): boolean => name === 'none' || name === 'brotli' || (name === 'lz4' && canCompressLz4);

/**
 * LZ4: half the CPU of brotli at its fastest, and a tenth on the way back, for archives an eighth larger. Where its addon has no
 * binary, brotli, which is part of Node.
 */
export const DEFAULT_CODEC: CodecChoice = { name: canCompress('lz4') ? 'lz4' : 'brotli' };
