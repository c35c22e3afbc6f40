import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createApiKeyMaker, createAuthenticator, makeApiKey } from '../../../server/security/api-keys.js';
import { masterKeysFromText } from '../../../server/security/master-key.js';
import { type ApiKeyRepository, type ApiKeyRow } from '../../../server/services/ports.js';

const ID = 'key_01hzy0000000000000000000a1';
const NOW = new Date('2026-03-01T12:00:00Z');

const rowOf = (key: { secretHash: Buffer }, change: Partial<ApiKeyRow> = {}): ApiKeyRow => ({
  id: ID, projectId: 'prj_1', name: 'a key', role: 'OPERATOR', serviceWide: false, instanceIds: null, secretHash: key.secretHash, createdAt: NOW, expiresAt: null, revokedAt: null, lastUsedAt: null, ...change,
});

const authenticatorOver = (...rows: ApiKeyRow[]) => {
  const asked: string[] = [];
  const touched: string[] = [];
  const keys: Pick<ApiKeyRepository, 'findForLogin' | 'touch'> = {
    findForLogin: (id) => {
      asked.push(id);
      return Promise.resolve(rows.find((row) => row.id === id) ?? null);
    },
    touch: (id) => {
      touched.push(id);
      return Promise.reject(new Error('The database is away'));
    },
  };
  const troubles: unknown[] = [];
  const refused: unknown[] = [];
  const authenticate = createAuthenticator({
    keys, now: () => NOW, onTrouble: (error) => troubles.push(error),
    onRefused: async ({ id }, from) => {
      refused.push([id, from]);
    },
  });
  return { authenticate, asked, touched, troubles, refused };
};

describe('API keys', () => {
  it('look as documented, are never the same, and are stored as a hash of the secret', () => {
    const keys = Array.from({ length: 50 }, () => makeApiKey(ID));
    for (const { text, secretHash } of keys) {
      expect(text).toMatch(/^sb_01hzy0000000000000000000a1_[A-Za-z0-9_-]{43}[0-9a-z]{6}$/);
      const secret = text.slice(30, 73);
      expect(secretHash).toEqual(createHash('sha256').update(secret).digest());
    }
    expect(new Set(keys.map(({ text }) => text)).size).toBe(50);
  });

  it('are made again from their seed, under any master key that is still there, and from nothing else', () => {
    const [old, fresh] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
    const maker = createApiKeyMaker(masterKeysFromText(old));
    const { seed, ...key } = maker.make(ID);
    const row = rowOf(key);
    expect(key.text).toMatch(/^sb_01hzy0000000000000000000a1_[A-Za-z0-9_-]{43}[0-9a-z]{6}$/);
    expect(key.secretHash).toEqual(createHash('sha256').update(key.text.slice(30, 73)).digest());
    expect(key.text).not.toContain(seed);
    expect(maker.makeAgain(row, seed)).toBe(key.text);
    expect(createApiKeyMaker(masterKeysFromText(`${fresh},${old}`)).makeAgain(row, seed)).toBe(key.text);

    expect(createApiKeyMaker(masterKeysFromText(fresh)).makeAgain(row, seed)).toBeUndefined();
    expect(maker.makeAgain(row, maker.make(ID).seed)).toBeUndefined();
    expect(maker.makeAgain({ ...row, id: 'key_01hzy0000000000000000000b2' }, seed)).toBeUndefined();
    // Two keys of one id, as of no id at all, have nothing in common.
    expect(maker.make(ID).text).not.toBe(key.text);
  });

  it('log in as who they are', async () => {
    const key = makeApiKey(ID);
    const { authenticate, touched, troubles } = authenticatorOver(rowOf(key, { instanceIds: ['ins_1'] }));
    const caller = { credential: 'API_KEY', keyId: ID, name: 'a key', projectId: 'prj_1', role: 'OPERATOR', serviceWide: false, instanceIds: ['ins_1'], expiresAt: null };
    for (let times = 0; times < 3; times += 1) expect(await authenticate(key.text)).toEqual(caller);
    // Noted once in a minute, and nobody is kept out when it cannot be.
    expect([touched, troubles]).toEqual([[ID], [expect.any(Error)]]);
  });

  it('any other text is nobody, and a mistyped one is not even looked up', async () => {
    const key = makeApiKey(ID);
    const { authenticate, asked } = authenticatorOver(rowOf(key));
    for (let at = 0; at < key.text.length; at += 1) {
      for (const other of ['a', 'B', '7', '_', '\0', '.']) {
        if (key.text[at] === other) continue;
        expect(await authenticate(`${key.text.slice(0, at)}${other}${key.text.slice(at + 1)}`), `${at} ${other}`).toBeUndefined();
      }
    }
    for (const text of ['', 'sb_', key.text.slice(0, -1), `${key.text}x`, ` ${key.text}`, `${key.text}\n`, key.text.toUpperCase(), 'x'.repeat(100_000), ID]) {
      expect(await authenticate(text)).toBeUndefined();
    }
    expect(asked).toEqual([]);
    expect(await authenticate(makeApiKey(ID).text)).toBeUndefined();
    expect(await authenticate(makeApiKey('key_01hzy0000000000000000000b2').text)).toBeUndefined();
    expect(asked).toEqual([ID, 'key_01hzy0000000000000000000b2']);
  });

  it('end at their expiry and when they are revoked', async () => {
    const key = makeApiKey(ID);
    const at = (change: Partial<ApiKeyRow>) => authenticatorOver(rowOf(key, change)).authenticate(key.text);
    const revoked = authenticatorOver(rowOf(key, { revokedAt: NOW }));
    await revoked.authenticate(key.text, '192.0.2.1');
    // Whoever does not have the secret is not told of.
    await revoked.authenticate(makeApiKey(ID).text, '192.0.2.1');
    expect(revoked.refused).toEqual([[ID, '192.0.2.1']]);
    expect(await at({ expiresAt: new Date(NOW.getTime() + 1) })).toBeDefined();
    expect(await at({ expiresAt: NOW })).toBeUndefined();
    expect(await at({ revokedAt: new Date(NOW.getTime() - 1) })).toBeUndefined();
  });
});
