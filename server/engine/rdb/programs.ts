import { Packing } from './packing.js';
import { type RdbMagic } from './summary.js';

/**
 * The grammar of RDB records as small programs for the walker: one program per type and opcode byte, over one alphabet
 * of steps. Sources: rdb.h and rdb.c of Redis 2.8 to 8.0 and Valkey 7.2 to 9.1; key metadata from keymeta.c of Redis 8.6.
 */

/** Next record: one byte, a type or an opcode. Every opcode's program ends here. */
export const RECORD = 0;
/** The value is complete: count the key, then as RECORD. */
export const VALUE_END = 1;
/** Operand n: n strings. */
export const STRINGS = 2;
/** A length k, then k times operand strings. */
export const COUNTED_STRINGS = 3;
/** One length, passed over. */
export const LENGTH = 4;
/** Operand: so many raw bytes. */
export const BYTES = 5;
/** A length k, then k times operand raw bytes. */
export const COUNTED_BYTES = 6;
/** A length k, then k times the body; operand: bytes of program up to behind the matching NEXT. */
export const LOOP = 7;
export const NEXT = 8;
/** A double as text with a one-byte length; 253, 254 and 255 stand for nan and the infinities and have no text. */
export const TEXT_DOUBLE = 9;
/** Module opcodes up to 0. */
export const MODULE_VALUE = 10;
/** A length that is a module data type's id. */
export const MODULE_ID = 11;
export const SELECT_DATABASE = 12;
export const EXPIRE_SECONDS = 13;
export const EXPIRE_MILLISECONDS = 14;
export const AUX_NAME = 15;
export const AUX_VALUE = 16;
export const AUX_END = 17;
export const FUNCTION = 18;
export const REFUSED = 19;
/** The string of a FUNCTION has passed. */
export const FUNCTION_END = 27;

/* Only in the programs that count elements, for those who listen for keys. */

/** As COUNTED_STRINGS, LOOP and LENGTH; the length is the value's number of elements. */
export const COUNT_STRINGS = 20;
export const COUNT_LOOP = 21;
export const COUNT_LENGTH = 22;
/** One string whose beginning says how many elements are packed into it. A PACKED_END follows. */
export const PACKED = 23;
/** Operand: a Packing. */
export const PACKED_END = 24;
/** A length: how the next node of a list is kept. */
export const CONTAINER = 25;

/* Only in the programs for those who take records apart. */

/** The name is complete, the value begins. */
export const VALUE_BEGIN = 26;

export const EOF_OPCODE = 255;
/** Types count up from 0, opcodes down from 255; nobody has come near the middle. */
export const isOpcode = (code: number): boolean => code >= 128;

const repeat = (body: readonly number[]): number[] => [LOOP, body.length + 1, ...body, NEXT];

const countedRepeat = (body: readonly number[]): number[] => [COUNT_LOOP, body.length + 1, ...body, NEXT];
const packed = (packing: Packing): number[] => [PACKED, PACKED_END, packing];

const STREAM_ID = 16;
/** @param entries LENGTH or COUNT_LENGTH, for the first of the head's lengths: the number of entries */
const stream = (headLengths: number, groupLengths: number, consumerBytes: number, entries = LENGTH): number[] => [
  COUNTED_STRINGS, 2,
  entries,
  ...Array<number>(headLengths - 1).fill(LENGTH),
  ...repeat([
    STRINGS, 1, ...Array<number>(groupLengths).fill(LENGTH),
    ...repeat([BYTES, STREAM_ID + 8, LENGTH]),
    ...repeat([STRINGS, 1, BYTES, consumerBytes, COUNTED_BYTES, STREAM_ID]),
  ]),
];

/** Types that mean the same to both engines. Missing: 6 (modules of 4.0 release candidates, cannot be skipped) and 8. */
const COMMON_TYPES: Readonly<Record<number, number[]>> = {
  0: [STRINGS, 1],
  1: [COUNTED_STRINGS, 1],
  2: [COUNTED_STRINGS, 1],
  3: repeat([STRINGS, 1, TEXT_DOUBLE]),
  4: [COUNTED_STRINGS, 2],
  5: repeat([STRINGS, 1, BYTES, 8]),
  7: [MODULE_ID, MODULE_VALUE],
  9: [STRINGS, 1],
  10: [STRINGS, 1],
  11: [STRINGS, 1],
  12: [STRINGS, 1],
  13: [STRINGS, 1],
  14: [COUNTED_STRINGS, 1],
  15: stream(3, 2, 8),
  16: [STRINGS, 1],
  17: [STRINGS, 1],
  18: repeat([LENGTH, STRINGS, 1]),
  19: stream(8, 3, 8),
  20: [STRINGS, 1],
  21: stream(8, 3, 16),
};

const REDIS_TYPES: Readonly<Record<number, number[]>> = {
  22: repeat([LENGTH, STRINGS, 2]),
  23: [STRINGS, 1],
  24: [BYTES, 8, ...repeat([LENGTH, STRINGS, 2])],
  25: [BYTES, 8, STRINGS, 1],
};

/** 23 is another type in Valkey 9.2 and is left unknown. */
const VALKEY_TYPES: Readonly<Record<number, number[]>> = {
  22: repeat([STRINGS, 2, BYTES, 8]),
};

/** The same bytes, with their elements counted as far as lengths and heads tell. Those that are missing have none, or do not tell. */
const COUNTING_COMMON_TYPES: Readonly<Record<number, number[]>> = {
  1: [COUNT_STRINGS, 1],
  2: [COUNT_STRINGS, 1],
  3: countedRepeat([STRINGS, 1, TEXT_DOUBLE]),
  4: [COUNT_STRINGS, 2],
  5: countedRepeat([STRINGS, 1, BYTES, 8]),
  9: packed(Packing.ZIPMAP),
  10: packed(Packing.ZIPLIST),
  11: packed(Packing.INTSET),
  12: packed(Packing.ZIPLIST_PAIRS),
  13: packed(Packing.ZIPLIST_PAIRS),
  14: repeat(packed(Packing.ZIPLIST)),
  15: stream(3, 2, 8, COUNT_LENGTH),
  16: packed(Packing.LISTPACK_PAIRS),
  17: packed(Packing.LISTPACK_PAIRS),
  18: repeat([CONTAINER, ...packed(Packing.QUICKLIST_NODE)]),
  19: stream(8, 3, 8, COUNT_LENGTH),
  20: packed(Packing.LISTPACK),
  21: stream(8, 3, 16, COUNT_LENGTH),
};

const COUNTING_REDIS_TYPES: Readonly<Record<number, number[]>> = {
  22: countedRepeat([LENGTH, STRINGS, 2]),
  23: packed(Packing.LISTPACK_TRIPLES),
  24: [BYTES, 8, ...countedRepeat([LENGTH, STRINGS, 2])],
  25: [BYTES, 8, ...packed(Packing.LISTPACK_TRIPLES)],
};

const COUNTING_VALKEY_TYPES: Readonly<Record<number, number[]>> = {
  22: countedRepeat([STRINGS, 2, BYTES, 8]),
};

const COMMON_OPCODES: Readonly<Record<number, number[]>> = {
  244: [LENGTH, LENGTH, LENGTH],
  245: [FUNCTION, STRINGS, 1, FUNCTION_END],
  246: [REFUSED],
  247: [MODULE_ID, MODULE_VALUE],
  248: [LENGTH],
  249: [BYTES, 1],
  250: [AUX_NAME, AUX_VALUE, AUX_END],
  251: [LENGTH, LENGTH],
  252: [EXPIRE_MILLISECONDS],
  253: [EXPIRE_SECONDS],
  254: [SELECT_DATABASE],
};

const REDIS_OPCODES: Readonly<Record<number, number[]>> = {
  // Per-key metadata of modules (RDB 13): count, then a raw 4-byte class and module opcodes for each.
  243: repeat([BYTES, 4, MODULE_VALUE]),
};

const VALKEY_OPCODES: Readonly<Record<number, number[]>> = {
  // A slot import in progress: job name, then slot ranges.
  243: [STRINGS, 1, ...repeat([LENGTH, LENGTH])],
};

export interface Programs {
  code: Uint8Array;
  /** `[type or opcode byte]` -> where its program starts; 0 for bytes that are not known. */
  start: Uint16Array;
}

/** @param beforeValue steps between a key's name and its value */
function assemble(types: Readonly<Record<number, number[]>>, opcodes: Readonly<Record<number, number[]>>, beforeValue: readonly number[] = []): Programs {
  const code: number[] = [RECORD];
  const start = new Uint16Array(256);
  for (const [byte, program] of Object.entries(types)) {
    start[Number(byte)] = code.length;
    code.push(...beforeValue, ...program, VALUE_END);
  }
  for (const [byte, program] of Object.entries(opcodes)) {
    start[Number(byte)] = code.length;
    code.push(...program, RECORD);
  }
  return { code: Uint8Array.from(code), start };
}

const TYPES = {
  REDIS: { ...COMMON_TYPES, ...REDIS_TYPES },
  VALKEY: { ...COMMON_TYPES, ...VALKEY_TYPES },
};
const OPCODES = {
  REDIS: { ...COMMON_OPCODES, ...REDIS_OPCODES },
  VALKEY: { ...COMMON_OPCODES, ...VALKEY_OPCODES },
};

/** 22 and 243 mean different things to the two engines, so the header's word chooses. */
export const PROGRAMS: Readonly<Record<RdbMagic, Programs>> = {
  REDIS: assemble(TYPES.REDIS, OPCODES.REDIS),
  VALKEY: assemble(TYPES.VALKEY, OPCODES.VALKEY),
};

/** They pass over the same bytes. */
export const COUNTING_PROGRAMS: Readonly<Record<RdbMagic, Programs>> = {
  REDIS: assemble({ ...TYPES.REDIS, ...COUNTING_COMMON_TYPES, ...COUNTING_REDIS_TYPES }, OPCODES.REDIS),
  VALKEY: assemble({ ...TYPES.VALKEY, ...COUNTING_COMMON_TYPES, ...COUNTING_VALKEY_TYPES }, OPCODES.VALKEY),
};

/** The same bytes again, with marks where names end. */
export const RECORD_PROGRAMS: Readonly<Record<RdbMagic, Programs>> = {
  REDIS: assemble(TYPES.REDIS, OPCODES.REDIS, [VALUE_BEGIN]),
  VALKEY: assemble(TYPES.VALKEY, OPCODES.VALKEY, [VALUE_BEGIN]),
};
