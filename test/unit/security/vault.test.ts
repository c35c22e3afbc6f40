import { createCipheriv, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { masterKeysFromText } from '../../../server/security/master-key.js';
import { createVault } from '../../../server/security/vault.js';
import { type SecretPlace } from '../../../server/services/ports.js';

const keys = masterKeysFromText('ab'.repeat(32));
const master = keys.current;
const vault = createVault(keys);
const place: SecretPlace = { projectId: 'prj_1', table: 'instances', column: 'secrets', rowId: 'ins_1' };

const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof DomainError) return error.code;
    throw error;
  }
  return 'opened';
};

describe('the vault', () => {
  it('opens what it sealed, where it was sealed', () => {
    for (const plain of ['', 'geheim', 'пароль 🗝', 'x'.repeat(100_000)]) {
      const sealed = vault.seal(place, plain);
      expect(vault.open(place, sealed)).toBe(plain);
      expect(createVault(masterKeysFromText('AB'.repeat(32))).open(place, sealed)).toBe(plain);
      if (plain !== '') expect(sealed.includes(Buffer.from(plain))).toBe(false);
    }
  });

  it('never seals to the same bytes twice', () => {
    expect(new Set(Array.from({ length: 100 }, () => vault.seal(place, 'same').toString('hex'))).size).toBe(100);
  });

  it('opens at no other place', () => {
    const sealed = vault.seal(place, 'geheim');
    for (const change of [{ projectId: 'prj_2' }, { table: 'projects' }, { column: 'tls' }, { rowId: 'ins_2' }, { table: 'instances","secrets', column: '' }]) {
      expect(codeOf(() => vault.open({ ...place, ...change }, sealed)), JSON.stringify(change)).toBe('CORRUPT');
    }
  });

  it('refuses every edited byte, every cut, and what is longer', () => {
    const sealed = vault.seal(place, 'geheim');
    for (let at = 0; at < sealed.length; at += 1) {
      const edited = Buffer.from(sealed);
      edited[at] = (edited[at] ?? 0) ^ 1;
      expect(codeOf(() => vault.open(place, edited)), String(at)).toBe(at === 0 ? 'UNSUPPORTED_FORMAT' : at < 9 ? 'KEY_UNAVAILABLE' : 'CORRUPT');
      expect(codeOf(() => vault.open(place, sealed.subarray(0, at)))).not.toBe('opened');
    }
    expect(codeOf(() => vault.open(place, Buffer.concat([sealed, Buffer.alloc(1)])))).toBe('CORRUPT');
  });

  /** As releases before sealed, and as somebody might who knew the keys but wanted to be believed without the whole tag. */
  const direct = (plain: string, tag: number): { sealed: Buffer; bare: Buffer } => {
    const head = Buffer.concat([Buffer.from([1]), Buffer.from(master.id, 'ascii')]);
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', master.derive('vault v1'), nonce, { authTagLength: tag });
    cipher.setAAD(Buffer.concat([head, Buffer.from(JSON.stringify(['prj_1', 'instances', 'secrets', 'ins_1']))]));
    const body = Buffer.concat([cipher.update(plain), cipher.final()]);
    return { sealed: Buffer.concat([head, nonce, body, cipher.getAuthTag()]), bare: Buffer.concat([head, nonce, cipher.getAuthTag()]) };
  };

  it('opens what releases before sealed, at its place only', () => {
    const { sealed } = direct('geheim', 16);
    expect(vault.open(place, sealed)).toBe('geheim');
    expect(codeOf(() => vault.open({ ...place, rowId: 'ins_2' }, sealed))).toBe('CORRUPT');
  });

  it('refuses a tag of four bytes, which somebody could find by trying', () => {
    // Long enough to pass for a whole one: its last 16 bytes are taken for the tag.
    const { sealed, bare } = direct('a rather long secret text', 4);
    expect(codeOf(() => vault.open(place, sealed))).toBe('CORRUPT');
    expect(codeOf(() => vault.open(place, bare))).toBe('UNSUPPORTED_FORMAT');
    // Of the boxes of today: four bytes of the secret's tag, or of its key's, and the rest cut off.
    const whole = vault.seal(place, 'a rather long secret text');
    for (const cut of [whole.subarray(0, -12), Buffer.concat([whole.subarray(0, 57), whole.subarray(69)])]) expect(codeOf(() => vault.open(place, cut))).toBe('CORRUPT');
  });

  it('has a key for each secret, which opens no other', () => {
    const [one, two] = [vault.seal(place, 'geheim'), vault.seal(place, 'anders')];
    const head = 9 + 60;
    expect(codeOf(() => vault.open(place, Buffer.concat([one.subarray(0, head), two.subarray(head)])))).toBe('CORRUPT');
    expect(vault.open(place, Buffer.concat([two.subarray(0, head), two.subarray(head)]))).toBe('anders');
  });

  it('says which key is needed when it has another one, and tells neither key nor secret', () => {
    const sealed = vault.seal(place, 'geheim');
    const other = createVault(masterKeysFromText('cd'.repeat(32)));
    expect(() => other.open(place, sealed)).toThrow(expect.objectContaining({ code: 'KEY_UNAVAILABLE', message: expect.stringContaining(master.id) as string }));
    try {
      other.open(place, sealed);
    } catch (error) {
      expect(String(error)).not.toMatch(/geheim|abab|cdcd/);
    }
  });

  it('opens under every key it has, and seals under the first', () => {
    const [old, fresh] = ['ab'.repeat(32), 'cd'.repeat(32)];
    const both = createVault(masterKeysFromText(`${fresh}, ${old}`));
    expect(both.open(place, vault.seal(place, 'geheim'))).toBe('geheim');
    const sealed = both.seal(place, 'geheim');
    expect(createVault(masterKeysFromText(fresh)).open(place, sealed)).toBe('geheim');
    expect(codeOf(() => vault.open(place, sealed))).toBe('KEY_UNAVAILABLE');
    expect(both.keyId).toBe(masterKeysFromText(fresh).current.id);
  });
});
