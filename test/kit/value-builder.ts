import { float64, integerBytes, int64, lengthBytes, lzfBytes, stringBytes } from './rdb-builder.js';

/** Makes values of every RDB encoding from what they mean, so that a decoder can be held against it. */

/** Picks among the forms that mean the same; 0 is the one servers would choose. */
export type Choose = (forms: number) => number;
const plainly: Choose = () => 0;

const isInteger = (bytes: Buffer): bigint | undefined => {
  const text = bytes.toString('latin1');
  if (text.length > 20 || !/^(?:0|-?[1-9]\d*)$/.test(text)) return undefined;
  const value = BigInt(text);
  return BigInt.asIntN(64, value) === value ? value : undefined;
};

const fits = (value: bigint, bits: number): boolean => BigInt.asIntN(bits, value) === value;

const littleEndian = (value: bigint, width: number): Buffer => int64(value).subarray(0, width);

/** A small LZF compressor: the format of lzf_c.c, without its speed. */
export const lzf = (input: Buffer): Buffer => {
  const out: number[] = [];
  const seen = new Map<number, number>();
  let literals: number[] = [];
  const flush = (): void => {
    for (let at = 0; at < literals.length; at += 32) out.push(Math.min(32, literals.length - at) - 1, ...literals.slice(at, at + 32));
    literals = [];
  };
  for (let at = 0; at < input.length; ) {
    const key = at + 2 < input.length ? input.readUIntBE(at, 3) : -1;
    const before = key < 0 ? undefined : seen.get(key);
    if (key >= 0) seen.set(key, at);
    let run = 0;
    if (before !== undefined && at - before <= 8_192) while (run < 264 && at + run < input.length && input[before + run] === input[at + run]) run += 1;
    if (before === undefined || run < 3) {
      literals.push(input[at] ?? 0);
      at += 1;
      continue;
    }
    flush();
    const back = at - before - 1;
    if (run - 2 < 7) out.push(((run - 2) << 5) | (back >> 8), back & 255);
    else out.push((7 << 5) | (back >> 8), run - 9, back & 255);
    at += run;
  }
  flush();
  return Buffer.from(out);
};

/** A string as RDB stores it: plain, as an integer where it is one, or compressed. */
export const rdbString = (value: Buffer, choose: Choose = plainly): Buffer => {
  const integer = isInteger(value);
  const forms: (() => Buffer)[] = [() => stringBytes(value), () => stringBytes(value, 32), () => lzfBytes(lzf(value), value.length)];
  if (integer !== undefined && fits(integer, 32)) forms.unshift(() => integerBytes(Number(integer)));
  // Nothing at all cannot be compressed.
  return (forms[choose(value.length === 0 ? 2 : forms.length)] as () => Buffer)();
};

const backLength = (size: number): Buffer => {
  const groups: number[] = [];
  let left = size;
  do {
    groups.unshift(left & 127);
    left >>= 7;
  } while (left > 0);
  // Read from behind: all but the first in reading order go on.
  return Buffer.from(groups.map((group, at) => (at === 0 ? group : group | 128)));
};

/** A bigint is never stored as text: where a server looks for a number, it is one. */
export type Packable = Buffer | bigint;

const listpackElement = (element: Packable, choose: Choose): Buffer => {
  const value = typeof element === 'bigint' ? Buffer.from(String(element)) : element;
  const integer = isInteger(value);
  const forms: Buffer[] = [];
  if (integer !== undefined) {
    if (integer >= 0n && integer < 128n) forms.push(Buffer.from([Number(integer)]));
    if (fits(integer, 13)) forms.push(Buffer.from([0xc0 | ((Number(integer) >> 8) & 0x1f), Number(integer) & 255]));
    for (const [mark, width] of [[0xf1, 2], [0xf2, 3], [0xf3, 4], [0xf4, 8]] as const) {
      if (fits(integer, width * 8)) forms.push(Buffer.concat([Buffer.from([mark]), littleEndian(integer, width)]));
    }
  }
  if (typeof element !== 'bigint') {
    if (value.length < 64) forms.push(Buffer.concat([Buffer.from([0x80 | value.length]), value]));
    if (value.length < 4_096) forms.push(Buffer.concat([Buffer.from([0xe0 | (value.length >> 8), value.length & 255]), value]));
    forms.push(Buffer.concat([Buffer.from([0xf0]), littleEndian(BigInt(value.length), 4), value]));
  }
  const body = forms[choose(forms.length)] as Buffer;
  return Buffer.concat([body, backLength(body.length)]);
};

export const listpack = (elements: readonly Packable[], choose: Choose = plainly): Buffer => {
  const body = Buffer.concat(elements.map((element) => listpackElement(element, choose)));
  const counted = elements.length < 65_535 && choose(8) < 7 ? elements.length : 65_535;
  return Buffer.concat([littleEndian(BigInt(body.length + 7), 4), littleEndian(BigInt(counted), 2), body, Buffer.from([255])]);
};

const ziplistElement = (value: Buffer, choose: Choose): Buffer => {
  const integer = isInteger(value);
  const forms: Buffer[] = [];
  if (integer !== undefined) {
    if (integer >= 0n && integer <= 12n) forms.push(Buffer.from([0xf1 + Number(integer)]));
    for (const [mark, width] of [[0xfe, 1], [0xc0, 2], [0xf0, 3], [0xd0, 4], [0xe0, 8]] as const) {
      if (fits(integer, width * 8)) forms.push(Buffer.concat([Buffer.from([mark]), littleEndian(integer, width)]));
    }
  }
  if (value.length < 64) forms.push(Buffer.concat([Buffer.from([value.length]), value]));
  if (value.length < 16_384) forms.push(Buffer.concat([Buffer.from([0x40 | (value.length >> 8), value.length & 255]), value]));
  const long = Buffer.alloc(5, 0x80);
  long.writeUInt32BE(value.length, 1);
  forms.push(Buffer.concat([long, value]));
  return forms[choose(forms.length)] as Buffer;
};

export const ziplist = (elements: readonly Buffer[], choose: Choose = plainly): Buffer => {
  const parts: Buffer[] = [];
  let previous = 0;
  let tail = 10;
  let at = 10;
  for (const element of elements) {
    const wide = previous >= 254 || choose(6) === 5;
    const before = wide ? Buffer.concat([Buffer.from([254]), littleEndian(BigInt(previous), 4)]) : Buffer.from([previous]);
    const whole = Buffer.concat([before, ziplistElement(element, choose)]);
    parts.push(whole);
    tail = at;
    at += whole.length;
    previous = whole.length;
  }
  return Buffer.concat([littleEndian(BigInt(at + 1), 4), littleEndian(BigInt(tail), 4), littleEndian(BigInt(Math.min(elements.length, 65_535)), 2), ...parts, Buffer.from([255])]);
};

export const zipmap = (pairs: readonly Buffer[], choose: Choose = plainly): Buffer => {
  const length = (value: Buffer): Buffer => (value.length < 254 ? Buffer.from([value.length]) : Buffer.concat([Buffer.from([254]), littleEndian(BigInt(value.length), 4)]));
  const parts = pairs.map((value, at) => {
    const free = at % 2 === 0 ? 0 : choose(4);
    return Buffer.concat([length(value), ...(at % 2 === 0 ? [] : [Buffer.from([free])]), value, Buffer.alloc(free, 0xff)]);
  });
  return Buffer.concat([Buffer.from([Math.min(pairs.length / 2, 254)]), ...parts, Buffer.from([255])]);
};

export const intset = (values: readonly bigint[]): Buffer => {
  const width = [2, 4, 8].find((bytes) => values.every((value) => fits(value, bytes * 8))) ?? 8;
  const sorted = [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return Buffer.concat([littleEndian(BigInt(width), 4), littleEndian(BigInt(sorted.length), 4), ...sorted.map((value) => littleEndian(value, width))]);
};

const counted = (strings: readonly Buffer[], each: number, choose: Choose): Buffer =>
  Buffer.concat([lengthBytes(strings.length / each), ...strings.map((string) => rdbString(string, choose))]);

/** Cuts a list into nodes. */
const nodes = (elements: readonly Buffer[], choose: Choose): Buffer[][] => {
  const cut: Buffer[][] = [];
  for (let at = 0; at < elements.length; ) {
    const size = 1 + choose(5);
    cut.push(elements.slice(at, at + size));
    at += size;
  }
  return cut;
};

export const LIST_ENCODINGS: Readonly<Record<number, (elements: readonly Buffer[], choose: Choose) => Buffer>> = {
  1: (elements, choose) => counted(elements, 1, choose),
  10: (elements, choose) => rdbString(ziplist(elements, choose), choose),
  14: (elements, choose) => {
    const parts = nodes(elements, choose);
    return Buffer.concat([lengthBytes(parts.length), ...parts.map((part) => rdbString(ziplist(part, choose), choose))]);
  },
  18: (elements, choose) => {
    const parts = nodes(elements, choose);
    return Buffer.concat([lengthBytes(parts.length), ...parts.map((part) => {
      const [only] = part;
      // A node of its own is for large elements; servers refuse one that holds nothing.
      return part.length === 1 && only !== undefined && only.length > 0 && choose(2) === 1
        ? Buffer.concat([lengthBytes(1), rdbString(only, choose)])
        : Buffer.concat([lengthBytes(2), rdbString(listpack(part, choose), choose)]);
    })]);
  },
};

/** 11 is for integers only. */
export const SET_ENCODINGS: Readonly<Record<number, (elements: readonly Buffer[], choose: Choose) => Buffer>> = {
  2: (elements, choose) => counted(elements, 1, choose),
  11: (elements, choose) => rdbString(intset(elements.map((element) => BigInt(element.toString()))), choose),
  20: (elements, choose) => rdbString(listpack(elements, choose), choose),
};

export type Scored = readonly [member: Buffer, score: number];
/** Packed ones are in order; servers take them as they are. */
const inOrder = (members: readonly Scored[]): Scored[] => [...members].sort(([a, x], [b, y]) => (x < y ? -1 : x > y ? 1 : a.compare(b)));
const scoreBytes = (score: number, choose: Choose): Buffer =>
  Buffer.from(score === Infinity ? 'inf' : score === -Infinity ? '-inf' : Object.is(score, -0) ? '-0' : choose(2) === 0 ? String(score) : score.toPrecision(17));

export const SORTED_SET_ENCODINGS: Readonly<Record<number, (members: readonly Scored[], choose: Choose) => Buffer>> = {
  3: (members, choose) => Buffer.concat([lengthBytes(members.length), ...members.flatMap(([member, score]) => {
    const text = scoreBytes(score, choose);
    return [rdbString(member, choose), Number.isFinite(score) ? Buffer.concat([Buffer.from([text.length]), text]) : Buffer.from([score > 0 ? 254 : score < 0 ? 255 : 253])];
  })]),
  5: (members, choose) => Buffer.concat([lengthBytes(members.length), ...members.flatMap(([member, score]) => [rdbString(member, choose), float64(score)])]),
  12: (members, choose) => rdbString(ziplist(inOrder(members).flatMap(([member, score]) => [member, scoreBytes(score, choose)]), choose), choose),
  17: (members, choose) => rdbString(listpack(inOrder(members).flatMap(([member, score]) => [member, scoreBytes(score, choose)]), choose), choose),
};

export type Field = readonly [field: Buffer, value: Buffer, expiresAtMs: number | null];
const pairsOf = (fields: readonly Field[]): Buffer[] => fields.flatMap(([field, value]) => [field, value]);

export const HASH_ENCODINGS: Readonly<Record<number, (fields: readonly Field[], choose: Choose) => Buffer>> = {
  4: (fields, choose) => counted(pairsOf(fields), 2, choose),
  9: (fields, choose) => rdbString(zipmap(pairsOf(fields), choose), choose),
  13: (fields, choose) => rdbString(ziplist(pairsOf(fields), choose), choose),
  16: (fields, choose) => rdbString(listpack(pairsOf(fields), choose), choose),
};

const earliest = (fields: readonly Field[]): number => Math.min(...fields.flatMap(([, , at]) => (at === null ? [] : [at])));
const timedListpack = (fields: readonly Field[], choose: Choose): Buffer =>
  rdbString(listpack(fields.flatMap(([field, value, at]) => [field, value, BigInt(at ?? 0)]), choose), choose);

/** With at least one field that expires. */
export const TIMED_HASH_ENCODINGS: Readonly<Record<string, (fields: readonly Field[], choose: Choose) => Buffer>> = {
  'REDIS 22': (fields, choose) => Buffer.concat([lengthBytes(fields.length), ...fields.flatMap(([field, value, at]) => [lengthBytes(at ?? 0), rdbString(field, choose), rdbString(value, choose)])]),
  'REDIS 23': timedListpack,
  'REDIS 24': (fields, choose) => {
    const first = earliest(fields);
    return Buffer.concat([int64(first), lengthBytes(fields.length), ...fields.flatMap(([field, value, at]) => [lengthBytes(at === null ? 0 : at - first + 1), rdbString(field, choose), rdbString(value, choose)])]);
  },
  'REDIS 25': (fields, choose) => Buffer.concat([int64(earliest(fields)), timedListpack(fields, choose)]),
  'VALKEY 22': (fields, choose) => Buffer.concat([lengthBytes(fields.length), ...fields.flatMap(([field, value, at]) => [rdbString(field, choose), rdbString(value, choose), int64(at ?? -1)])]),
};

export interface BuiltId { ms: bigint; seq: bigint }
export interface BuiltStream {
  /** In rising order; those that are deleted stay in their node, marked. */
  entries: readonly { id: BuiltId; fields: readonly Buffer[]; deleted: boolean }[];
  lastId: BuiltId;
  maxDeletedId: BuiltId;
  entriesAdded: bigint;
  groups: readonly {
    name: Buffer; lastId: BuiltId; entriesRead: bigint | null;
    consumers: readonly { name: Buffer; seenMs: bigint; activeMs: bigint; pending: readonly { id: BuiltId; deliveredAtMs: bigint; deliveries: bigint }[] }[];
  }[];
}

const rawId = ({ ms, seq }: BuiltId): Buffer => {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(ms, 0);
  bytes.writeBigUInt64BE(seq, 8);
  return bytes;
};
const idLengths = ({ ms, seq }: BuiltId): Buffer => Buffer.concat([lengthBytes(ms), lengthBytes(seq)]);
const number = (value: bigint | number): bigint => BigInt.asIntN(64, BigInt(value));

const streamNode = (entries: BuiltStream['entries'], choose: Choose): Buffer => {
  const [first] = entries;
  if (first === undefined) throw new RangeError('A node has entries');
  const names = first.fields.filter((_, at) => at % 2 === 0);
  const deleted = entries.filter((entry) => entry.deleted).length;
  const elements: Packable[] = [number(entries.length - deleted), number(deleted), number(names.length), ...names, number(0)];
  for (const { id, fields, deleted: gone } of entries) {
    const own = fields.filter((_, at) => at % 2 === 0);
    const same = own.length === names.length && own.every((name, at) => name.equals(names[at] as Buffer)) && choose(4) < 3;
    const content = same ? fields.filter((_, at) => at % 2 === 1) : [number(own.length), ...fields];
    elements.push(number((gone ? 1 : 0) | (same ? 2 : 0)), number(id.ms - first.id.ms), number(id.seq - first.id.seq), ...content, number(content.length + 3));
  }
  return Buffer.concat([stringBytes(rawId(first.id)), rdbString(listpack(elements, choose), choose)]);
};

export const streamValue = (stream: BuiltStream, layout: 1 | 2 | 3, choose: Choose = plainly): Buffer => {
  const cut: BuiltStream['entries'][] = [];
  for (let at = 0; at < stream.entries.length; ) {
    const size = 1 + choose(8);
    cut.push(stream.entries.slice(at, at + size));
    at += size;
  }
  const alive = stream.entries.filter(({ deleted }) => !deleted);
  // A node whose entries are all deleted is removed.
  const kept = cut.filter((node) => node.some(({ deleted }) => !deleted));
  const parts = [lengthBytes(kept.length), ...kept.map((node) => streamNode(node, choose)), lengthBytes(alive.length), idLengths(stream.lastId)];
  if (layout > 1) parts.push(idLengths(alive[0]?.id ?? { ms: 0n, seq: 0n }), idLengths(stream.maxDeletedId), lengthBytes(stream.entriesAdded));
  parts.push(lengthBytes(stream.groups.length));
  for (const group of stream.groups) {
    const pending = group.consumers.flatMap((consumer) => consumer.pending).sort((a, b) => rawId(a.id).compare(rawId(b.id)));
    parts.push(rdbString(group.name, choose), idLengths(group.lastId));
    if (layout > 1) parts.push(lengthBytes(group.entriesRead ?? 2n ** 64n - 1n));
    parts.push(lengthBytes(pending.length), ...pending.flatMap(({ id, deliveredAtMs, deliveries }) => [rawId(id), int64(deliveredAtMs), lengthBytes(deliveries)]), lengthBytes(group.consumers.length));
    for (const { name, seenMs, activeMs, pending: own } of group.consumers) {
      parts.push(rdbString(name, choose), int64(seenMs), ...(layout === 3 ? [int64(activeMs)] : []), lengthBytes(own.length), ...own.map(({ id }) => rawId(id)));
    }
  }
  return Buffer.concat(parts);
};
