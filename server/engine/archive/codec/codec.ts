import { DomainError } from '../../../domain/errors.js';
import { type CodecName } from '../layout.js';
import { brotli } from './brotli.js';
import { lz4 } from './lz4.js';

/** Compresses blocks on their own. Several calls may run at once. */
export interface Codec {
  readonly name: CodecName;
  /**
   * Calls `use` once, and gives back what it does. The compressed bytes are there during that call only: the next block may overwrite them.
   * They may be more than the block's: the caller then stores the block raw. Null: not worth trying.
   */
  compress<T>(block: Uint8Array, use: (packed: Uint8Array | null) => T): Promise<T>;
  /** Memory for one block, the same at each call: what lies at its beginning is compressed without a copy, and `use` is called before `compress` returns. */
  lend?(): Buffer;
  /** What was lent, for whoever asks next. */
  takeBack?(): void;
  /** Fills `into`, of the block's plain length; rejects on anything malformed, and on any other length. */
  expand(stored: Uint8Array, into: Uint8Array): Promise<void>;
}

const none: Codec = {
  name: 'none',
  compress: async (_, use) => use(null),
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

/** LZ4: a fifth of the CPU of brotli at its fastest, and a twelfth on the way back, for archives a seventh larger. */
export const DEFAULT_CODEC: CodecChoice = { name: 'lz4' };
