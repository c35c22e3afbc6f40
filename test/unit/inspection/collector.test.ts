import { describe, expect, it } from 'vitest';
import { type KeyType } from '../../../server/domain/backup.js';
import { INSPECTION_LIMITS, type InspectionRequest, type InspectionResult } from '../../../server/domain/inspection.js';
import { keyName } from '../../../server/domain/key-name.js';
import { InspectionCollector, type CollectorLimits } from '../../../server/engine/inspection/collector.js';
import { Largest } from '../../../server/engine/inspection/largest.js';
import { PrefixTable } from '../../../server/engine/inspection/prefix-table.js';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { RdbBuilder } from '../../kit/rdb-builder.js';
import { seeded } from '../archive/archive-kit.js';

const TAKEN = new Date('2026-03-01T02:00:00Z');
const ALL: InspectionRequest = { filter: { patterns: null, types: null, databases: null }, delimiter: ':', prefixDepth: 1 };

/** As an inspection does it, but for the archive. */
const inspect = (file: Buffer, request: Partial<InspectionRequest> = {}, limits: Partial<CollectorLimits> = {}): InspectionResult => {
  const collector = new InspectionCollector({ ...ALL, ...request }, { ...INSPECTION_LIMITS, ...limits });
  const reader = new RdbReader({ onKey: (key) => collector.add(key), maxNameBytes: collector.maxNameBytes });
  // In pieces, so that nothing can be kept of what is lent.
  for (let at = 0; at < file.length; at += 61) {
    const piece = Buffer.from(file.subarray(at, at + 61));
    reader.push(piece);
    piece.fill(0xee);
  }
  return collector.result({ takenAt: TAKEN, complete: reader.finish().unknown === null });
};
const file = (build: (builder: RdbBuilder) => void): Buffer => {
  const builder = new RdbBuilder(10).select(0);
  build(builder);
  return builder.build();
};
const only = (filter: Partial<InspectionRequest['filter']>): Partial<InspectionRequest> => ({ filter: { ...ALL.filter, ...filter } });
const names = (keys: readonly { name: string }[]): string[] => keys.map(({ name }) => name);

describe('an inspection', () => {
  it('lists keys as they stand in the file, with what is known of each, and counts them by type, database and prefix', () => {
    const result = inspect(file((builder) => builder
      .expireMs(TAKEN.getTime() + 5_500).string('user:1', 'abc').collection(1, 'user:2', ['a', 'b', 'c']).hash('cart', { f: 'v', g: 'w' })
      .select(7).sortedSet('user:3', { m: 1 }).collection(2, ':odd', ['x'])));
    expect(result.keys).toMatchObject([
      { name: 'user:1', binary: false, nameTruncated: false, nameBytes: 6, type: 'STRING', database: 0, expiresAtMs: TAKEN.getTime() + 5_500, elements: null, bytes: 1 + 7 + 4 },
      { name: 'user:2', type: 'LIST', elements: 3, bytes: 1 + 7 + 1 + 6, expiresAtMs: null }, { name: 'cart', type: 'HASH', elements: 2, bytes: 1 + 5 + 1 + 8 },
      { name: 'user:3', type: 'SORTED_SET', database: 7, elements: 1, bytes: 1 + 7 + 1 + 2 + 8 }, { name: ':odd', type: 'SET', elements: 1, bytes: 1 + 5 + 1 + 2 },
    ]);
    const amounts = { user: { keys: 3, bytes: 12 + 15 + 19 }, cart: { keys: 1, bytes: 15 }, odd: { keys: 1, bytes: 9 } };
    expect(result).toMatchObject({
      complete: true, listed: 5, listedTruncated: false, prefixesTruncated: false, uncompared: 0, otherPrefixes: { keys: 0, bytes: 0 },
      selected: { keys: 5, bytes: 70, expiring: 1, databases: [{ database: 0, keys: 3, bytes: 42, expiring: 1 }, { database: 7, keys: 2, bytes: 28, expiring: 0 }] },
      prefixes: [{ prefix: 'user:', ...amounts.user, exact: true }, { prefix: '', ...amounts.cart, exact: true }, { prefix: ':', ...amounts.odd, exact: true }],
    });
    expect(result.selected.types.map(({ type, keys }): [KeyType, number] => [type, keys])).toEqual([['STRING', 1], ['LIST', 1], ['SET', 1], ['SORTED_SET', 1], ['HASH', 1]]);
    expect(names(result.largest)).toEqual(['user:3', 'user:2', 'cart', 'user:1', ':odd']);
  });

  it('counts only what it selects; a name that is too long to be compared is told and not selected', () => {
    const bytes = file((builder) => builder.string('a:1', 'x').string(`a:${'n'.repeat(500)}`, 'x').collection(1, 'a:2', ['x']).select(3).string('a:3', 'x').string('b:1', 'x'));
    expect(names(inspect(bytes, only({ patterns: ['a:?'], types: ['STRING'] })).keys)).toEqual(['a:1', 'a:3']);
    expect(inspect(bytes, only({ databases: [3] }))).toMatchObject({ selected: { keys: 2 }, keys: [{ name: 'a:3' }, { name: 'b:1' }], prefixes: [{ prefix: 'a:' }, { prefix: 'b:' }] });
    expect(inspect(bytes, only({ patterns: ['a:*'] })).selected.keys).toBe(4);
    expect(inspect(bytes, only({ patterns: ['a:*'] }), { comparedNameBytes: 300 })).toMatchObject({ uncompared: 1, selected: { keys: 3 } });
    expect(inspect(bytes, only({ patterns: ['nothing'] }))).toMatchObject({ selected: { keys: 0, bytes: 0, types: [], databases: [] }, keys: [], largest: [], prefixes: [], otherPrefixes: { keys: 0 } });
  });

  it.each<[string, Partial<InspectionRequest>, string[]]>([
    [':', {}, ['app:', '']], [': twice', { prefixDepth: 2 }, ['app:eu:', '']], [': more often than there are', { prefixDepth: 8 }, ['app:eu:users:', '']],
    ['/', { delimiter: '/' }, ['', 'x/']], ['a longer one', { delimiter: ':users:' }, ['app:eu:users:', '']],
  ])('ends prefixes with %s', (_, request, [first, second]) => {
    const { prefixes } = inspect(file((builder) => builder.string('app:eu:users:1', 'a long value').string('app:eu:users:2', '').string('x/1', '').string('x/2', '')), request);
    expect(prefixes).toMatchObject([{ prefix: first, keys: 2 }, { prefix: second, keys: 2 }]);
  });

  it('looks for delimiters in the first bytes of a name only', () => {
    const { prefixes } = inspect(file((builder) => builder.string(`${'p'.repeat(127)}:1`, '').string(`${'p'.repeat(128)}:1`, '')));
    expect(prefixes.map(({ prefix }) => prefix.length).sort()).toEqual([0, 128]);
  });

  it('holds no more than its limits whatever it is given, and its sums stay right', () => {
    const next = seeded(7);
    const keys = Array.from({ length: 3_000 }, (_, at) => [`${at % 3 === 0 ? 'big' : String(next(2_000))}:${String(at)}`, 'v'.repeat(next(60))] as const);
    const result = inspect(file((builder) => { for (const [key, value] of keys) builder.string(key, value); }), {}, { listedKeys: 50, largestKeys: 10, prefixes: 4 });
    expect([result.keys.length, result.listed, result.listedTruncated, result.largest.length, result.prefixes.length, result.prefixesTruncated]).toEqual([50, 50, true, 10, 4, true]);
    expect(names(result.keys)).toEqual(keys.slice(0, 50).map(([key]) => key));
    const bytesOf = ([key, value]: (typeof keys)[number]): number => 1 + 1 + key.length + 1 + value.length;
    const total = keys.reduce((sum, key) => sum + bytesOf(key), 0);
    expect(result.selected).toMatchObject({ keys: 3_000, bytes: total });
    expect(result.prefixes.reduce((sum, { bytes }) => sum + bytes, result.otherPrefixes.bytes)).toBe(total);
    expect(result.prefixes.reduce((sum, prefix) => sum + prefix.keys, result.otherPrefixes.keys)).toBe(3_000);
    expect(result.prefixes[0]).toMatchObject({ prefix: 'big:', keys: 1_000, exact: true });
    const largest = [...keys].sort((a, b) => bytesOf(b) - bytesOf(a)).slice(0, 10);
    expect(result.largest.map(({ bytes }) => bytes)).toEqual(largest.map(bytesOf));
  });

  it('says that it does not know what stands behind content that is unknown', () => {
    const result = inspect(file((builder) => builder.string('a', 'x').value(112, 'new', 'opaque').string('b', 'x')));
    expect([result.complete, names(result.keys), result.selected.keys]).toEqual([false, ['a'], 1]);
  });

  it('keeps the beginning of long names, whole characters of it', () => {
    const { keys } = inspect(file((builder) => builder.string('ü'.repeat(200), 'x').string(`a${'ü'.repeat(200)}`, 'x').string('short', 'x')));
    expect(keys.map(({ name, nameTruncated, nameBytes, binary }) => [name, nameTruncated, nameBytes, binary])).toEqual([
      ['ü'.repeat(128), true, 400, false], [`a${'ü'.repeat(127)}`, true, 401, false], ['short', false, 5, false],
    ]);
  });
});

describe('a table of prefixes', () => {
  it('keeps what matters among any number of others: never too much, and exact where it says so', () => {
    const table = new PrefixTable(20);
    const next = seeded(3);
    const truth = new Map<string, number>();
    for (let at = 0; at < 20_000; at += 1) {
      const name = at % 10 < 3 ? `heavy${String(at % 10)}` : at > 15_000 && at % 10 === 4 ? 'late' : `light${String(next(1e6))}`;
      const bytes = Buffer.from(name);
      table.add(bytes, bytes.length, 10);
      truth.set(name, (truth.get(name) ?? 0) + 1);
    }
    const counts = table.counts();
    expect(counts.length).toBeLessThanOrEqual(40);
    expect(counts.slice(0, 4).map(({ prefix, exact }) => [Buffer.from(prefix).toString(), exact])).toEqual([['heavy0', true], ['heavy1', true], ['heavy2', true], ['late', false]]);
    for (const { prefix, keys, exact } of counts) {
      const really = truth.get(Buffer.from(prefix).toString()) ?? 0;
      expect(exact ? keys === really : keys <= really, Buffer.from(prefix).toString()).toBe(true);
    }
    expect(counts.reduce((sum, { keys }) => sum + keys, table.gone.keys)).toBe(20_000);
    expect(counts.reduce((sum, { bytes }) => sum + bytes, table.gone.bytes)).toBe(200_000);
  });
});

describe('the largest', () => {
  it('are those that sorting gives, the first one of equals', () => {
    const next = seeded(11);
    const items = Array.from({ length: 5_000 }, (_, offset) => ({ bytes: next(300), offset }));
    const largest = new Largest<(typeof items)[number]>(64);
    for (const item of items) if (largest.takes(item.bytes)) largest.add(item);
    expect(largest.items()).toEqual([...items].sort((a, b) => b.bytes - a.bytes || a.offset - b.offset).slice(0, 64));
  });
});

describe('the name of a key', () => {
  it.each<[number[] | string, string, boolean]>([
    ['plain', 'plain', false], ['clé 钥匙 🔑', 'clé 钥匙 🔑', false], ['back\\slash', 'back\\slash', false], ['\uFEFFmark', '\uFEFFmark', false], ['', '', false],
    ['two\nlines', 'two\\x0alines', true], [[0, 255, 92, 65], '\\x00\\xff\\\\A', true], [[0xc3], '\\xc3', true], [[0xed, 0xa0, 0x80], '\\xed\\xa0\\x80', true],
    ['c1\u0085', 'c1\\xc2\\x85', true],
  ])('of %j is shown as %j', (bytes, name, binary) => {
    expect(keyName(Buffer.from(bytes as string))).toEqual({ name, binary });
  });

  it('that is cut within a character is text all the same, and binary where it is none', () => {
    for (const cut of [1, 2, 3]) expect(keyName(Buffer.from('a🔑').subarray(0, 5 - cut), false)).toEqual({ name: 'a', binary: false });
    expect(keyName(Buffer.from('a🔑'), false)).toEqual({ name: 'a🔑', binary: false });
    expect(keyName(Buffer.from([65, 0x80, 0x80, 0x80, 0x80]), false)).toEqual({ name: 'A\\x80\\x80\\x80\\x80', binary: true });
  });
});
