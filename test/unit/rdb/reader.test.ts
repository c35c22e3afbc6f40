import { describe, expect, it } from 'vitest';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { type RdbKeyEvent } from '../../../server/engine/rdb/summary.js';
import { int64, lengthBytes, lzfBytes, lzfRun, RdbBuilder, stringBytes } from '../../kit/rdb-builder.js';
import { expandLzf, expandLzfStart } from '../../../server/engine/rdb/lzf.js';
import { CHUNK_SIZES, read, readIn, SAMPLES } from './samples.js';

const sample = (name: string): Buffer => {
  const make = SAMPLES[name];
  if (make === undefined) throw new Error(`no sample "${name}"`);
  return make();
};

describe.each(Object.entries(SAMPLES))('a file with %s', (_, make) => {
  it('gives the same summary and the same keys at every chunk size', () => {
    const file = make();
    const results = CHUNK_SIZES.map((size) => {
      const keys: object[] = [];
      const summary = readIn(file, size, { onKey: (key) => keys.push({ ...key, key: key.key && Buffer.from(key.key).toString('hex'), name: Buffer.from(key.name).toString('hex') }) });
      // The walk takes other paths when nobody listens.
      expect(readIn(file, size)).toEqual(summary);
      expect(BigInt(keys.length)).toBe(summary.keys);
      return { summary, keys };
    });
    for (const result of results) expect(result).toEqual(results[0]);
    expect(results[0]?.summary.bytes).toBe(BigInt(file.length));
  });

  it('ends where the file ends, whatever follows', () => {
    const file = make();
    const reader = new RdbReader();
    const followed = Buffer.concat([file, Buffer.from('*1\r\n$4\r\nPING\r\n')]);
    const taken = reader.push(followed);
    if (read(file).unknown === null) {
      expect(taken).toBe(file.length);
      expect(reader.ended).toBe(true);
      expect(reader.push(followed)).toBe(0);
      expect(reader.finish()).toEqual(read(file));
    } else {
      // Only the caller knows the end: these bytes count as the file's, and its checksum is no longer its last eight.
      expect(taken).toBe(followed.length);
      expect(reader.ended).toBe(false);
      expect(() => reader.finish()).toThrow(expect.objectContaining({ code: 'CORRUPT' }));
    }
  });
});

describe('what a summary says', () => {
  it('counts keys, expiries, databases and types of Redis 2.8', () => {
    expect(read(sample('RDB 6 of Redis 2.8'))).toEqual({
      magic: 'REDIS', version: 6, aux: {},
      databases: [{ database: 0, keys: 9n, expiring: 1n }, { database: 3, keys: 5n, expiring: 2n }],
      types: [
        { type: 'STRING', keys: 5n }, { type: 'LIST', keys: 2n }, { type: 'SET', keys: 2n }, { type: 'SORTED_SET', keys: 2n }, { type: 'HASH', keys: 3n },
      ],
      keys: 14n, expiring: 3n, functions: 0, rdbTypes: [0, 1, 2, 3, 4, 9, 10, 11, 12, 13], opcodes: [252, 253, 254], modules: [],
      hasHashFieldTtl: false, bytes: expect.any(BigInt), checksum: 'VALID', integrity: 'STRUCTURE_AND_CHECKSUM', unknown: null,
    });
  });

  it('names modules, functions and notes, but not scripts', () => {
    expect(read(sample('RDB 8 of Redis 4.0'))).toMatchObject({ aux: { 'redis-ver': '4.0.14' }, modules: ['MBbloom--'], types: [{ type: 'SORTED_SET', keys: 1n }, { type: 'MODULE', keys: 1n }] });
    expect(Object.keys(read(sample('RDB 8 of Redis 4.0')).aux)).toEqual(['redis-ver']);
    expect(read(sample('RDB 9 of Redis 6.2'))).toMatchObject({ modules: ['ReJSON-RL'], keys: 3n, opcodes: [247, 248, 249, 250, 251, 252, 254] });
    expect(read(sample('RDB 10 of Redis 7.0'))).toMatchObject({ functions: 2, databases: [{ database: 15, keys: 5n, expiring: 0n }], rdbTypes: [16, 17, 18, 19] });
    expect(read(sample('RDB 7 of Redis 3.2')).aux).toEqual({ 'redis-ver': '3.2.13', 'redis-bits': '64', 'used-mem': '1000000' });
    expect(read(sample('compressed strings')).aux).toEqual({ ['a'.repeat(30)]: 'b'.repeat(40) });
  });

  it('reads type 22 and opcode 243 by the word in the header', () => {
    expect(read(sample('RDB 12 of Redis 8.0'))).toMatchObject({ rdbTypes: [22, 23, 24, 25], hasHashFieldTtl: true, keys: 4n, unknown: null });
    expect(read(sample('RDB 80 of Valkey 9'))).toMatchObject({ magic: 'VALKEY', version: 80, rdbTypes: [0, 22], hasHashFieldTtl: true, keys: 2n, opcodes: [243, 250, 254] });
    expect(read(sample('RDB 13 of Redis 8.6'))).toMatchObject({ version: 13, keys: 1n, opcodes: [243, 250, 254], integrity: 'STRUCTURE_AND_CHECKSUM' });
    expect(read(sample('RDB 11 of Valkey 8 in a cluster'))).toMatchObject({ hasHashFieldTtl: false, opcodes: [250, 254], rdbTypes: [20, 21], aux: { 'slot-info': '7,100000,70' } });
  });

  it('says which checks were possible', () => {
    expect(read(sample('no checksum'))).toMatchObject({ checksum: 'ABSENT', integrity: 'STRUCTURE_ONLY' });
    expect(read(sample('a version nobody knows'))).toMatchObject({ version: 99, integrity: 'STRUCTURE_AND_CHECKSUM', keys: 2n });
    const file = sample('an unknown type');
    expect(read(file)).toMatchObject({
      checksum: 'VALID', integrity: 'CHECKSUM_ONLY', keys: 1n, unknown: { kind: 'TYPE', code: 27, offset: BigInt(file.indexOf('\x1b\x06stream')) },
    });
    expect(read(sample('an unknown opcode')).unknown).toMatchObject({ kind: 'OPCODE', code: 200 });
    expect(read(sample('a type of Valkey 9.2')).unknown).toMatchObject({ kind: 'TYPE', code: 23 });
    expect(read(sample('the unreadable modules of 4.0 candidates')).unknown).toMatchObject({ kind: 'TYPE', code: 6 });
  });

  it('keeps only so many notes, none of them long, and any text', () => {
    const builder = new RdbBuilder(11).aux('long', 'x'.repeat(513)).aux('y'.repeat(65), 'v').aux('__proto__', 'own').aux('bytes', Buffer.from([0xff, 0]));
    for (let at = 0; at < 200; at++) builder.aux(`n${at}`, at);
    const { aux } = read(builder.build());
    expect(Object.keys(aux)).toHaveLength(64);
    expect(Object.getOwnPropertyDescriptor(aux, '__proto__')?.value).toBe('own');
    expect(aux).toMatchObject({ bytes: '\ufffd\0', n0: '0' });
    expect(aux['long']).toBeUndefined();
  });
});

describe('onKey', () => {
  it('tells database, type, expiry, key and place', () => {
    const events: (RdbKeyEvent & { text: string | null })[] = [];
    const long = 'k'.repeat(1_025);
    const file = new RdbBuilder(11).select(0).string('plain', 'v').select(4).expireMs(12_345_678_901_234n).idle(3).collection(2, Buffer.from([0, 255]), ['m'])
      .expireSeconds(2_000_000_000).string(long, 'v').expireMs(-1n).raw([0, 0xc1, 0x39, 0x30], '\u0001v').build();
    readIn(file, 3, { onKey: (event) => events.push({ ...event, text: event.key && Buffer.from(event.key).toString('latin1') }) });
    expect(events).toMatchObject([
      { database: 0, type: 'STRING', rdbType: 0, expiresAtMs: null, text: 'plain', offset: 11, bytes: 1 + 6 + 2 },
      { database: 4, type: 'SET', rdbType: 2, expiresAtMs: 12_345_678_901_234, text: '\0\xff', bytes: 1 + 3 + 3 },
      { database: 4, type: 'STRING', expiresAtMs: 2_000_000_000_000, text: null, key: null },
      { text: '12345', expiresAtMs: null },
    ]);
    for (const { offset, rdbType } of events) expect(file[offset]).toBe(rdbType);
  });

  it('expands compressed keys', () => {
    const keys: (string | null)[] = [];
    readIn(sample('compressed strings'), 5, { onKey: ({ key }) => keys.push(key && Buffer.from(key).toString()) });
    expect(keys).toEqual(['a', 'k'.repeat(500), 'b', 'c']);
  });

  it('gives the beginning of a name that is longer than is wanted, and its length', () => {
    const file = new RdbBuilder(11).select(0).string('k'.repeat(5_000), 'v').raw([0], lzfBytes(lzfRun(107, 70_000), 70_000), stringBytes('v')).string('short', 'v').build();
    const names = (size: number, maxNameBytes?: number): unknown[] => {
      const found: unknown[] = [];
      readIn(file, size, { onKey: ({ key, name, nameBytes }) => found.push([key?.length ?? null, Buffer.from(name).toString(), nameBytes]), maxNameBytes });
      return found;
    };
    for (const size of CHUNK_SIZES) {
      expect(names(size)).toEqual([[null, 'k'.repeat(1_024), 5_000], [null, 'k'.repeat(1_024), 70_000], [5, 'short', 5]]);
      expect(names(size, 70_000)).toEqual([[5_000, 'k'.repeat(5_000), 5_000], [70_000, 'k'.repeat(70_000), 70_000], [5, 'short', 5]]);
      expect(names(size, 3)).toEqual([[null, 'kkk', 5_000], [null, 'kkk', 70_000], [null, 'sho', 5]]);
    }
  });

  it('counts elements by the lengths in the file and the heads of packed values', () => {
    const listpack = (count: number, size = 30): Buffer => {
      const bytes = Buffer.alloc(size, 9);
      bytes.writeUInt16LE(count, 4);
      return bytes;
    };
    const ziplist = (count: number): Buffer => {
      const bytes = Buffer.alloc(30, 9);
      bytes.writeUInt16LE(count, 8);
      return bytes;
    };
    const compressedZiplist = lzfBytes(Buffer.concat([Buffer.from([9]), ziplist(0x1234).subarray(0, 10), Buffer.from([0xe0, 11, 0])]), 30);
    const intset = Buffer.alloc(16);
    intset.writeUInt32LE(70_000, 4);
    // A listpack as it is when compressed: its ten first bytes as they are, then a run.
    const compressed = lzfBytes(Buffer.concat([Buffer.from([9]), listpack(12).subarray(0, 10), Buffer.from([0xe0, 11, 0])]), 30);
    const file = new RdbBuilder(12).select(0)
      .string('string', 'v').module('module', 'MBbloom--', [{ uint: 2 }])
      .collection(1, 'list', ['a', 'b', 'c']).collection(2, 'set', []).hash('hash', { f: 'v', g: 'w' }).textSortedSet('text', { a: 1, b: NaN }).sortedSet('sorted', { a: 1, b: 2, c: 3 })
      .value(9, 'zipmap', stringBytes('\u0003x')).value(9, 'zipmap of many', stringBytes(Buffer.from([254, 1])))
      .value(10, 'ziplist', stringBytes(ziplist(5))).value(10, 'compressed', compressedZiplist).value(11, 'intset', stringBytes(intset)).value(12, 'ziplist pairs', stringBytes(ziplist(6))).value(13, 'ziplist hash', stringBytes(ziplist(8)))
      .value(13, 'ziplist of many', stringBytes(ziplist(0xffff))).value(13, 'ziplist that is odd', stringBytes(ziplist(7)))
      .collection(14, 'quicklist', [ziplist(3), ziplist(4)]).collection(14, 'quicklist of many', [ziplist(3), ziplist(0xffff), ziplist(1)])
      .value(16, 'listpack hash', stringBytes(listpack(10))).value(17, 'listpack sorted', compressed).value(20, 'listpack set', stringBytes(listpack(7)))
      .value(18, 'quicklist 2', lengthBytes(3), lengthBytes(2), stringBytes(listpack(3)), lengthBytes(1), stringBytes('p'.repeat(2_000)), lengthBytes(2), compressed)
      .value(25, 'field ttl', int64(1n), stringBytes(listpack(9))).redisTtlHash('field ttl of many', 1n, [['f', 'v', 0], ['g', 'w', 9]]).value(20, 'cut', stringBytes('x'))
      .stream('stream', { layout: 3, nodes: 2, entries: 777 }).build();
    const expected = {
      string: null, module: null, list: 3, set: 0, hash: 2, text: 2, sorted: 3, zipmap: 3, 'zipmap of many': null, ziplist: 5, compressed: 0x1234, intset: 70_000, 'ziplist pairs': 3, 'ziplist hash': 4,
      'ziplist of many': null, 'ziplist that is odd': null, quicklist: 7, 'quicklist of many': null, 'listpack hash': 5, 'listpack sorted': 6, 'listpack set': 7, 'quicklist 2': 16,
      'field ttl': 3, 'field ttl of many': 2, cut: null, stream: 777,
    };
    for (const size of CHUNK_SIZES) {
      const found: Record<string, number | null> = {};
      readIn(file, size, { onKey: ({ key, elements }) => { found[Buffer.from(key ?? []).toString()] = elements; } });
      expect(found).toEqual(expected);
    }
    const valkey = new RdbBuilder(80).select(0).valkeyTtlHash('h', [['f', 'v', -1n], ['g', 'w', 1n], ['h', 'x', 1n]]).build();
    readIn(valkey, 7, { onKey: ({ elements }) => expect(elements).toBe(3) });
  });
});

describe('LZF', () => {
  it('expands the beginning of a block, as far as there is one', () => {
    for (const most of [0, 1, 5, 300, 1_000]) expect(expandLzfStart(lzfRun(7, 1_000), most)).toEqual(new Uint8Array(most).fill(7));
    const cut = (block: number[]): number[] => [...expandLzfStart(Uint8Array.from(block), 10)];
    expect([cut([]), cut([5, 1]), cut([0, 1, 0x20]), cut([0, 1, 0x20, 5]), cut([0, 1, 0xe0]), cut([0, 1, 0xe0, 0, 0])]).toEqual([[], [1], [1], [1], [1], Array(10).fill(1)]);
  });

  it('expands runs of every length', () => {
    for (let length = 4; length < 1_000; length++) {
      expect(expandLzf(lzfRun(7, length), length)).toEqual(new Uint8Array(length).fill(7));
    }
  });

  it('refuses blocks that reach outside or give another length', () => {
    for (const [block, length] of [[[0x20, 0], 3], [[0, 1, 0x20, 5], 4], [[5, 1], 6], [[0, 1], 2], [[0, 1, 0xe0], 9], [[0, 1, 0xe0, 1], 9], [[0, 1, 0x40, 0], 3]] as const) {
      expect(expandLzf(Uint8Array.from(block), length)).toBeNull();
    }
  });
});
