import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { type Principal } from '../domain/principal.js';
import { type ApiKeyRepository } from '../services/ports.js';

/* `sb_<26 characters of the key's id>_<43 of secret><6 of checksum>`; the checksum lets scanners and clients spot a mistyped key. */
const SHAPE = /^sb_([0-9a-hjkmnp-tv-z]{26})_([A-Za-z0-9_-]{43})([0-9a-z]{6})$/;

const checksum = (body: string): string => crc32(Buffer.from(body)).toString(36).padStart(6, '0').slice(-6);
const hash = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** Makes a key's text for `keyId` (`key_…`) and the hash to store. The text is shown once and kept nowhere. */
export const makeApiKey = (keyId: string): { text: string; secretHash: Buffer } => {
  const secret = randomBytes(32).toString('base64url');
  const body = `sb_${keyId.slice('key_'.length)}_${secret}`;
  return { text: `${body}${checksum(body)}`, secretHash: hash(secret) };
};

/**
 * Turns the text of a key into its principal; undefined for anything that is not a known, unexpired, unrevoked key. The secret is
 * compared in constant time. 256 random bits need no slow hash.
 */
export const createAuthenticator =
  (keys: ApiKeyRepository, now: () => Date) =>
  async (token: string): Promise<Principal | undefined> => {
    const match = SHAPE.exec(token);
    if (!match?.[1] || !match[2] || checksum(`sb_${match[1]}_${match[2]}`) !== match[3]) return undefined;
    const key = await keys.findForLogin(`key_${match[1]}`);
    if (!key || !timingSafeEqual(hash(match[2]), key.secretHash)) return undefined;
    const at = now();
    if (key.revokedAt !== null || (key.expiresAt !== null && key.expiresAt <= at)) return undefined;
    return { keyId: key.id, projectId: key.projectId, role: key.role };
  };
