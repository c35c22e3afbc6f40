import { ValueReader } from '../../../server/engine/rdb/values/value-reader.js';
import { type RdbMagic } from '../../../server/engine/rdb/summary.js';
import * as make from '../../kit/random-values.js';
import * as built from '../../kit/value-builder.js';
import { BLIND } from '../rdb/mutations.js';
import { pick, type Random } from '../rdb/random.js';
import { type ValueInput } from './check.js';
import { type SeedValue } from './subject.js';

const TYPES: Readonly<Record<RdbMagic, readonly number[]>> = {
  REDIS: [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25],
  VALKEY: [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22],
};
/** Values that are one string with everything in it, and where that stands. */
const PACKED: Readonly<Record<number, number>> = { 9: 0, 10: 0, 11: 0, 12: 0, 13: 0, 16: 0, 17: 0, 20: 0, 23: 0, 25: 8 };
const LONGEST = 60_000;

const made = (random: Random): ValueInput => {
  const encodings: [RdbMagic, number, () => Buffer][] = [
    ...Object.entries(built.LIST_ENCODINGS).map(([type, encode]): [RdbMagic, number, () => Buffer] => ['REDIS', Number(type), () => encode(make.randomElements(random), random)]),
    ...Object.entries(built.SORTED_SET_ENCODINGS).map(([type, encode]): [RdbMagic, number, () => Buffer] => ['REDIS', Number(type), () => encode(make.randomScored(random), random)]),
    ...Object.entries(built.HASH_ENCODINGS).map(([type, encode]): [RdbMagic, number, () => Buffer] => ['REDIS', Number(type), () => encode(make.randomFields(random, false), random)]),
    ...Object.entries(built.TIMED_HASH_ENCODINGS).map(([name, encode]): [RdbMagic, number, () => Buffer] => [name.startsWith('REDIS') ? 'REDIS' : 'VALKEY', Number(name.split(' ')[1]), () => encode(make.randomFields(random, true), random)]),
    ['REDIS', 11, () => built.SET_ENCODINGS[11]?.(make.randomIntegers(random), random) ?? Buffer.alloc(0)],
    ['REDIS', 15, () => built.streamValue(make.randomStream(random), 1, random)],
    ['VALKEY', 19, () => built.streamValue(make.randomStream(random), 2, random)],
    ['REDIS', 21, () => built.streamValue(make.randomStream(random), 3, random)],
  ];
  const [magic, rdbType, encode] = pick(encodings, random);
  return { rdbType, magic, bytes: encode() };
};

/** Changes what is in the packed string, and leaves the string around it sound; its own length, too, more often than not. */
const inside = (bytes: Buffer, from: number, random: Random, others: readonly { bytes: Buffer }[]): Buffer => {
  const reader = new ValueReader(bytes);
  reader.skip(from);
  let blob: Buffer = Buffer.from(reader.string());
  if (blob.length === 0) return bytes;
  blob = pick(BLIND, random)(blob, random, others);
  if (blob.length >= 4 && random(4) > 0) blob.writeUInt32LE(blob.length, 0);
  return Buffer.concat([bytes.subarray(0, from), built.rdbString(blob, random(3) === 0 ? random : () => 0)]);
};

/** The next value: one of a server or of the builder, changed from without or within, or taken for one of another type. */
export const nextValue = (seeds: readonly SeedValue[], random: Random): { from: string; input: ValueInput } => {
  const seed = pick(seeds, random);
  const { rdbType, magic, bytes } = random(2) === 0 || seed.bytes.length > LONGEST ? made(random) : seed;
  let changed = bytes;
  const within = PACKED[rdbType];
  for (let times = random(4); times > 0 && changed.length > 0; times -= 1) {
    changed = within !== undefined && changed === bytes && random(2) === 0 ? inside(changed, within, random, seeds) : pick(BLIND, random)(changed, random, seeds);
  }
  const type = random(10) === 0 ? pick(TYPES[magic], random) : rdbType;
  return { from: `${seed.name}, type ${String(rdbType)}`, input: { rdbType: type, magic, bytes: changed } };
};
