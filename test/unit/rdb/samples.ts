import { float64, integerBytes, int64, lengthBytes, lzfBytes, lzfRun, RdbBuilder, stringBytes, type Bytes } from '../../kit/rdb-builder.js';
import { RdbReader, type RdbReaderOptions } from '../../../server/engine/rdb/reader.js';
import { type RdbSummary } from '../../../server/engine/rdb/summary.js';

export const CHUNK_SIZES = [1, 7, 4096, 65_536, Infinity];

/** Reads a file in chunks, each a copy of its own that is overwritten afterwards: the reader may keep nothing of it. */
export function readIn(file: Uint8Array, size: number, options: RdbReaderOptions = {}): RdbSummary {
  const reader = new RdbReader(options);
  for (let at = 0; at < file.length; at += size) {
    const chunk = Uint8Array.from(file.subarray(at, Math.min(file.length, at + size)));
    const taken = reader.push(chunk);
    chunk.fill(0xee);
    if (taken < chunk.length) break;
  }
  return reader.finish();
}

export const read = (file: Uint8Array): RdbSummary => readIn(file, Infinity);

const listpack = (fill: number): Bytes => Buffer.alloc(30, fill);
const soon = 4_102_444_800_000n;

/** One file per format, together with every type and opcode that the reader knows. */
export const SAMPLES: Readonly<Record<string, () => Buffer>> = {
  'RDB 5': () => new RdbBuilder(5).select(0).string('a', 'b').build(),
  'RDB 6 of Redis 2.8': () => new RdbBuilder(6)
    .select(0).string('s', 'value').string('n8', -5).string('n16', 30_000).string('n32', -2_000_000_000)
    .collection(1, 'list', ['a', 'b', 'c']).collection(2, 'set', ['x', '']).hash('hash', { f: 'v', g: 'w'.repeat(100) })
    .textSortedSet('z', { one: 1, half: 0.5, up: Infinity, down: -Infinity, odd: NaN })
    .expireSeconds(2_000_000_000).string('old-expiry', '1')
    .select(3).expireMs(soon).value(9, 'zipmap', stringBytes('\u0001\u0001f\u0001\u0000v\u00ff'))
    .value(10, 'l', stringBytes(listpack(1))).value(11, 'i', stringBytes(listpack(2)))
    .value(12, 'zl', stringBytes(listpack(3))).expireMs(1n).value(13, 'h', stringBytes(listpack(4)))
    .build(),
  'RDB 7 of Redis 3.2': () => new RdbBuilder(7)
    .aux('redis-ver', '3.2.13').aux('redis-bits', 64).aux('used-mem', 1_000_000)
    .select(0).resize(2, 1).collection(14, 'quick', [listpack(1), listpack(2)]).expireMs(soon).string('k', 'v').build(),
  'RDB 8 of Redis 4.0': () => new RdbBuilder(8)
    .aux('redis-ver', '4.0.14').aux('lua', 'return 1').select(0).resize(2, 0)
    .sortedSet('z', { a: 1.5, b: -2 }).module('m', 'MBbloom--', [{ sint: -1 }, { uint: 2 }, { float: 1 }, { double: 2 }, { string: 'x'.repeat(70) }])
    .build(),
  'RDB 9 of Redis 6.2': () => new RdbBuilder(9)
    .aux('redis-ver', '6.2.14').moduleAux('ReJSON-RL', [{ uint: 1 }, { string: 'a' }]).select(0).resize(3, 1)
    .expireMs(soon).idle(70_000).string('idle', 'v').freq(200).string('freq', 'v')
    .stream('st', { layout: 1, nodes: 2, groups: [{ name: 'g', pending: 2, consumers: [{ name: 'c', pending: 2 }, { name: 'd', pending: 0 }] }, { name: 'h', pending: 0, consumers: [] }] })
    .build(),
  'RDB 10 of Redis 7.0': () => new RdbBuilder(10)
    .aux('redis-ver', '7.0.15').func('#!lua name=a\nx').func('#!lua name=b\ny').select(15)
    .value(16, 'h', stringBytes(listpack(1))).value(17, 'z', stringBytes(listpack(2)))
    .value(18, 'l', lengthBytes(2), lengthBytes(2), stringBytes(listpack(3)), lengthBytes(1), stringBytes('p'.repeat(20_000)))
    .stream('st', { layout: 2, nodes: 1, groups: [{ name: 'g', pending: 3, consumers: [{ name: 'c', pending: 3 }] }] })
    .stream('empty', { layout: 2, nodes: 0 }).build(),
  'RDB 11 of Valkey 8 in a cluster': () => new RdbBuilder(11)
    .aux('redis-ver', '7.2.4').aux('valkey-ver', '8.0.1').select(0).aux('slot-info', '7,100000,70').value(20, 's', stringBytes(listpack(1)))
    .stream('st', { layout: 3, groups: [{ name: 'g', pending: 1, consumers: [{ name: 'c', pending: 1 }] }] }).build(),
  'RDB 12 of Redis 8.0': () => new RdbBuilder(12)
    .aux('redis-ver', '8.0.2').select(0).slotInfo(1, 2, 3).redisTtlHash('h24', soon, [['f', 'v', 1], ['g', 'w', 0], ['h', 'x', 70_000]])
    .value(25, 'h25', int64(soon), stringBytes(listpack(1)))
    .value(22, 'h22', lengthBytes(2), lengthBytes(9), stringBytes('f'), stringBytes('v'), lengthBytes(0), stringBytes('g'), stringBytes('w'))
    .value(23, 'h23', stringBytes(listpack(1))).build(),
  'RDB 13 of Redis 8.6': () => new RdbBuilder(13)
    .aux('redis-ver', '8.6.0').select(0).raw([243], lengthBytes(2), 'abcd', lengthBytes(2), lengthBytes(5), [0], 'efgh', lengthBytes(5), stringBytes('x'), [0])
    .string('k', 'v').build(),
  'RDB 80 of Valkey 9': () => new RdbBuilder(80)
    .aux('valkey-ver', '9.0.1').aux('redis-ver', '7.2.4').select(0)
    .raw([243], stringBytes('0'.repeat(40)), lengthBytes(2), lengthBytes(0), lengthBytes(100), lengthBytes(200), lengthBytes(16_383))
    .valkeyTtlHash('h', [['f', 'v', -1n], ['g', 'w', soon]]).string('k', 'v').build(),
  'all length forms': () => {
    const builder = new RdbBuilder(11).aux('redis-ver', '7.2.5').select(0);
    for (const form of [6, 14, 32, 64] as const) builder.value(0, `k${form}`, stringBytes('value', form));
    for (const size of [63, 64, 16_383, 16_384, 70_000]) builder.string(`size${size}`, Buffer.alloc(size, size));
    return builder.value(4, 'counts', lengthBytes(1, 64), stringBytes('f', 32), stringBytes('', 14)).build();
  },
  'compressed strings': () => new RdbBuilder(11).select(0)
    .raw([250], lzfBytes(lzfRun(97, 30), 30), lzfBytes(lzfRun(98, 40), 40))
    .value(0, 'a', lzfBytes(lzfRun(1, 100_000), 100_000)).raw([0], lzfBytes(lzfRun(107, 500), 500), integerBytes(1))
    .collection(1, 'b', ['x', 'y']).value(2, 'c', lengthBytes(2), lzfBytes(lzfRun(2, 300), 300), lzfBytes(lzfRun(3, 4), 4)).build(),
  'no keys': () => new RdbBuilder(11).aux('redis-ver', '7.2.5').build(),
  'no checksum': () => new RdbBuilder(11).select(0).string('k', 'v').build('ZERO'),
  'a version nobody knows': () => new RdbBuilder(99, 'REDIS').select(0).string('k', 'v').value(5, 'z', lengthBytes(1), stringBytes('m'), float64(1)).build(),
  'an unknown type': () => new RdbBuilder(14).aux('redis-ver', '8.8.0').select(0).string('k', 'v').value(27, 'stream', 'whatever follows').string('l', 'w').build(),
  'an unknown opcode': () => new RdbBuilder(15).select(0).string('k', 'v').raw([200], 'whatever follows').build(),
  'an unknown type as the last byte': () => new RdbBuilder(12).select(0).raw([99]).build(),
  'the unreadable modules of 4.0 candidates': () => new RdbBuilder(8).select(0).value(6, 'm', 'opaque').build(),
  'a type of Valkey 9.2': () => new RdbBuilder(81).select(0).value(23, 'path', 'opaque').build(),
};
