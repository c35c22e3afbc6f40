import { describe, expect, test } from 'vitest';
import { compileGlob } from '../../../server/domain/key-glob.js';
import { checkSelection, compileSelection, type KeySelection, MAX_PATTERN_BYTES, selectsAll } from '../../../server/domain/key-selection.js';
import { pick, type Random, randomOf } from '../../fuzz/rdb/random.js';
import { startRedis } from '../../kit/redis.js';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const matches = (pattern: string, name: string): boolean => compileGlob(bytes(pattern))(bytes(name));

describe('a glob is what KEYS takes', () => {
  test.each([
    ['*', '', true], ['*', 'anything', true], ['**', 'x', true], ['', '', true], ['', 'x', false],
    ['user:1', 'user:1', true], ['user:1', 'user:12', false], ['user:1', 'xuser:1', false],
    ['user:*', 'user:', true], ['user:*', 'user', false], ['*:name', 'user:1:name', true], ['*:name', 'user:1:name:x', false],
    ['u*:*e', 'user:1:name', true], ['a*b*c', 'a-b-c', true], ['a*b*c', 'acb', false], ['*a*', 'bab', true], ['*aab', 'aaab', true],
    ['h?llo', 'hello', true], ['h?llo', 'hllo', false], ['?', '', false], ['???', 'ab', false], ['*?', '', false], ['?*?', 'ab', true],
    ['h[ae]llo', 'hallo', true], ['h[ae]llo', 'hillo', false], ['h[^e]llo', 'hbllo', true], ['h[^e]llo', 'hello', false], ['h[^e]llo', 'hllo', false],
    ['[a-c]x', 'bx', true], ['[a-c]x', 'dx', false], ['[c-a]x', 'bx', true], ['[^a-c]', 'b', false], ['[a-cx-z]', 'y', true],
    ['[a-]', 'a', true], ['[a-]', '-', false], ['[a-]', ']', true], ['[a-]', '`', true], ['[-a]', '-', true], ['[a^]', '^', true], ['[^^]', '^', false],
    ['[]abc]', 'a', false], ['[]', 'a', false], ['[^]', 'a', true], ['[', 'a', false], ['[abc', 'b', true], ['[abc', 'd', false], ['[^', 'x', true], ['x[a-', '-', false],
    ['[\\]]', ']', true], ['[\\a-c]', 'b', false], ['[\\a-c]', '-', true], ['[a-\\c]', 'b', false], ['[a-\\c]', '_', true], ['[\\', '\\', true],
    ['\\*', '*', true], ['\\*', 'x', false], ['\\?\\[\\\\', '?[\\', true], ['a\\', 'a\\', true], ['\\x', 'x', true], ['*\\', 'x\\', true],
    ['\xff\x00*', '\xff\x00\x01', true], ['?', '\xff', true], ['[\x80-\xff]', '\xc3', true], ['[\x80-\xff]', 'a', false], ['[^\x00]', '\x00', false],
  ] as const)('%j and %j: %s', (pattern, name, expected) => {
    expect(matches(pattern, name)).toBe(expected);
  });

  test('a pattern of any length gives what a short one does', () => {
    for (const length of [29, 30, 31, 32, 33, 62, 63, 64, 65, 200]) {
      const name = 'k'.repeat(length);
      expect([matches(name, name), matches(name, `${name}k`), matches(`${name}x`, name), matches(`*${'?'.repeat(length)}`, name), matches(`${'?'.repeat(length + 1)}`, name)]).toEqual([true, false, false, true, false]);
      expect([matches(`${name}*`, `${name}${name}`), matches(`*x${name}*y`, `-x-x${name}--y`), matches(`*${name}`, `${name}k`), matches(`*${name}`, `${name}x`)]).toEqual([true, true, true, false]);
    }
  });

  test('compared with a naive matcher', () => {
    const random = randomOf(1, 1);
    for (let round = 0; round < 30_000; round++) {
      const [pattern, name] = [someOf('ab*?', random, 9), someOf('ab', random, 11)];
      if (matches(pattern, name) !== naive(pattern, name)) expect.fail(`${JSON.stringify(pattern)} and ${JSON.stringify(name)}`);
    }
  });

  test('compared with KEYS of a server', async () => {
    const server = await startRedis();
    const client = server.client();
    try {
      const random = randomOf(2, 2);
      const names = Array.from({ length: 400 }, () => bytes(someOf('abc-^[]*?\\\x81\xfe', random, 6, 1)));
      await client.mset(...names.flatMap((name) => [name, '']));
      for (let round = 0; round < 600; round++) {
        const pattern = someOf('abc-^[[]]*?\\\x81\xfe', random, 9, 1);
        // There a range's ends are compared as the processor does.
        if (/-[\x81\xfe]|[\x81\xfe]-/.test(pattern)) continue;
        const glob = compileGlob(bytes(pattern));
        const ours = new Set(names.filter((name) => glob(name)).map((name) => name.toString('latin1')));
        const theirs = new Set(((await client.callBuffer('KEYS', bytes(pattern))) as Buffer[]).map((name) => name.toString('latin1')));
        expect([...ours].sort(), JSON.stringify(pattern)).toEqual([...theirs].sort());
      }
    } finally {
      client.disconnect();
      await server.stop();
    }
  });

  test('patterns that make others try everything cost no more than the rest', () => {
    const name = bytes('a'.repeat(100_000));
    for (const pattern of ['a*a*a*a*a*a*a*a*a*a*b', '*?*?*?*?*?*?*?*?*?b', '*a'.repeat(500) + 'b', `*${'a'.repeat(1_000)}b`]) {
      const glob = compileGlob(bytes(pattern));
      const from = process.cpuUsage();
      expect(glob(name)).toBe(false);
      // Whoever tries everything never comes back.
      expect(process.cpuUsage(from).user / 1000).toBeLessThan(20_000);
    }
  });
});

const someOf = (alphabet: string, random: Random, below: number, least = 0): string =>
  Array.from({ length: least + random(below - least) }, () => pick([...alphabet], random)).join('');

/** Exponential, and plainly right: for stars and question marks. */
const naive = (pattern: string, name: string): boolean => {
  if (pattern === '') return name === '';
  if (pattern[0] === '*') return naive(pattern.slice(1), name) || (name !== '' && naive(pattern, name.slice(1)));
  return name !== '' && (pattern[0] === '?' || pattern[0] === name[0]) && naive(pattern.slice(1), name.slice(1));
};

describe('a selection', () => {
  const key = Buffer.from('clé:1');

  test.each<[string, KeySelection, boolean]>([
    ['nothing given', {}, true],
    ['nulls', { patterns: null, types: null, databases: null }, true],
    ['one of several patterns', { patterns: ['x*', 'clé:*'] }, true],
    ['none of the patterns', { patterns: ['x*', 'cle:*'] }, false],
    ['texts are their UTF-8 bytes: two of them for an accent', { patterns: ['cl??:1'] }, true],
    ['bytes', { patterns: [Buffer.from([0x63, 0x6c, 0xc3, 0x2a])] }, true],
    ['another type', { types: ['HASH'] }, false],
    ['one of the types and databases', { types: ['HASH', 'STRING'], databases: [0, 3] }, true],
    ['another database, though the rest fits', { patterns: ['*'], types: ['STRING'], databases: [0] }, false],
  ])('%s', (_, selection, expected) => {
    checkSelection(selection, ['filter']);
    expect(compileSelection(selection)(3, 'STRING', key)).toBe(expected);
  });

  test('says whether it is one at all', () => {
    expect([selectsAll({}), selectsAll({ types: null }), selectsAll({ databases: [0] })]).toEqual([true, true, false]);
  });

  test.each<[string, KeySelection]>([
    ['patterns', { patterns: [] }],
    ['types', { types: [] }],
    ['databases', { databases: [] }],
    ['databases', { databases: [-1] }],
    ['databases', { databases: [2 ** 31] }],
    ['databases', { databases: Array.from({ length: 1_001 }, (_, number) => number) }],
    ['patterns', { patterns: Array.from({ length: 101 }, () => 'x') }],
    ['patterns', { patterns: ['é'.repeat(MAX_PATTERN_BYTES / 2), 'x'] }],
  ])('out of bounds in %s (%#)', (name, selection) => {
    expect(() => checkSelection(selection, ['input', 'filter'])).toThrow(expect.objectContaining({ code: 'BAD_INPUT', field: ['input', 'filter', name] }) as Error);
  });
});
