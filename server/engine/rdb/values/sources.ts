import { Intset } from './intset.js';
import { Listpack } from './listpack.js';
import { type Packed } from './packed.js';
import { parseScore } from './score.js';
import { type ValueReader } from './value-reader.js';
import { Ziplist } from './ziplist.js';
import { Zipmap } from './zipmap.js';

/** Elements of a list or set, in the order they are stored; null at the end. All sources fail with CORRUPT, also for what follows the end. */
export interface Elements {
  next(): Buffer | null;
}

/** Members of a sorted set. `score` belongs to the member that `next` gave last; it may be an infinity or NaN. */
export interface Members {
  score: number;
  next(): Buffer | null;
}

/** Fields of a hash. `value` and `expiresAtMs` (Unix milliseconds, or null) belong to the field that `next` gave last. */
export interface Fields {
  value: Buffer;
  expiresAtMs: number | null;
  next(): Buffer | null;
}

type PackedKind<P extends Packed = Packed> = new (blob: Buffer, corrupt: (what: string) => Error) => P;

/** The blob that a string holds. */
export const packedString = <P extends Packed>(reader: ValueReader, Kind: PackedKind<P>): P => {
  const at = reader.pos;
  return new Kind(reader.string(), (what) => reader.corrupt(what, at));
};

const NONE = Buffer.alloc(0);

/** A count, then so many strings. */
export const plainElements = (reader: ValueReader): Elements => {
  let left = reader.count(1);
  return {
    next: () => {
      if (left === 0) {
        reader.end();
        return null;
      }
      left -= 1;
      return reader.string();
    },
  };
};

const packedElements = (Kind: PackedKind) => (reader: ValueReader): Elements => {
  const packed = packedString(reader, Kind);
  reader.end();
  return { next: () => (packed.next() ? packed.bytes() : null) };
};

export const ziplistElements = packedElements(Ziplist);
export const listpackElements = packedElements(Listpack);
export const intsetElements = packedElements(Intset);

const PLAIN_NODE = 1;
const PACKED_NODE = 2;

/** A count, then so many nodes: ziplists (Redis 3.2 to 6.2), or listpacks and single elements, each behind a mark of its kind (7.0). */
const nodeElements = (marked: boolean) => (reader: ValueReader): Elements => {
  let left = reader.count(marked ? 2 : 1);
  let node: Packed | null = null;
  return {
    next: () => {
      for (;;) {
        if (node?.next() === true) return node.bytes();
        node = null;
        if (left === 0) {
          reader.end();
          return null;
        }
        left -= 1;
        const at = reader.pos;
        const mark = marked ? reader.length() : PACKED_NODE;
        if (mark === PLAIN_NODE) return reader.string();
        if (mark !== PACKED_NODE) throw reader.corrupt(`a list's node of kind ${mark}`, at);
        node = packedString<Packed>(reader, marked ? Listpack : Ziplist);
      }
    },
  };
};

export const quicklistElements = nodeElements(false);
export const quicklist2Elements = nodeElements(true);

/** A count, then members each with a score. */
const scoredMembers = (least: number, readScore: (reader: ValueReader) => number) => (reader: ValueReader): Members => {
  let left = reader.count(least);
  return {
    score: 0,
    next() {
      if (left === 0) {
        reader.end();
        return null;
      }
      left -= 1;
      const member = reader.string();
      this.score = readScore(reader);
      return member;
    },
  };
};

/** Text behind its length in one byte; three lengths stand for what has no text (rdbLoadDoubleValue). */
const textScore = (reader: ValueReader): number => {
  const at = reader.pos;
  const length = reader.byte();
  if (length === 253) return NaN;
  if (length === 254) return Infinity;
  if (length === 255) return -Infinity;
  const score = parseScore(reader.take(length));
  if (score === undefined) throw reader.corrupt('a score is no number', at);
  return score;
};

export const textScoredMembers = scoredMembers(2, textScore);
export const binaryScoredMembers = scoredMembers(9, (reader) => reader.double());

/** Members and scores alternately. */
const packedMembers = (Kind: PackedKind) => (reader: ValueReader): Members => {
  const at = reader.pos;
  const packed = packedString(reader, Kind);
  reader.end();
  return {
    score: 0,
    next() {
      if (!packed.next()) return null;
      const member = packed.bytes();
      if (!packed.next()) throw reader.corrupt('the last member has no score', at);
      const integer = packed.integer();
      const score = integer === undefined ? parseScore(packed.bytes()) : Number(integer);
      if (score === undefined) throw reader.corrupt('a score is no number', at);
      this.score = score;
      return member;
    },
  };
};

export const ziplistMembers = packedMembers(Ziplist);
export const listpackMembers = packedMembers(Listpack);

/** A count, then fields and values. */
export const plainFields = (reader: ValueReader): Fields => {
  let left = reader.count(2);
  return {
    value: NONE, expiresAtMs: null,
    next() {
      if (left === 0) {
        reader.end();
        return null;
      }
      left -= 1;
      const field = reader.string();
      this.value = reader.string();
      return field;
    },
  };
};

const packedFields = (Kind: PackedKind) => (reader: ValueReader): Fields => {
  const at = reader.pos;
  const packed = packedString(reader, Kind);
  reader.end();
  return {
    value: NONE, expiresAtMs: null,
    next() {
      if (!packed.next()) return null;
      const field = packed.bytes();
      if (!packed.next()) throw reader.corrupt('the last field has no value', at);
      this.value = packed.bytes();
      return field;
    },
  };
};

export const zipmapFields = packedFields(Zipmap);
export const ziplistFields = packedFields(Ziplist);
export const listpackFields = packedFields(Listpack);

/** The latest expiry of a field (EB_EXPIRE_TIME_MAX in ebuckets.h of Redis 7.4). */
const LATEST_MS = 2 ** 48 - 2;

const expiry = (reader: ValueReader, ms: number, at: number): number => {
  if (!(ms >= 0 && ms <= LATEST_MS)) throw reader.corrupt(`a field expires at ${ms} ms`, at);
  return ms;
};

/** Redis 7.4: the earliest expiry where `based`, a count, then for each field its expiry (0: none; counted from the earliest, which is 1), field and value. */
const timedFields = (based: boolean) => (reader: ValueReader): Fields => {
  const at = reader.pos;
  const earliest = based ? expiry(reader, Number(reader.int64()), at) : 1;
  let left = reader.count(3);
  return {
    value: NONE, expiresAtMs: null,
    next() {
      if (left === 0) {
        reader.end();
        return null;
      }
      left -= 1;
      const begin = reader.pos;
      const time = reader.length();
      this.expiresAtMs = time === 0 ? null : expiry(reader, earliest + time - 1, begin);
      const field = reader.string();
      this.value = reader.string();
      return field;
    },
  };
};

export const redisTimedFields = timedFields(true);
export const redisTimedFieldsOfCandidate = timedFields(false);

/** Redis 7.4: the earliest expiry where `based`, then a listpack of fields, values and expiries (0: none). */
const timedListpackFields = (based: boolean) => (reader: ValueReader): Fields => {
  if (based) reader.int64();
  const at = reader.pos;
  const packed = packedString(reader, Listpack);
  reader.end();
  return {
    value: NONE, expiresAtMs: null,
    next() {
      if (!packed.next()) return null;
      const field = packed.bytes();
      if (!packed.next()) throw reader.corrupt('the last field has no value', at);
      this.value = packed.bytes();
      const time = packed.next() ? packed.integer() : undefined;
      if (time === undefined) throw reader.corrupt('a field has no expiry', at);
      this.expiresAtMs = time === 0n ? null : expiry(reader, Number(time), at);
      return field;
    },
  };
};

export const redisTimedListpackFields = timedListpackFields(true);
export const redisTimedListpackFieldsOfCandidate = timedListpackFields(false);

/** Valkey 9: a count, then for each field its name, value and expiry (-1: none). */
export const valkeyTimedFields = (reader: ValueReader): Fields => {
  let left = reader.count(10);
  return {
    value: NONE, expiresAtMs: null,
    next() {
      if (left === 0) {
        reader.end();
        return null;
      }
      left -= 1;
      const field = reader.string();
      this.value = reader.string();
      const at = reader.pos;
      const time = reader.int64();
      this.expiresAtMs = time === -1n ? null : expiry(reader, Number(time), at);
      return field;
    },
  };
};
