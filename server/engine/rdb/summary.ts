import { type DatabaseCount, type Integrity, type KeyType, type TypeCount } from '../../domain/backup.js';
import { type FunctionApi } from './functions.js';

/** The word an RDB file begins with. Valkey writes its own from version 9 (RDB 80) on. */
export type RdbMagic = 'REDIS' | 'VALKEY';

/** The first nine bytes: that word and the version. */
export interface RdbHeader {
  magic: RdbMagic;
  version: number;
}

/** A type or opcode this reader does not know, where the walk ended. */
export interface UnknownRecord {
  kind: 'TYPE' | 'OPCODE';
  /** The byte that was met. */
  code: number;
  /** Where it stands, in bytes from the start of the file. */
  offset: bigint;
}

/** What a whole, undamaged RDB file holds. Counts end where the walk ended (`unknown`); bytes and checksum never do. */
export interface RdbSummary {
  magic: RdbMagic;
  /** Number in the header: 6 to 15 for Redis, 80 and up for Valkey 9. */
  version: number;
  /** Notes of the writing server (`redis-ver`, `valkey-ver`, `ctime`, ...): the first 64, long ones left out. */
  aux: Readonly<Record<string, string>>;
  /** Databases that hold keys, in rising order. */
  databases: DatabaseCount[];
  /** User-visible types that occur, in the order of `KEY_TYPES`. */
  types: TypeCount[];
  keys: bigint;
  expiring: bigint;
  /** Function libraries (Redis 7.0 and later). */
  functions: number;
  /** What those libraries need of a server. Absent: there are none, or the backup is from before anybody looked. */
  functionApi?: FunctionApi | undefined;
  /** RDB type bytes that occur, rising. */
  rdbTypes: number[];
  /** RDB opcodes that occur, EOF left out, rising. */
  opcodes: number[];
  /** Module data types with values or auxiliary data in the file, by their nine-character names, sorted. */
  modules: string[];
  /** Whether a hash has fields with an expiry of their own (Redis 7.4, Valkey 9). */
  hasHashFieldTtl: boolean;
  /** Length of the file, checksum included. */
  bytes: bigint;
  /** ABSENT: the server was told not to write one (`rdbchecksum no`). */
  checksum: 'VALID' | 'ABSENT';
  integrity: Integrity;
  unknown: UnknownRecord | null;
}

/** One key as the walk passed it. Valid only during the call: `key` and `name` are reused. */
export interface RdbKeyEvent {
  database: number;
  type: KeyType;
  /** RDB type byte, which also tells the encoding. */
  rdbType: number;
  /** Unix milliseconds, or null. Files may hold keys that have expired. */
  expiresAtMs: number | null;
  /** The name's bytes, or null when there are more of them than the reader's `maxNameBytes`. */
  key: Uint8Array | null;
  /** The same, or as much of the beginning as could be kept. */
  name: Uint8Array;
  /** Bytes of the whole name. */
  nameBytes: number;
  /** Where the record's type byte stands, from the start of the file; expiry and idle notes stand before it. */
  offset: number;
  /** Bytes from the type byte to the end of the value, as stored. */
  bytes: number;
  /**
   * Elements, fields, members or entries, as lengths in the file and heads of packed values say. Null for strings and modules, and where such a head has
   * no room for so many.
   */
  elements: number | null;
}
