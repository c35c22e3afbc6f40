import { describe, expect, it } from 'vitest';
import { downloadName } from '../../../server/services/file-name.js';

const nameOf = (name: string): string =>
  downloadName({ name, id: 'bak_1', createdAt: new Date('2026-03-01T00:00:00Z'), completedAt: new Date('2026-03-01T02:03:04.567Z') });

describe('names of downloaded files', () => {
  it('keep what a person wrote, and say when the backup was complete', () => {
    expect(nameOf('before the upgrade')).toBe('before-the-upgrade-20260301T020304Z.rdb');
    expect(nameOf('備份 №1')).toBe('備份-№1-20260301T020304Z.rdb');
    expect(downloadName({ name: 'x', id: 'bak_1', createdAt: new Date('2026-03-01T00:00:00Z'), completedAt: null })).toBe('x-20260301T000000Z.rdb');
  });

  it('are never paths, hidden files, or longer than a file system takes', () => {
    const names = [
      '../../etc/passwd', '/', '..', '.hidden', 'C:\\boot.ini', 'a/b\\c', 'CON', 'nul', '-rf', '--help', 'x'.repeat(128), '🗄'.repeat(128), 'ｗ'.repeat(128), 'e\u0301'.repeat(64),
      '\u202Etxt.exe', 'a\u0000b', '\ud800', 'a\nb', '\u2028', '   ', '%2e%2e%2f', '"quoted"', "it's", '<a>|?*', '\ufeff',
    ];
    for (const name of names) {
      const file = nameOf(name);
      expect(file, JSON.stringify(name)).toMatch(/^[^.\-_/\\:*?"<>|\p{C}\s][^/\\:*?"<>|\p{C}\s]*-20260301T020304Z\.rdb$/u);
      expect(Buffer.byteLength(file)).toBeLessThanOrEqual(240);
    }
    for (const empty of ['..', '/', '   ', '\u0000', '._-']) expect(nameOf(empty)).toBe('bak_1-20260301T020304Z.rdb');
  });
});
