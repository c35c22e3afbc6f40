import { moduleName } from '../module-id.js';
import { rdbError } from '../rdb-error.js';
import { type RdbMagic } from '../summary.js';
import * as sources from './sources.js';
import { StreamValue } from './stream.js';
import { ValueReader } from './value-reader.js';

/** A value, ready to be read once from its beginning to its end. */
export type DecodedValue =
  | { kind: 'STRING'; value: Buffer }
  | { kind: 'LIST' | 'SET'; elements: sources.Elements }
  | { kind: 'SORTED_SET'; members: sources.Members }
  | { kind: 'HASH'; fields: sources.Fields }
  | { kind: 'STREAM'; stream: StreamValue };

type Decoder = (reader: ValueReader) => DecodedValue;

const string: Decoder = (reader) => {
  const value = reader.string();
  reader.end();
  return { kind: 'STRING', value };
};
const list = (open: (reader: ValueReader) => sources.Elements): Decoder => (reader) => ({ kind: 'LIST', elements: open(reader) });
const set = (open: (reader: ValueReader) => sources.Elements): Decoder => (reader) => ({ kind: 'SET', elements: open(reader) });
const sortedSet = (open: (reader: ValueReader) => sources.Members): Decoder => (reader) => ({ kind: 'SORTED_SET', members: open(reader) });
const hash = (open: (reader: ValueReader) => sources.Fields): Decoder => (reader) => ({ kind: 'HASH', fields: open(reader) });
const stream = (layout: 1 | 2 | 3): Decoder => (reader) => ({ kind: 'STREAM', stream: new StreamValue(reader, layout) });

/** Types that mean the same to both engines, as in the walker's programs. */
const COMMON: Readonly<Record<number, Decoder>> = {
  0: string,
  1: list(sources.plainElements),
  2: set(sources.plainElements),
  3: sortedSet(sources.textScoredMembers),
  4: hash(sources.plainFields),
  5: sortedSet(sources.binaryScoredMembers),
  9: hash(sources.zipmapFields),
  10: list(sources.ziplistElements),
  11: set(sources.intsetElements),
  12: sortedSet(sources.ziplistMembers),
  13: hash(sources.ziplistFields),
  14: list(sources.quicklistElements),
  15: stream(1),
  16: hash(sources.listpackFields),
  17: sortedSet(sources.listpackMembers),
  18: list(sources.quicklist2Elements),
  19: stream(2),
  20: set(sources.listpackElements),
  21: stream(3),
};

const OF: Readonly<Record<RdbMagic, Readonly<Record<number, Decoder>>>> = {
  REDIS: {
    ...COMMON,
    22: hash(sources.redisTimedFieldsOfCandidate),
    23: hash(sources.redisTimedListpackFieldsOfCandidate),
    24: hash(sources.redisTimedFields),
    25: hash(sources.redisTimedListpackFields),
  },
  VALKEY: { ...COMMON, 22: hash(sources.valkeyTimedFields) },
};

/** Whether values of the type can be decoded here: all that the walker knows but those of modules. */
export const isDecodable = (rdbType: number, magic: RdbMagic): boolean => OF[magic][rdbType] !== undefined;

/**
 * Opens a value: its bytes as they stand in the RDB (or in a DUMP payload) behind type and key. Elements come one by one, most of them as views of
 * `value`, which must not be changed meanwhile; packed parts are expanded one at a time. Whatever the bytes are, memory stays within what they
 * really hold: the value, the part that is being read, and for streams 8 bytes per pending entry.
 *
 * Fails with CORRUPT (`details.offset`, from `offset` on), at once or while the value is read, and with UNSUPPORTED_FORMAT for modules and
 * unknown types.
 *
 * @param offset where the value stands in its file, for errors
 */
export const decodeValue = (rdbType: number, magic: RdbMagic, value: Uint8Array, offset = 0): DecodedValue => {
  const decoder = OF[magic][rdbType];
  if (decoder === undefined) throw rdbError('UNSUPPORTED_FORMAT', `values of type ${rdbType} cannot be taken apart`, offset);
  return decoder(new ValueReader(value, offset));
};

/** Name of the module data type (nine characters) whose value this is (RDB type 7). Fails with CORRUPT. */
export const moduleTypeOf = (value: Uint8Array, offset = 0): string => {
  const id = new ValueReader(value, offset).wideLength();
  return moduleName(Number(id >> 32n), Number(id & 0xffff_ffffn));
};
