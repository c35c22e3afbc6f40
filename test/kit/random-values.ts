import { pick, type Random } from '../fuzz/rdb/random.js';
import { type BuiltId, type BuiltStream, type Field, type Scored } from './value-builder.js';

/** Values that mean something, and like to be at the borders of encodings. */

const INTEGERS = ['0', '12', '13', '-1', '63', '127', '128', '-128', '-129', '4095', '4096', '-4096', '-4097', '32767', '-32769', '8388608', '-8388609', '2147483648', '-2147483649', '9223372036854775807', '-9223372036854775808', '9223372036854775808', '007', '-0', '1e3'];
const LENGTHS = [0, 1, 2, 5, 11, 31, 32, 63, 64, 120, 126, 127, 128, 253, 254, 255, 300];

export const randomBytes = (random: Random): Buffer => {
  const form = random(10);
  if (form < 3) return Buffer.from(pick(INTEGERS, random));
  if (form < 4) return Buffer.from(String(random(2 ** 31) - 2 ** 30));
  const length = random(30) === 0 ? 4_090 + random(20) : pick(LENGTHS, random);
  if (form < 7) return Buffer.from('abcabd'.repeat(length).slice(0, length));
  return Buffer.from(Array.from({ length }, () => random(256)));
};

const count = (random: Random): number => (random(40) === 0 ? 600 : random(12));

export const randomElements = (random: Random): Buffer[] => Array.from({ length: 1 + count(random) }, () => randomBytes(random));

const distinct = (elements: readonly Buffer[]): Buffer[] => [...new Map(elements.map((element) => [element.toString('latin1'), element])).values()];

export const randomMembers = (random: Random): Buffer[] => distinct(randomElements(random));

export const randomIntegers = (random: Random): Buffer[] => {
  const bits = BigInt(pick([8, 16, 32, 64], random));
  return distinct(Array.from({ length: 1 + count(random) }, () => Buffer.from(String(BigInt.asIntN(Number(bits), (BigInt(random(2 ** 31)) << 33n) ^ BigInt(random(2 ** 31)))))));
};

const SCORES = [0, -0, 1, -1, 0.1, 1.5, 1e21, -1e-7, 4.9e-324, 1.7976931348623157e308, Infinity, -Infinity, 9007199254740992, 0.30000000000000004];
export const randomScored = (random: Random): Scored[] =>
  randomMembers(random).map((member) => [member, random(2) === 0 ? pick(SCORES, random) : (random(2 ** 31) - 2 ** 30) / (1 + random(1_000))]);

/** @param expiring at least one field expires */
export const randomFields = (random: Random, expiring: boolean): Field[] =>
  randomMembers(random).map((field, at) => [field, randomBytes(random), expiring && (at === 0 || random(3) === 0) ? 4_102_444_800_000 + random(4) * 1_000 : null]);

const WORD = 2n ** 64n - 1n;
const before = (a: BuiltId, b: BuiltId): number => (a.ms < b.ms || (a.ms === b.ms && a.seq < b.seq) ? -1 : a.ms === b.ms && a.seq === b.seq ? 0 : 1);

export const randomStream = (random: Random): BuiltStream => {
  const ids: BuiltId[] = [];
  let ms = BigInt(random(5));
  let seq = BigInt(random(3));
  for (let left = random(6) === 0 ? 0 : 1 + count(random); left > 0; left -= 1) {
    if (random(3) === 0) [ms, seq] = [ms + 1n + BigInt(random(2 ** 31)) * BigInt(random(1_000)), random(8) === 0 ? WORD : BigInt(random(4))];
    else if (seq < WORD) seq += 1n + BigInt(random(3));
    else [ms, seq] = [ms + 1n, 0n];
    if (seq > WORD) seq = WORD;
    ids.push({ ms, seq });
  }
  const names = Array.from({ length: 1 + random(3) }, () => randomBytes(random));
  const entries = ids.map((id) => {
    const own = random(4) === 0 ? Array.from({ length: 1 + random(3) }, () => randomBytes(random)) : names;
    return { id, fields: own.flatMap((name) => [name, randomBytes(random)]), deleted: random(5) === 0 };
  });
  const last = ids.at(-1) ?? { ms: 0n, seq: 0n };
  const deleted = entries.filter((entry) => entry.deleted);
  const groups = Array.from({ length: random(3) }, (_, group) => {
    const pending = ids.filter(() => random(2) === 0);
    const owners = Array.from({ length: pending.length === 0 ? random(2) : 1 + random(3) }, () => [] as { id: BuiltId; deliveredAtMs: bigint; deliveries: bigint }[]);
    for (const id of pending) pick(owners, random).push({ id, deliveredAtMs: 1_700_000_000_000n + BigInt(random(3)), deliveries: BigInt(1 + random(3)) });
    return {
      name: Buffer.from(`group ${String(group)} ${'long '.repeat(random(20))}`), lastId: ids.length > 0 ? pick(ids, random) : last, entriesRead: random(3) === 0 ? null : BigInt(random(ids.length + 1)),
      consumers: owners.map((own, at) => ({ name: Buffer.from(`consumer ${String(at)}`), seenMs: 1_700_000_000_000n, activeMs: 1_700_000_000_000n, pending: own.sort((a, b) => before(a.id, b.id)) })),
    };
  });
  return {
    entries, groups, lastId: random(4) === 0 ? { ms: last.ms + 1n, seq: 0n } : last, maxDeletedId: deleted.at(-1)?.id ?? { ms: 0n, seq: 0n }, entriesAdded: BigInt(ids.length + random(3)),
  };
};
