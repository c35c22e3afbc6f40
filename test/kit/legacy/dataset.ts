import { RdbBuilder, integerBytes, lengthBytes, lzfBytes, lzfRun, stringBytes } from '../rdb-builder.js';

/** Entries of at most 63 bytes, all as strings. */
export const ziplist = (entries: readonly string[]): Buffer => {
  let before = 0;
  const parts = entries.map((entry) => {
    const part = Buffer.concat([Buffer.from([before, entry.length]), Buffer.from(entry, 'latin1')]);
    before = part.length;
    return part;
  });
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(10);
  head.writeUInt32LE(10 + body.length + 1, 0);
  head.writeUInt32LE(10 + body.length - before, 4);
  head.writeUInt16LE(entries.length, 8);
  return Buffer.concat([head, body, Buffer.from([255])]);
};

/** In rising order, each in 16 bits. */
export const intset = (values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(8 + 2 * values.length);
  bytes.writeUInt32LE(2, 0);
  bytes.writeUInt32LE(values.length, 4);
  values.forEach((value, at) => bytes.writeInt16LE(value, 8 + 2 * at));
  return bytes;
};

/** Unix milliseconds, far ahead. */
export const EXPIRES_AT_MS = 4_102_444_800_000;
const BULK_KEYS = 40;

/** What `legacyDataset` holds, per database. */
export const LEGACY_COUNTS: Readonly<Record<string, number>> = { 0: 11 + BULK_KEYS, 3: 2 };
export const LEGACY_KEYS = 13 + BULK_KEYS;

/**
 * A file with every type in the encodings that Redis 2.8 (RDB 6) or 4.0 (RDB 8: quicklists, binary scores, notes) writes: plain, integer,
 * compressed and binary strings, small and big collections, an expiring key, two databases.
 */
export const legacyDataset = (version: 6 | 8): Buffer => {
  const rdb = new RdbBuilder(version);
  if (version >= 7) rdb.aux('redis-ver', '4.0.14').aux('redis-bits', 64).aux('used-mem', 800_000);
  rdb.select(0);
  if (version >= 7) rdb.resize(LEGACY_COUNTS['0'] ?? 0, 1);
  rdb.string('plain', 'value').string('integer', 12_345).string(Buffer.from([0, 13, 10, 255]), Buffer.from([10, 0, 13, 254]));
  rdb.value(0, 'compressed', lzfBytes(lzfRun(0x61, 3_000), 3_000));
  rdb.expireMs(EXPIRES_AT_MS).string('expiring', 'later');
  if (version === 6) rdb.value(10, 'list', stringBytes(ziplist(['one', 'two', 'three'])));
  else rdb.value(14, 'list', lengthBytes(2), stringBytes(ziplist(['one', 'two'])), stringBytes(ziplist(['three'])));
  rdb.value(11, 'set-small', stringBytes(intset([-2, 1, 300]))).collection(2, 'set', ['a', 'b', 'c']);
  rdb.value(12, 'zset-small', stringBytes(ziplist(['low', '1', 'high', '2.5'])));
  if (version === 6) rdb.textSortedSet('zset', { first: 0.5, second: 7 });
  else rdb.sortedSet('zset', { first: 0.5, second: 7 });
  rdb.value(13, 'hash-small', stringBytes(ziplist(['field', 'value', 'other', '5'])));
  for (let i = 0; i < BULK_KEYS; i += 1) rdb.string(`bulk:${String(i)}`, Buffer.alloc(200, i));
  rdb.select(3);
  if (version >= 7) rdb.resize(2, 0);
  rdb.hash('hash', { big: 'x'.repeat(300), small: 'y' }).value(0, 'number', integerBytes(-7));
  return rdb.build();
};
