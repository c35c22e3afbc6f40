import { type Codec } from '../codec/codec.js';
import { TAG_BYTES } from '../layout.js';
import { type Seal } from '../seal.js';

/** What is wrong with a stored block, in words; its cause is what the codec said. Who knows the object says where. */
export class BlockDamage extends Error {
  constructor(what: string, options?: { cause: unknown }) {
    super(what, options);
    this.name = 'BlockDamage';
  }
}

export interface StoredBlock {
  /** 16 bytes, compared already with what they must be. */
  header: Uint8Array;
  storedLength: number;
  plainLength: number;
  raw: boolean;
}

/** Checks the tag and decrypts: a copy of the content. Nothing of a block is released before. Fails with BlockDamage. */
export const unsealBlock = (seal: Seal, { header, storedLength }: StoredBlock, sealed: Uint8Array): Uint8Array => {
  const content = seal.open(header, sealed.subarray(0, storedLength), sealed.subarray(storedLength, storedLength + TAG_BYTES));
  if (content === null) throw new BlockDamage('its tag is wrong');
  return content;
};

/** Fills `into`, of the block's plain length, from its content. Fails with BlockDamage. */
export const expandBlock = async (codec: Codec, { raw }: StoredBlock, content: Uint8Array, into: Uint8Array): Promise<void> => {
  if (raw) return into.set(content);
  await codec.expand(content, into).catch((cause: unknown) => {
    throw new BlockDamage('it cannot be expanded', { cause });
  });
};
