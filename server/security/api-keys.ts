import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { createJoint } from '../domain/joint.js';
import { type Principal } from '../domain/principal.js';
import { type ApiKeyMaker, type ApiKeyRepository, type ApiKeyRow, type NewApiKey } from '../services/ports.js';
import { type MasterKeys } from './master-key.js';

/* `sb_<26 characters of the key's id>_<43 of secret><6 of checksum>`; the checksum lets scanners and clients spot a mistyped key. */
const SHAPE = /^sb_([0-9a-hjkmnp-tv-z]{26})_([A-Za-z0-9_-]{43})([0-9a-z]{6})$/;

const checksum = (body: string): string => crc32(Buffer.from(body)).toString(36).padStart(6, '0').slice(-6);
const hash = (secret: string): Buffer => createHash('sha256').update(secret).digest();

const keyOf = (keyId: string, bytes: Buffer): NewApiKey => {
  const secret = bytes.toString('base64url');
  const body = `sb_${keyId.slice('key_'.length)}_${secret}`;
  return { text: `${body}${checksum(body)}`, secretHash: hash(secret) };
};

/** Makes a key's text for `keyId` (`key_…`) and the hash to store. The text is shown once and kept nowhere. */
export const makeApiKey = (keyId: string): NewApiKey => keyOf(keyId, randomBytes(32));

/**
 * Keys whose secret is HMAC-SHA-256, under a key derived from the master key, of 256 random bits (the seed) and the key's id. Whoever keeps the seed can
 * have the text made again; the seed tells nothing without the master key, and when it is forgotten, the master key tells nothing either.
 */
export const createApiKeyMaker = ({ current, all }: MasterKeys): ApiKeyMaker => {
  const secretUnder = (key: Buffer) => (keyId: string, seed: string): Buffer => createHmac('sha256', key).update(`api key\n${keyId}\n${seed}`).digest();
  const purpose = 'api key secrets v1';
  const under = all.map((master) => secretUnder(master.derive(purpose)));
  const underCurrent = secretUnder(current.derive(purpose));
  return {
    make(keyId) {
      const seed = randomBytes(32).toString('base64url');
      return { ...keyOf(keyId, underCurrent(keyId, seed)), seed };
    },
    makeAgain({ id, secretHash }, seed) {
      return under.map((secret) => keyOf(id, secret(id, seed))).find((key) => timingSafeEqual(key.secretHash, secretHash))?.text;
    },
  };
};

/** How exactly a key's last use is known. */
const USED_MS = 60_000;
/** Keys whose last use is not written again within that time. */
const REMEMBERED = 10_000;

export interface AuthenticatorDeps {
  keys: Pick<ApiKeyRepository, 'findForLogin' | 'touch'>;
  now(): Date;
  /** Somebody has a key's secret, and the key lets nobody in any more. */
  onRefused(key: ApiKeyRow, from: string | undefined): Promise<void>;
  /** The use of a key could not be noted. */
  onTrouble(error: unknown): void;
}

/**
 * Turns the text of a key into its principal; undefined for anything that is not a known, unexpired, unrevoked key. The secret is
 * compared in constant time. 256 random bits need no slow hash. Notes when a key was used.
 */
export const createAuthenticator = ({ keys, now, onRefused, onTrouble }: AuthenticatorDeps) => {
  /** Thousands of clients of one key come back at once when a node has been restarted. */
  const jointly = createJoint();
  const used = new Map<string, number>();
  /** Beside the request, which does not wait for it. */
  const touch = (id: string, at: Date): void => {
    const minute = Math.floor(at.getTime() / USED_MS);
    if (used.get(id) === minute) return;
    if (used.size >= REMEMBERED) used.clear();
    used.set(id, minute);
    keys.touch(id, at).catch(onTrouble);
  };
  return async (token: string, from?: string): Promise<Principal | undefined> => {
    const match = SHAPE.exec(token);
    if (!match?.[1] || !match[2] || checksum(`sb_${match[1]}_${match[2]}`) !== match[3]) return undefined;
    const id = `key_${match[1]}`;
    const key = await jointly(id, () => keys.findForLogin(id));
    if (!key || !timingSafeEqual(hash(match[2]), key.secretHash)) return undefined;
    const at = now();
    if (key.revokedAt !== null || (key.expiresAt !== null && key.expiresAt <= at)) {
      await onRefused(key, from);
      return undefined;
    }
    touch(key.id, at);
    const { name, projectId, role, serviceWide, instanceIds, expiresAt } = key;
    return { credential: 'API_KEY', keyId: id, name, projectId, role, serviceWide, instanceIds, expiresAt };
  };
};
