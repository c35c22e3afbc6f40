import { crc64 } from '../../../server/engine/rdb/crc64.js';
import { int64, lengthBytes, stringBytes } from '../../kit/rdb-builder.js';
import { pick, type Random } from './random.js';
import { type SeedFile } from './seed-file.js';

/** Numbers that are the end of something. */
const EDGES = [0n, 1n, 63n, 64n, 255n, 16_383n, 16_384n, 65_535n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 40n, 2n ** 40n + 1n, 2n ** 53n, 2n ** 60n, 2n ** 63n, 2n ** 64n - 1n];
/** First bytes of lengths and strings in all their forms, types and opcodes at the borders of what is known. */
const BYTES = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0x82, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xff, 5, 7, 14, 15, 18, 19, 21, 22, 24, 25, 26, 200, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254];

const length = (random: Random): Buffer => {
  const value = pick(EDGES, random);
  return lengthBytes(value, pick(['auto', value < 2n ** 32n ? 32 : 64, 64] as const, random));
};
const noise = (random: Random, size: number): Buffer => Buffer.from(Array.from({ length: size }, () => random(256)));

/** Something that could stand where a record begins. */
const piece = (random: Random): Buffer => pick<() => Buffer>([
  () => Buffer.concat([Buffer.from([254]), length(random)]),
  () => Buffer.concat([Buffer.from([251]), length(random), length(random)]),
  () => Buffer.concat([Buffer.from([252]), int64(pick(EDGES, random))]),
  () => Buffer.concat([Buffer.from([253]), noise(random, 4)]),
  () => Buffer.concat([Buffer.from([250]), stringBytes(noise(random, random(80))), stringBytes(noise(random, random(600)))]),
  () => Buffer.concat([Buffer.from([245]), stringBytes(noise(random, random(40)))]),
  () => Buffer.concat([Buffer.from([244]), length(random), length(random), length(random)]),
  () => Buffer.concat([Buffer.from([247]), length(random), lengthBytes(random(7)), length(random), lengthBytes(0)]),
  () => Buffer.concat([Buffer.from([243]), length(random), noise(random, 4 + random(20))]),
  () => Buffer.concat([Buffer.from([pick(BYTES, random)]), stringBytes('k'), length(random), noise(random, random(40))]),
  () => Buffer.concat([Buffer.from([pick(BYTES, random), 0xc3]), lengthBytes(random(30)), length(random), noise(random, random(40))]),
  () => Buffer.from([255]),
], random)();

export type Change = (bytes: Buffer, random: Random, others: readonly { bytes: Buffer }[]) => Buffer;

/** Know nothing of the format. */
export const BLIND: readonly Change[] = [
  (bytes, random) => {
    const out = Buffer.from(bytes);
    for (let times = 1 + random(4); times > 0; times -= 1) {
      const at = random(out.length);
      out[at] = (out[at] ?? 0) ^ (1 << random(8));
    }
    return out;
  },
  (bytes, random) => {
    const out = Buffer.from(bytes);
    out[random(out.length)] = random(3) === 0 ? random(256) : pick(BYTES, random);
    return out;
  },
  (bytes, random) => bytes.subarray(0, random(bytes.length)),
  (bytes, random) => {
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), noise(random, 1 + random(20)), bytes.subarray(at)]);
  },
  (bytes, random) => {
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(40))]);
  },
  (bytes, random) => {
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(40)))]);
  },
  (bytes, random) => {
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), length(random), bytes.subarray(at + random(10))]);
  },
  (bytes, random, others) => {
    const other = pick(others, random).bytes;
    const from = random(other.length);
    const at = random(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), other.subarray(from, from + random(500)), bytes.subarray(at + random(500))]);
  },
];

const HEADER = 9;
/** Longest file that is made; most are far shorter, since a walk byte by byte takes its time. */
const LONGEST = 100_000;

/** Some neighbouring records, of a few bytes to many. */
const clip = (records: readonly Buffer[], random: Random): Buffer[] => {
  let left = 2 ** (5 + random(11));
  const most = 1 + random(40);
  const clipped: Buffer[] = [];
  for (let at = random(records.length); at < records.length && clipped.length < most; at += 1) {
    const record = records[at];
    if (record === undefined || (left -= record.length) < 0) break;
    clipped.push(record);
  }
  return clipped;
};

/** A file of whole records: some of the seed's, rearranged, with others' and made-up ones between them. */
const rearranged = (seed: SeedFile, others: readonly SeedFile[], random: Random): Buffer => {
  const records = clip(seed.records, random);
  for (let times = random(6); times > 0; times -= 1) {
    const at = random(records.length + 1);
    pick<() => unknown>([
      () => records.splice(at, 1),
      () => records.splice(at, 0, pick(records.length > 0 ? records : [piece(random)], random)),
      () => records.splice(at, 0, piece(random)),
      () => {
        const from = pick(others, random).records;
        if (from.length > 0) records.splice(at, 0, pick(from, random));
      },
      () => {
        const record = records[at];
        if (record) records[at] = pick(BLIND.slice(0, 7), random)(record, random, others);
      },
      () => {
        const record = records[at];
        if (record) records[at] = Buffer.concat([Buffer.from([pick(BYTES, random)]), record.subarray(1)]);
      },
    ], random)();
  }
  const header = Buffer.from(seed.head);
  if (random(8) === 0) header.write(random(2) === 0 ? `REDIS${String(random(20)).padStart(4, '0')}` : `VALKEY${String(80 + random(5)).padStart(3, '0')}`, 0, 'latin1');
  return Buffer.concat([header, ...records, random(10) === 0 ? Buffer.alloc(0) : seed.tail]);
};

/** The next file: its last eight bytes are a right checksum, none, or whatever became of the old one. */
export const nextFile = (seeds: readonly SeedFile[], random: Random): { from: string; bytes: Buffer } => {
  const seed = pick(seeds, random);
  let body = seed.bytes.subarray(0, -8);
  let checksum = seed.bytes.subarray(-8);
  if (random(4) > 0 && seed.records.length > 0) body = rearranged(seed, seeds, random);
  if (body.length > LONGEST) body = rearranged(seed, seeds, random);
  // A broken header ends it all at once, so most of them are spared.
  const spared = random(8) === 0 ? 0 : Math.min(HEADER, body.length);
  for (let times = random(4); times > 0 && body.length > spared; times -= 1) body = Buffer.concat([body.subarray(0, spared), pick(BLIND, random)(body.subarray(spared), random, seeds)]);
  const kind = random(10);
  if (kind < 6) checksum = int64(crc64(body));
  else if (kind < 9) checksum = Buffer.alloc(8);
  const whole = Buffer.concat([body, checksum]);
  return { from: seed.name, bytes: random(20) === 0 ? pick(BLIND, random)(whole, random, seeds) : whole };
};
