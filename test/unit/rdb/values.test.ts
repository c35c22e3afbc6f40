import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../server/domain/errors.js';
import { decodeValue, isDecodable, moduleTypeOf } from '../../../server/engine/rdb/values/decode.js';
import { PROGRAMS } from '../../../server/engine/rdb/programs.js';
import { type RdbMagic } from '../../../server/engine/rdb/summary.js';
import { randomOf } from '../../fuzz/rdb/random.js';
import { float64, lengthBytes, lzfBytes, lzfRun, moduleId, stringBytes } from '../../kit/rdb-builder.js';
import * as make from '../../kit/random-values.js';
import * as built from '../../kit/value-builder.js';
import { expectedStream, wholeOf } from './decoded.js';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const bytes = (...texts: string[]): Buffer[] => texts.map((text) => Buffer.from(text));
const text = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (_key, part: unknown) => {
  const raw = part as { type?: unknown; data?: number[] } | null;
  return raw !== null && typeof raw === 'object' && raw.type === 'Buffer' ? Buffer.from(raw.data ?? []).toString('latin1') : typeof part === 'bigint' ? String(part) : part;
})) as unknown;

describe('values as real servers dump them', () => {
  it.each([
    ['an int8', 'REDIS', 0, 'c0fb', { kind: 'STRING', value: '-5' }],
    ['an int32', 'REDIS', 0, 'c200ca9a3b', { kind: 'STRING', value: '1000000000' }],
    ['a compressed string', 'REDIS', 0, 'c30b405a0361626361e04b02016263', { kind: 'STRING', value: 'abc'.repeat(30) }],
    ['6.0: a list of a compressed ziplist', 'REDIS', 14, '01c327406704670000005c20030e050000016103f202c0d4fe04404678e03c000649e000f2052a01205d00ff', { kind: 'LIST', elements: ['a', '1', '-300', 'x'.repeat(70), '5000000000'] }],
    ['6.0: an intset', 'REDIS', 11, '1004000000020000000100000070110100', { kind: 'SET', elements: ['1', '70000'] }],
    ['6.0: a ziplist of scores', 'REDIS', 12, '21210000001e000000060000016203042d696e660601610303312e3505016303f4ff', { kind: 'SORTED_SET', members: [['b', null], ['a', 1.5], ['c', 3]] }],
    ['6.0: a ziplist of fields', 'REDIS', 13, '151500000012000000040000016603fd0201670300ff', { kind: 'HASH', fields: [['f', '12', null], ['g', '', null]] }],
    ['6.0: a stream with a deleted entry', 'REDIS', 15,
      '011000000000000000050000000000000001404a4a0000001900020101010201816602816702000102010001000101018374776f040501030100010201020185746872656506050100010401dfff020101856f74686572068178020601ff0209000103677270050101000000000000000500000000000000010068e5cf8b010000030103636f6e60563013a20100000100000000000000050000000000000001',
      { kind: 'STREAM', stream: {
        entries: [{ id: '5-1', fields: ['f', '1', 'g', 'two'] }, { id: '9-0', fields: ['other', 'x'] }], lastId: '9-0', counters: null,
        groups: [{ name: 'grp', lastId: '5-1', entriesRead: null, consumers: [{ name: 'con', pending: [{ id: '5-1', deliveredAtMs: '1700000000000', deliveries: '3' }] }] }],
      } }],
    ['7.0: a list of nodes, one of them a single element', 'REDIS', 18, '03020c0c00000002008161020101ff020e0e0000000200cfff02f1ffef03ff02c310405008500000000100e04678e03c000148ff', { kind: 'LIST', elements: ['a', '1', '4095', '-4097', 'x'.repeat(70)] }],
    ['7.0: a listpack of fields', 'REDIS', 16, '111100000004008166020c018167028001ff', { kind: 'HASH', fields: [['f', '12', null], ['g', '', null]] }],
    ['7.0: a listpack of scores', 'REDIS', 17, 'c31c2513250000000400816202dff90281610293302e3130e00500023114ff', { kind: 'SORTED_SET', members: [['b', -7], ['a', 0.1]] }],
    ['7.0: a stream with its counters', 'REDIS', 19,
      '01100000000000000005000000000000000126260000000f0001010101010181660200010301000100010101040102010101000102010401ff0106010601050102010367727005010101000000000000000500000000000000010068e5cf8b010000030203636f6eb6563013a201000001000000000000000500000000000000010469646c65b6563013a201000000',
      { kind: 'STREAM', stream: {
        entries: [{ id: '6-1', fields: ['f', '2'] }], lastId: '6-1', counters: { entriesAdded: '2', maxDeletedId: '5-1' },
        groups: [{ name: 'grp', lastId: '5-1', entriesRead: '1', consumers: [{ name: 'con', pending: [{ id: '5-1', deliveredAtMs: '1700000000000', deliveries: '3' }] }, { name: 'idle', pending: [] }] }],
      } }],
    ['8.0: a listpack of members', 'REDIS', 20, '11110000000300816102dfff0282626303ff', { kind: 'SET', elements: ['a', '-1', 'bc'] }],
    ['8.0: fields that expire', 'REDIS', 24, '00d8c32cbb0300000200057374617973c0010104676f6573c002', { kind: 'HASH', fields: [['stays', '1', null], ['goes', '2', 4_102_444_800_000]] }],
    ['8.0: fields that expire, packed', 'REDIS', 25, '00d8c32cbb0300002424000000060084676f6573050201f400d8c32cbb030000098573746179730601010001ff', { kind: 'HASH', fields: [['goes', '2', 4_102_444_800_000], ['stays', '1', null]] }],
    ['8.0: a stream', 'REDIS', 21, '0110000000000000000500000000000000011c1c0000000a00010100010101816602000102010001000101010401ff0105010501000001010367727005010101000000000000000500000000000000010068e5cf8b010000030103636f6e15573013a201000015573013a20100000100000000000000050000000000000001',
      { kind: 'STREAM', stream: {
        entries: [{ id: '5-1', fields: ['f', '1'] }], lastId: '5-1', counters: { entriesAdded: '1', maxDeletedId: '0-0' },
        groups: [{ name: 'grp', lastId: '5-1', entriesRead: '1', consumers: [{ name: 'con', pending: [{ id: '5-1', deliveredAtMs: '1700000000000', deliveries: '3' }] }] }],
      } }],
    ['Valkey 9.1: fields that expire', 'VALKEY', 22, '02057374617973c001ffffffffffffffff04676f6573c00200d8c32cbb030000', { kind: 'HASH', fields: [['stays', '1', null], ['goes', '2', 4_102_444_800_000]] }],
  ] as const)('%s', (_, magic, type, stored, whole) => {
    expect(text(wholeOf(type, magic, hex(stored)))).toEqual(whole);
  });

  it.each([
    ['a list (before 3.2)', 1, '0301610162c0ff', { kind: 'LIST', elements: ['a', 'b', '-1'] }],
    ['a set', 2, '02016100', { kind: 'SET', elements: ['a', ''] }],
    ['scores as text (before 4.0)', 3, '0501610331' + '2e35' + '0162fe' + '0163ff' + '0164fd' + '0165052d302e3235', { kind: 'SORTED_SET', members: [['a', 1.5], ['b', null], ['c', null], ['d', null], ['e', -0.25]] }],
    ['a hash', 4, '010166c17017', { kind: 'HASH', fields: [['f', '6000', null]] }],
    ['a zipmap (before 2.6)', 9, '0d' + '02' + '0166' + '0102' + '76' + 'ffff' + '0167' + '0000' + 'ff', { kind: 'HASH', fields: [['f', 'v', null], ['g', '', null]] }],
    ['a ziplist (before 3.2)', 10, '10' + '100000000c000000' + '0200' + '00f2' + '0201' + '61' + 'ff', { kind: 'LIST', elements: ['1', 'a'] }],
  ] as const)('%s, by hand', (_, type, stored, whole) => {
    expect(text(wholeOf(type, 'REDIS', hex(stored)))).toEqual(whole);
  });

  it('infinities and what is no number', () => {
    const members = (stored: Buffer, type: number): unknown => wholeOf(type, 'REDIS', stored);
    const all = [Infinity, -Infinity, NaN, -0].map((score, at) => [Buffer.from(String(at)), score] as const);
    for (const type of [3, 5]) {
      const found = members(built.SORTED_SET_ENCODINGS[type]!(all, () => 0), type);
      expect(found).toEqual({ kind: 'SORTED_SET', members: all.map(([member, score]) => [member, score]) });
    }
    expect(members(stringBytes(built.listpack(bytes('a', 'INF', 'b', '-infinity', 'c', 'nan', 'd', '-nan', 'e', '+1.5e3', 'f', '.5'))), 17)).toEqual({
      kind: 'SORTED_SET', members: [['a', Infinity], ['b', -Infinity], ['c', NaN], ['d', NaN], ['e', 1500], ['f', 0.5]].map(([member, score]) => [Buffer.from(member as string), score]),
    });
  });
});

it('all types that the walker knows are decoded, but those of modules', () => {
  for (const magic of ['REDIS', 'VALKEY'] as const) {
    for (let type = 0; type < 128; type += 1) expect(isDecodable(type, magic), `${magic} ${type}`).toBe(PROGRAMS[magic].start[type] !== 0 && type !== 7);
  }
  expect(() => decodeValue(7, 'REDIS', Buffer.alloc(9))).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_FORMAT' }));
  expect(moduleTypeOf(Buffer.concat([lengthBytes(moduleId('ReJSON-RL', 3)), Buffer.from([0])]))).toBe('ReJSON-RL');
});

/** As toEqual, but fast for those that are. */
const same = (found: unknown, wanted: unknown): void => {
  if (!isDeepStrictEqual(found, wanted)) expect(found).toStrictEqual(wanted);
};

describe('whatever a value is and however it is stored, the same comes out', () => {
  const ROUNDS = 80;
  const forAll = (check: (random: ReturnType<typeof randomOf>, choose: built.Choose) => void): void => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    for (let round = 0; round < ROUNDS; round += 1) {
      const random = randomOf(seed, round);
      try {
        check(random, round % 3 === 0 ? () => 0 : random);
      } catch (error) {
        throw new Error(`seed ${seed}, round ${round}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
  };

  it('strings', () => {
    forAll((random, choose) => {
      const value = make.randomBytes(random);
      same(wholeOf(0, 'REDIS', built.rdbString(value, choose)), { kind: 'STRING', value });
    });
  });

  it.each(Object.entries(built.LIST_ENCODINGS))('lists of type %s', (type, encode) => {
    forAll((random, choose) => {
      const elements = make.randomElements(random);
      same(wholeOf(Number(type), 'REDIS', encode(elements, choose)), { kind: 'LIST', elements });
    });
  });

  it.each(Object.entries(built.SET_ENCODINGS))('sets of type %s', (type, encode) => {
    const sorted = (elements: Buffer[]): Buffer[] => [...elements].sort((a, b) => a.compare(b));
    forAll((random, choose) => {
      const elements = type === '11' ? make.randomIntegers(random) : make.randomMembers(random);
      const found = wholeOf(Number(type), 'VALKEY', encode(elements, choose));
      same(found.kind === 'SET' && sorted(found.elements), sorted(elements));
    });
  });

  it.each(Object.entries(built.SORTED_SET_ENCODINGS))('sorted sets of type %s', (type, encode) => {
    forAll((random, choose) => {
      const members = make.randomScored(random);
      const found = wholeOf(Number(type), 'REDIS', encode(members, choose));
      const byName = (all: built.Scored[]): built.Scored[] => [...all].sort(([a], [b]) => a.compare(b));
      same(found.kind === 'SORTED_SET' && byName(found.members), byName(members));
    });
  });

  it.each(Object.entries(built.HASH_ENCODINGS))('hashes of type %s', (type, encode) => {
    forAll((random, choose) => {
      const fields = make.randomFields(random, false);
      same(wholeOf(Number(type), 'REDIS', encode(fields, choose)), { kind: 'HASH', fields });
    });
  });

  it.each(Object.entries(built.TIMED_HASH_ENCODINGS))('hashes whose fields expire, of %s', (name, encode) => {
    const [magic, type] = name.split(' ') as [RdbMagic, string];
    forAll((random, choose) => {
      const fields = make.randomFields(random, true);
      same(wholeOf(Number(type), magic, encode(fields, choose)), { kind: 'HASH', fields });
    });
  });

  it.each([[15, 1], [19, 2], [21, 3]] as const)('streams of type %i', (type, layout) => {
    forAll((random, choose) => {
      const stream = make.randomStream(random);
      same(wholeOf(type, 'REDIS', built.streamValue(stream, layout, choose)), { kind: 'STREAM', stream: expectedStream(stream, layout) });
    });
  });
});

describe('damage is found', () => {
  const refusal = (type: number, value: Uint8Array, magic: RdbMagic = 'REDIS'): { code: string; offset: unknown } => {
    try {
      wholeOf(type, magic, value, 1_000);
    } catch (error) {
      if (error instanceof DomainError) return { code: error.code, offset: error.details['offset'] };
      throw error;
    }
    return { code: 'ACCEPTED', offset: undefined };
  };
  const huge = 2n ** 39n;
  const packed = (blob: Buffer, change: (blob: Buffer) => void): Buffer => {
    change(blob);
    return stringBytes(blob);
  };
  const listpack = (): Buffer => built.listpack(bytes('a', 'bc', '5000'));
  const ziplist = (): Buffer => built.ziplist(bytes('a', 'bc', '5000'));

  it.each([
    ['nothing at all', 0, Buffer.alloc(0), 1_000],
    ['a string that is not there', 0, lengthBytes(huge), 1_009],
    ['bytes behind a value', 0, Buffer.from('\u0001ab'), 1_002],
    ['bytes behind a list', 1, Buffer.concat([lengthBytes(1), stringBytes('a'), stringBytes('b')]), 1_003],
    ['bytes behind a packed hash', 16, Buffer.concat([stringBytes(listpack()), Buffer.from([0])]), undefined],
    ['2^39 elements', 2, lengthBytes(huge), 1_000],
    ['more members than bytes', 5, Buffer.concat([lengthBytes(2), stringBytes('a'), float64(1)]), 1_000],
    ['a compressed string that expands to less', 0, lzfBytes(lzfRun(97, 30), 31), 1_000],
    ['a compressed string that expands to much less', 0, lzfBytes(Buffer.alloc(100_000), 8_000_000), 1_000],
    ['a score that is no number', 3, Buffer.concat([lengthBytes(1), stringBytes('a'), Buffer.from('\u0003abc')]), 1_003],
    ['a packed score that is no number', 17, stringBytes(built.listpack(bytes('a', 'one'))), 1_000],
    ['a member without a score', 12, stringBytes(built.ziplist(bytes('a'))), 1_000],
    ['a field without a value', 16, stringBytes(built.listpack(bytes('a'))), 1_000],
    ['a field without an expiry', 23, stringBytes(built.listpack(bytes('a', 'b'))), 1_000],
    ['a field whose expiry is a text', 23, stringBytes(built.listpack(bytes('a', 'b', 'c'))), 1_000],
    ['a field that expires after the end of time', 22, Buffer.concat([lengthBytes(1), lengthBytes(2n ** 60n), stringBytes('f'), stringBytes('v')]), 1_001],
    ['a listpack of another length', 20, packed(listpack(), (blob) => blob.writeUInt32LE(99)), 1_000],
    ['a listpack of another count', 20, packed(listpack(), (blob) => blob.writeUInt16LE(4, 4)), 1_000],
    ['a listpack without an end', 20, packed(listpack(), (blob) => blob.writeUInt8(1, blob.length - 1)), 1_000],
    ['a listpack that ends early', 20, packed(listpack(), (blob) => blob.writeUInt8(255, 9)), 1_000],
    ['an element that reaches beyond its listpack', 20, packed(listpack(), (blob) => blob.writeUInt8(0xbf, 9)), 1_000],
    ['an encoding that listpacks lack', 20, packed(listpack(), (blob) => blob.writeUInt8(0xf5, 9)), 1_000],
    ['a ziplist of another length', 10, packed(ziplist(), (blob) => blob.writeUInt32LE(99)), 1_000],
    ['a ziplist of another count', 10, packed(ziplist(), (blob) => blob.writeUInt16LE(4, 8)), 1_000],
    ['a ziplist without an end', 10, packed(ziplist(), (blob) => blob.writeUInt8(1, blob.length - 1)), 1_000],
    ['an encoding that ziplists lack', 10, packed(ziplist(), (blob) => blob.writeUInt8(0xc1, 11)), 1_000],
    ['a list\'s node of an unknown kind', 18, Buffer.concat([lengthBytes(1), lengthBytes(3), stringBytes(listpack())]), 1_001],
    ['an intset of three-byte integers', 11, packed(built.intset([1n]), (blob) => blob.writeUInt32LE(3)), 1_000],
    ['an intset of another count', 11, packed(built.intset([1n]), (blob) => blob.writeUInt32LE(2, 4)), 1_000],
    ['a zipmap without an end', 9, stringBytes(Buffer.from([1, 1, 102, 1, 0, 118])), 1_000],
    ['a zipmap whose last field has no value', 9, stringBytes(Buffer.from([1, 1, 102, 255])), 1_000],
  ] as const)('%s', (_, type, value, offset) => {
    expect(refusal(type, value)).toEqual({ code: 'CORRUPT', offset: offset ?? expect.any(Number) });
  });

  const stream = (): built.BuiltStream => ({
    entries: [1n, 2n, 3n].map((ms) => ({ id: { ms, seq: 0n }, fields: bytes('f', 'v'), deleted: false })), lastId: { ms: 3n, seq: 0n }, maxDeletedId: { ms: 0n, seq: 0n }, entriesAdded: 3n,
    groups: [{ name: Buffer.from('g'), lastId: { ms: 2n, seq: 0n }, entriesRead: 2n, consumers: [{ name: Buffer.from('c'), seenMs: 1n, activeMs: 1n, pending: [1n, 2n].map((ms) => ({ id: { ms, seq: 0n }, deliveredAtMs: 5n, deliveries: 1n })) }] }],
  });
  const group = (change: Partial<built.BuiltStream['groups'][number]>): Partial<built.BuiltStream> => ({ groups: [{ ...stream().groups[0]!, ...change }] });
  const entry = (ms: bigint, fields = bytes('f', 'v')): built.BuiltStream['entries'][number] => ({ id: { ms, seq: 0n }, fields, deleted: false });

  it.each<[string, Partial<built.BuiltStream>]>([
    ['IDs that do not rise', { entries: [entry(2n), entry(1n), entry(3n)] }],
    ['an ID twice', { entries: [entry(1n), entry(1n)] }],
    ['the ID 0-0', { entries: [entry(0n), entry(1n)] }],
    ['an entry without fields', { entries: [entry(1n, [])] }],
    ['an entry beyond the last ID', { lastId: { ms: 2n, seq: 9n } }],
    ['a deleted ID beyond the last', { maxDeletedId: { ms: 4n, seq: 0n } }],
    ['more entries than were counted to have been added', { entriesAdded: 2n ** 63n }],
    ['a group that has read fewer than none', group({ entriesRead: 2n ** 64n - 2n })],
    ['an entry that was delivered beyond counting', group({ consumers: [{ ...stream().groups[0]!.consumers[0]!, pending: [{ id: { ms: 1n, seq: 0n }, deliveredAtMs: 5n, deliveries: 2n ** 63n }] }] })],
    ['pending entries twice', group({ consumers: [0, 1].map(() => stream().groups[0]!.consumers[0]!) })],
  ])('a stream with %s', (_, change) => {
    expect(refusal(21, built.streamValue({ ...stream(), ...change }, 3)).code).toBe('CORRUPT');
    expect(refusal(21, built.streamValue(stream(), 3)).code).toBe('ACCEPTED');
  });

  it('an entry that is pending for a consumer only', () => {
    const value = built.streamValue(stream(), 3);
    // The last ID of the last consumer.
    value.writeUInt8(9, value.length - 16);
    expect(refusal(21, value)).toEqual({ code: 'CORRUPT', offset: 1_000 + value.length - 16 });
  });

  it('a stream that counts another number of entries', () => {
    const value = built.streamValue({ ...stream(), groups: [] }, 1);
    value.writeUInt8(4, value.length - 4);
    expect(refusal(15, value).code).toBe('CORRUPT');
  });

  it('every cut, and no flipped bit does worse than change what is read', () => {
    const random = randomOf(7, 7);
    const values: [number, RdbMagic, Buffer][] = [
      [0, 'REDIS', built.rdbString(Buffer.from('abcabcabc'.repeat(9)), () => 2)], [18, 'REDIS', built.LIST_ENCODINGS[18]!(bytes('a', '1', 'bb'), random)],
      [14, 'REDIS', built.LIST_ENCODINGS[14]!(bytes('a', '1', 'bb'), () => 0)], [12, 'REDIS', built.SORTED_SET_ENCODINGS[12]!([[Buffer.from('a'), 1.5]], () => 0)],
      [9, 'REDIS', built.HASH_ENCODINGS[9]!([[Buffer.from('f'), Buffer.from('v'), null]], () => 0)], [24, 'REDIS', built.TIMED_HASH_ENCODINGS['REDIS 24']!([[Buffer.from('f'), Buffer.from('v'), 5]], () => 0)],
      [22, 'VALKEY', built.TIMED_HASH_ENCODINGS['VALKEY 22']!([[Buffer.from('f'), Buffer.from('v'), 5]], () => 0)], [21, 'REDIS', built.streamValue(stream(), 3)],
    ];
    for (const [type, magic, value] of values) {
      expect(refusal(type, value, magic).code).toBe('ACCEPTED');
      for (let length = 0; length < value.length; length += 1) expect(refusal(type, value.subarray(0, length), magic).code, `type ${type} cut at ${length}`).toBe('CORRUPT');
      for (let bit = 0; bit < value.length * 8; bit += 1) {
        const damaged = Buffer.from(value);
        damaged[bit >> 3] = damaged[bit >> 3]! ^ (1 << (bit & 7));
        expect(['CORRUPT', 'ACCEPTED']).toContain(refusal(type, damaged, magic).code);
      }
    }
  });

  it('without taking memory for what is only declared', () => {
    const before = process.memoryUsage();
    const many = Buffer.concat([lengthBytes(2n ** 31n), Buffer.alloc(1_000)]);
    for (const type of [1, 2, 4, 5, 14, 15, 18, 19, 21, 22, 24]) expect(refusal(type, many).code).toBe('CORRUPT');
    expect(refusal(0, lzfBytes(Buffer.alloc(50_000_000), 4_000_000_000)).code).toBe('CORRUPT');
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(160 << 20);
    expect(after.heapUsed - before.heapUsed).toBeLessThan(64 << 20);
  });
});

it('elements are views of the value', () => {
  const value = Buffer.concat([lengthBytes(1), stringBytes('element')]);
  const decoded = decodeValue(1, 'REDIS', value);
  const element = decoded.kind === 'LIST' ? decoded.elements.next() : null;
  expect(element?.buffer).toBe(value.buffer);
});
