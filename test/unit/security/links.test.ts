import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createLinkSigner } from '../../../server/security/links.js';
import { masterKeysFromText } from '../../../server/security/master-key.js';

const keys = masterKeysFromText('ab'.repeat(32));
const master = keys.current;
const links = createLinkSigner(keys);
const NOW = new Date('2026-03-01T12:00:00Z');
const claims = { linkId: 'lnk_1', backupId: 'bak_1', projectId: 'prj_1', expiresAt: new Date(NOW.getTime() + 60_000), keyId: 'key_1' };

describe('download links', () => {
  it('carry exactly what was signed, to the second, and fit into a URL as they are', () => {
    const token = links.sign(claims);
    expect(token).toMatch(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$/);
    expect(links.verify(token, NOW)).toEqual(claims);
    expect(createLinkSigner(masterKeysFromText('AB'.repeat(32))).verify(token, NOW)).toEqual(claims);
  });

  it('end at their time', () => {
    const token = links.sign(claims);
    expect(links.verify(token, new Date(claims.expiresAt.getTime() - 1))).toBeDefined();
    expect(links.verify(token, claims.expiresAt)).toBeUndefined();
    expect(links.verify(token, new Date(claims.expiresAt.getTime() + 1e9))).toBeUndefined();
  });

  it('hold for no edited, cut, prolonged or differently spelled token', () => {
    const token = links.sign(claims);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    for (let at = 0; at < token.length; at += 1) {
      for (const other of [...alphabet, '.', '=', '+', '\0']) {
        if (token[at] !== other) expect(links.verify(`${token.slice(0, at)}${other}${token.slice(at + 1)}`, NOW), `${at} ${other}`).toBeUndefined();
      }
      expect(links.verify(token.slice(0, at), NOW)).toBeUndefined();
    }
    const [body = '', signature = ''] = token.split('.');
    for (const spelled of [`${token}=`, `${token}!`, `${token} `, `${body}=.${signature}`, `.${signature}`, `${signature}.${body}`, `${token}.${signature}`, '', '.', 'x'.repeat(100_000)]) {
      expect(links.verify(spelled, NOW), spelled.slice(0, 40)).toBeUndefined();
    }
  });

  it('hold for one link, backup, tenant and time only: claims cannot be put together with another signature', () => {
    const [, signature] = links.sign(claims).split('.');
    for (const other of [{ linkId: 'lnk_2' }, { backupId: 'bak_2' }, { projectId: 'prj_2' }, { keyId: 'key_2' }, { expiresAt: new Date(claims.expiresAt.getTime() + 1_000) }]) {
      const [body] = links.sign({ ...claims, ...other }).split('.');
      expect(links.verify(`${body}.${signature}`, NOW)).toBeUndefined();
    }
  });

  it('outlive a change of keys while the old one is still given', () => {
    const token = links.sign(claims);
    const both = createLinkSigner(masterKeysFromText(`${'cd'.repeat(32)},${'ab'.repeat(32)}`));
    expect(both.verify(token, NOW)).toEqual(claims);
    expect(links.verify(both.sign(claims), NOW)).toBeUndefined();
  });

  it('hold under no other key, and no other signature of the same key passes for one', () => {
    expect(createLinkSigner(masterKeysFromText('cd'.repeat(32))).verify(links.sign(claims), NOW)).toBeUndefined();
    const [body = ''] = links.sign(claims).split('.');
    for (const purpose of ['download links v1', 'vault v1']) {
      const plain = createHmac('sha256', master.derive(purpose)).update(body).digest('base64url');
      expect(links.verify(`${body}.${plain}`, NOW)).toBeUndefined();
    }
  });

  it('of another version, or with claims of another shape, hold for nothing although they are signed', () => {
    const key = master.derive('download links v1');
    const signed = (fields: unknown): string => {
      const body = Buffer.from(JSON.stringify(fields)).toString('base64url');
      return `${body}.${createHmac('sha256', key).update('download link\n').update(body).digest('base64url')}`;
    };
    const right = [3, master.id, 'GET', 'lnk_1', 'bak_1', 'prj_1', claims.expiresAt.getTime() / 1000, 'key_1'];
    expect(links.verify(signed(right), NOW)).toEqual(claims);
    // Another version, the id of another key, another method, and then each of the others.
    const others: unknown[] = [2, '00000000', 'PUT', 5, null, {}, 'soon', null];
    for (const [at, other] of others.entries()) expect(links.verify(signed(right.with(at, other as never)), NOW), String(other)).toBeUndefined();
    for (const fields of [right.slice(0, 7), [...right, 'more'], {}, null, 'x', 1]) expect(links.verify(signed(fields), NOW), JSON.stringify(fields)).toBeUndefined();
  });
});
