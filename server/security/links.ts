import { createHmac, timingSafeEqual } from 'node:crypto';
import { type LinkClaims, type LinkSigner } from '../services/ports.js';
import { type MasterKey, type MasterKeys } from './master-key.js';

/*
 * A link's token: base64url(JSON [version, master key's id, method, link, backup, project, expiry in s, API key's id]) "." base64url(HMAC-SHA-256 of the
 * former). The link's id is its nonce: 80 of its bits are random, and no two links share it. The HMAC covers a fixed purpose too, so that no other
 * signature of this service can be passed off as a link.
 */
const VERSION = 3;
/** HEAD asks for a part of what GET does. */
const METHOD = 'GET';
const MAX_LENGTH = 1024;

export const createLinkSigner = ({ current, all }: MasterKeys): LinkSigner => {
  const keyed = (master: MasterKey) => {
    const key = master.derive('download links v1');
    return { id: master.id, signature: (body: string): Buffer => createHmac('sha256', key).update('download link\n').update(body).digest() };
  };
  const signing = keyed(current);
  // A link outlives a change of keys as long as its key is still given.
  const keys = all.map(keyed);
  return {
    sign({ linkId, backupId, projectId, expiresAt, keyId }) {
      const body = Buffer.from(JSON.stringify([VERSION, signing.id, METHOD, linkId, backupId, projectId, Math.floor(expiresAt.getTime() / 1000), keyId])).toString('base64url');
      return `${body}.${signing.signature(body).toString('base64url')}`;
    },
    verify(token, now) {
      if (token.length > MAX_LENGTH) return undefined;
      const dot = token.indexOf('.');
      const body = token.slice(0, Math.max(dot, 0));
      // As text: decoding would take several spellings of one signature.
      const given = Buffer.from(token.slice(dot + 1));
      const [right] = keys.filter(({ signature }) => {
        const wanted = Buffer.from(signature(body).toString('base64url'));
        return given.length === wanted.length && timingSafeEqual(given, wanted);
      });
      const claims = right && parseClaims(body, right.id);
      return claims && claims.expiresAt > now ? claims : undefined;
    },
  };
};

const parseClaims = (body: string, signedBy: string): LinkClaims | undefined => {
  const fields: unknown = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'));
  if (!Array.isArray(fields) || fields.length !== 8) return undefined;
  const [version, masterKeyId, method, linkId, backupId, projectId, expiry, keyId] = fields as unknown[];
  if (version !== VERSION || masterKeyId !== signedBy || method !== METHOD) return undefined;
  if (typeof linkId !== 'string' || typeof backupId !== 'string' || typeof projectId !== 'string' || typeof expiry !== 'number' || typeof keyId !== 'string') return undefined;
  return { linkId, backupId, projectId, expiresAt: new Date(expiry * 1000), keyId };
};
