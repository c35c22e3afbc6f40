import { createCipheriv, createDecipheriv, createHash, hkdfSync, timingSafeEqual, type Hash } from 'node:crypto';
import { DomainError } from '../../domain/errors.js';
import { SALT_AT, TAG_BYTES, type CipherName } from './layout.js';
import { releaseMemory } from './release-memory.js';

/** Binds a block's bytes to its header and to the object's header. Plain and stored bytes have the same length. */
export interface Seal {
  readonly cipher: CipherName;
  /** Fills `into`, which is as long as the payload and may be where it lies, with what is to be stored; returns the tag. */
  seal(blockHeader: Uint8Array, payload: Uint8Array, into: Uint8Array): Uint8Array;
  /** A copy of the content, decrypted; null when the tag is wrong: nothing of such a block is released. */
  open(blockHeader: Uint8Array, payload: Uint8Array, tag: Uint8Array): Buffer | null;
}

/** cipher none: the tag finds damage, not an attacker, who can compute it too. */
const unencrypted = (header: Uint8Array): Seal => {
  const tagged = (blockHeader: Uint8Array): Hash => createHash('sha256').update(header).update(blockHeader);
  const tagOf = (hash: Hash): Uint8Array => hash.digest().subarray(0, TAG_BYTES);
  return {
    cipher: 'none',
    seal: (blockHeader, payload, into) => {
      into.set(payload);
      return tagOf(tagged(blockHeader).update(payload));
    },
    open(blockHeader, payload, tag) {
      const right = tag.length === TAG_BYTES && timingSafeEqual(tagOf(tagged(blockHeader).update(payload)), tag);
      return right ? Buffer.from(payload) : null;
    },
  };
};

/** Kind, zeroes, counter, as they stand in the frame's header: a key serves one object, and there no two frames have the same. */
const nonceOf = (blockHeader: Uint8Array): Uint8Array => {
  const nonce = new Uint8Array(12);
  nonce[0] = blockHeader[13] ?? 0;
  nonce.set(blockHeader.subarray(8, 12), 8);
  return nonce;
};

/** Encrypted at once: what comes out, in memory of its own, is zeroed, filled, copied and given back within the processor's caches. */
const PIECE_BYTES = 64 * 1024;

const encrypted = (header: Uint8Array, backupKey: Uint8Array): Seal => {
  const key = Buffer.from(hkdfSync('sha256', backupKey, header.subarray(SALT_AT), 'snapback v1 data', 32));
  const bound = (blockHeader: Uint8Array): Uint8Array => Buffer.concat([header, blockHeader]);
  return {
    cipher: 'aes-256-gcm',
    seal(blockHeader, payload, into) {
      const cipher = createCipheriv('aes-256-gcm', key, nonceOf(blockHeader), { authTagLength: TAG_BYTES });
      cipher.setAAD(bound(blockHeader));
      for (let at = 0; at < payload.length; at += PIECE_BYTES) {
        const sealed = cipher.update(payload.subarray(at, at + PIECE_BYTES));
        into.set(sealed, at);
        releaseMemory(sealed);
      }
      cipher.final();
      return cipher.getAuthTag();
    },
    open(blockHeader, payload, tag) {
      if (tag.length !== TAG_BYTES) return null;
      const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(blockHeader), { authTagLength: TAG_BYTES });
      decipher.setAAD(bound(blockHeader));
      decipher.setAuthTag(tag);
      const content = decipher.update(payload);
      try {
        decipher.final();
      } catch {
        // The one way in which GCM says that the tag is wrong.
        return null;
      }
      return content;
    },
  };
};

/**
 * @param header the object's 64 header bytes, associated data of every block
 * @param backupKey 32 bytes; not asked for with cipher none
 */
export const sealFor = (cipher: CipherName, header: Uint8Array, backupKey: Uint8Array | null): Seal => {
  switch (cipher) {
    case 'none':
      return unencrypted(header);
    case 'aes-256-gcm':
      if (backupKey === null) throw new DomainError('KEY_UNAVAILABLE', 'An encrypted archive cannot be opened without its key.', { hint: 'Configure the master key that the archive was written under.' });
      return encrypted(header, backupKey);
  }
};
