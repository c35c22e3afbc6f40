import { createHash, timingSafeEqual } from 'node:crypto';
import { DomainError } from '../../domain/errors.js';
import { TAG_BYTES, type CipherName } from './layout.js';

/** Binds a block's bytes to its header and to the object's header. Works in place: plain and stored bytes have the same length. */
export interface Seal {
  readonly cipher: CipherName;
  /** Replaces `payload` by what is to be stored and returns the 16-byte tag. */
  seal(blockHeader: Uint8Array, payload: Uint8Array): Uint8Array;
  /** Checks the tag first; only if it is right `payload` is replaced by its content and true returned. */
  open(blockHeader: Uint8Array, payload: Uint8Array, tag: Uint8Array): boolean;
}

/** cipher none: the tag finds damage, not an attacker, who can compute it too. */
const unencrypted = (header: Uint8Array): Seal => {
  const seal = (blockHeader: Uint8Array, payload: Uint8Array): Uint8Array =>
    createHash('sha256').update(header).update(blockHeader).update(payload).digest().subarray(0, TAG_BYTES);
  return {
    cipher: 'none',
    seal,
    open: (blockHeader, payload, tag) => tag.length === TAG_BYTES && timingSafeEqual(seal(blockHeader, payload), tag),
  };
};

/** @param header the object's 64 header bytes, associated data of every block */
export const sealFor = (cipher: CipherName, header: Uint8Array): Seal => {
  switch (cipher) {
    case 'none':
      return unencrypted(header);
    case 'aes-256-gcm':
      throw new DomainError('UNSUPPORTED_FORMAT', 'Cipher aes-256-gcm is not part of this version.', {
        hint: 'Use a version of Snapback that encrypts archives.',
      });
  }
};
