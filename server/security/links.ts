import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type LinkClaims, type LinkSigner } from '../services/ports.js';
import { type MasterKey, type MasterKeys } from './master-key.js';

/*
 * A link's token: base64url(JSON [version, backup, project, expiry in s, nonce, key]) "." base64url(HMAC-SHA-256 of the former).
 * The HMAC covers a fixed purpose too, so that no other signature of this service can be passed off as a link.
 */
const VERSION = 2;
/** Without a key; such links live for a week after the upgrade at most. */
const OLD_VERSION = 1;

export const createLinkSigner = ({ current, all }: MasterKeys): LinkSigner => {
  const keyed = (master: MasterKey) => {
    const key = master.derive('download links v1');
    return (body: string): Buffer => createHmac('sha256', key).update('GET download\n').update(body).digest();
  };
  const sign = keyed(current);
  // A link outlives a change of keys as long as its key is still given.
  const signatures = all.map(keyed);
  return {
    sign(claims) {
      const body = Buffer.from(
        JSON.stringify([VERSION, claims.backupId, claims.projectId, Math.floor(claims.expiresAt.getTime() / 1000), randomBytes(12).toString('base64url'), claims.keyId]),
      ).toString('base64url');
      return `${body}.${sign(body).toString('base64url')}`;
    },
    verify(token, now) {
      if (token.length > 1024) return undefined;
      const dot = token.indexOf('.');
      const body = token.slice(0, dot);
      // As text: decoding would take several spellings of one signature.
      const given = Buffer.from(token.slice(dot + 1));
      const isRight = signatures.some((signature) => {
        const wanted = Buffer.from(signature(body).toString('base64url'));
        return given.length === wanted.length && timingSafeEqual(given, wanted);
      });
      if (dot < 1 || !isRight) return undefined;
      const claims = parseClaims(body);
      return claims && claims.expiresAt > now ? claims : undefined;
    },
  };
};

const parseClaims = (body: string): LinkClaims | undefined => {
  const fields: unknown = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'));
  if (!Array.isArray(fields) || (fields[0] !== VERSION && fields[0] !== OLD_VERSION)) return undefined;
  const [version, backupId, projectId, expiry, , key] = fields as unknown[];
  const keyId = version === OLD_VERSION ? null : key;
  if (typeof backupId !== 'string' || typeof projectId !== 'string' || typeof expiry !== 'number') return undefined;
  if (keyId !== null && typeof keyId !== 'string') return undefined;
  return { backupId, projectId, expiresAt: new Date(expiry * 1000), keyId };
};
