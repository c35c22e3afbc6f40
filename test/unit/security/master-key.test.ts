import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { masterKeysFromFile, masterKeysFromText } from '../../../server/security/master-key.js';
import { writeSecretFile } from '../../../server/security/secret-file.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';

const HEX = '0123456789abcdef'.repeat(4);

describe('the master key', () => {
  let folder: string;
  let path: string;

  beforeEach(() => {
    folder = makeTempDir('master-key');
    path = join(folder, 'keys', 'master.key');
  });
  afterEach(() => removeTempDir(folder));

  const unavailable = (message: RegExp) => expect.objectContaining({ code: 'KEY_UNAVAILABLE', message: expect.stringMatching(message) as string, hint: expect.any(String) as string }) as Error;

  it('is made once, closed to others, and found again', async () => {
    const made = await masterKeysFromFile(path, { create: true });
    expect(made.created).toBe(true);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'keys'))).mode & 0o777).toBe(0o700);
    const text = await readFile(path, 'utf8');
    expect(text).toMatch(/^[0-9a-f]{64}\n$/);
    const found = await masterKeysFromFile(path, { create: true });
    expect(found).toMatchObject({ created: false, keys: { current: { id: made.keys.current.id } } });
    expect(masterKeysFromText(text).current.id).toBe(made.keys.current.id);
    expect(await readdir(join(folder, 'keys'))).toEqual(['master.key']);
  });

  it('is one key for all processes that make it at the same moment', async () => {
    const made = await Promise.all(Array.from({ length: 8 }, () => masterKeysFromFile(path, { create: true })));
    expect(new Set(made.map(({ keys }) => keys.current.id)).size).toBe(1);
    expect(made.filter(({ created }) => created)).toHaveLength(1);
    expect(await readdir(join(folder, 'keys'))).toEqual(['master.key']);
  });

  it('that is missing is not made anew for a database that knows one', async () => {
    await expect(masterKeysFromFile(path, { create: false })).rejects.toThrow(unavailable(/is missing/));
    expect(await readdir(folder)).toEqual([]);
  });

  it('of any other shape is refused without showing what stands there', async () => {
    await mkdir(join(folder, 'keys'));
    for (const text of ['', '\n', HEX.slice(1), `${HEX}0`, `${HEX} ${HEX}`, HEX.replace('f', 'g'), 'x'.repeat(64)]) {
      await writeFile(path, text);
      const refused = await masterKeysFromFile(path, { create: true }).catch((error: unknown) => error);
      expect(refused).toEqual(unavailable(/does not hold a master key/));
      if (text.trim().length > 4) expect(String(refused)).not.toContain(text.trim().slice(0, 12));
      expect(await readFile(path, 'utf8')).toBe(text);
    }
    expect(() => masterKeysFromText('short')).toThrow(unavailable(/^MASTER_KEY does not/));
  });

  it('may be several while keys change: the first is the current one, and none is given twice', async () => {
    await mkdir(join(folder, 'keys'));
    const other = HEX.split('').reverse().join('');
    await writeFile(path, `${other}\n\n ${HEX} \n`);
    const { keys } = await masterKeysFromFile(path, { create: true });
    expect(keys.all.map(({ id }) => id)).toEqual([masterKeysFromText(other).current.id, masterKeysFromText(HEX).current.id]);
    expect(keys.current).toBe(keys.all[0]);
    expect(masterKeysFromText(`${other},${HEX}`).all.map(({ id }) => id)).toEqual(keys.all.map(({ id }) => id));
    for (const text of [`${HEX},${HEX.toUpperCase()}`, `${HEX}\n${HEX}`]) expect(() => masterKeysFromText(text)).toThrow(unavailable(/MASTER_KEY (holds a master key twice|does not hold)/));
    await writeFile(path, `${HEX}\n${HEX}\n`);
    await expect(masterKeysFromFile(path, { create: true })).rejects.toThrow(unavailable(/holds a master key twice/));
  });

  it('that cannot be read or kept says where', async () => {
    await mkdir(path, { recursive: true });
    await expect(masterKeysFromFile(path, { create: true })).rejects.toThrow(unavailable(/master\.key cannot be read \(EISDIR\)/));
    await writeFile(join(folder, 'file'), '');
    await expect(masterKeysFromFile(join(folder, 'file', 'master.key'), { create: true })).rejects.toThrow(unavailable(/ENOTDIR/));
    await symlink('/nowhere/at/all', join(folder, 'dangling'));
    await expect(masterKeysFromFile(join(folder, 'dangling'), { create: true })).rejects.toThrow(unavailable(/dangling/));
  });

  it('gives every purpose a key of its own, from which neither it nor the others follow', () => {
    const key = masterKeysFromText(HEX).current;
    const derived = ['vault v1', 'download links v1', ''].map((purpose) => key.derive(purpose));
    for (const one of derived) expect(one).toHaveLength(32);
    expect(new Set([...derived.map((one) => one.toString('hex')), HEX]).size).toBe(4);
    expect(key.derive('vault v1')).toEqual(masterKeysFromText(` ${HEX.toUpperCase()}\n`).current.derive('vault v1'));
    expect(key.id).toMatch(/^[0-9a-f]{8}$/);
    expect(HEX).not.toContain(key.id);
    expect(JSON.stringify(key)).toBe(`{"id":"${key.id}"}`);
  });
});

describe('files of secrets', () => {
  let folder: string;

  beforeEach(() => {
    folder = makeTempDir('secret-file');
  });
  afterEach(() => removeTempDir(folder));

  it('are replaced whole and are closed to others whatever was there before', async () => {
    const path = join(folder, 'admin-key');
    await writeFile(path, 'an older and longer key');
    await chmod(path, 0o644);
    expect(await writeSecretFile(path, 'new\n', { replace: true })).toBe(true);
    expect(await readFile(path, 'utf8')).toBe('new\n');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(folder)).toEqual(['admin-key']);
  });

  it('stay when they are not to be replaced', async () => {
    const path = join(folder, 'key');
    await writeFile(path, 'first');
    expect(await writeSecretFile(path, 'second', { replace: false })).toBe(false);
    expect(await readFile(path, 'utf8')).toBe('first');
    expect(await readdir(folder)).toEqual(['key']);
  });

  it('leave nothing beside them when they cannot be written', async () => {
    await mkdir(join(folder, 'taken'));
    await expect(writeSecretFile(join(folder, 'taken'), 'x', { replace: true })).rejects.toThrow(/EISDIR|EEXIST|ENOTEMPTY/);
    expect(await readdir(folder)).toEqual(['taken']);
  });
});
