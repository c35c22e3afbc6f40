import { type Engine } from '../../domain/backup.js';
import { type RdbMagic } from './summary.js';

/** First version of each engine that can do something; null: no version can. */
export type Since = Readonly<Record<Engine, string | null>>;

export interface FormatRow {
  engine: Engine;
  /** First server version that writes (and therefore loads) this format. */
  since: string;
  magic: RdbMagic;
  version: number;
  /** MEASURED against that server, or READ in its source or in the engine's own tools. */
  source: 'MEASURED' | 'READ';
}

/**
 * Which RDB version each server writes. A server loads every version of its own family up to the one it writes, and
 * Valkey loads Redis' up to 11, the last before the fork; 12 to 79 are foreign to it.
 *
 * MEASURED: the design's matrix of real servers (Redis 2.8 to 8.0, Valkey 7.2 to 9.1), whose patch releases never changed
 * it. READ: rdb.h of Redis 2.4 and 2.6; librdb's version table (8.2 and 8.4 still write 12, 8.6 writes 13) and its release
 * notes (14 is Redis 8.8); RDB_VERSION_MAP of Valkey's rdb.h (81 from 9.2). Newest first within an engine.
 */
export const FORMATS: readonly FormatRow[] = [
  { engine: 'REDIS', since: '8.8', magic: 'REDIS', version: 14, source: 'READ' },
  { engine: 'REDIS', since: '8.6', magic: 'REDIS', version: 13, source: 'READ' },
  { engine: 'REDIS', since: '7.4', magic: 'REDIS', version: 12, source: 'MEASURED' },
  { engine: 'REDIS', since: '7.2', magic: 'REDIS', version: 11, source: 'MEASURED' },
  { engine: 'REDIS', since: '7.0', magic: 'REDIS', version: 10, source: 'MEASURED' },
  { engine: 'REDIS', since: '5.0', magic: 'REDIS', version: 9, source: 'MEASURED' },
  { engine: 'REDIS', since: '4.0', magic: 'REDIS', version: 8, source: 'MEASURED' },
  { engine: 'REDIS', since: '3.2', magic: 'REDIS', version: 7, source: 'MEASURED' },
  { engine: 'REDIS', since: '2.6', magic: 'REDIS', version: 6, source: 'READ' },
  { engine: 'REDIS', since: '2.4', magic: 'REDIS', version: 5, source: 'READ' },
  { engine: 'VALKEY', since: '9.2', magic: 'VALKEY', version: 81, source: 'READ' },
  { engine: 'VALKEY', since: '9.0', magic: 'VALKEY', version: 80, source: 'MEASURED' },
  { engine: 'VALKEY', since: '7.2', magic: 'REDIS', version: 11, source: 'MEASURED' },
];

/** Last Redis format before the fork: the one that both families load. */
export const LAST_COMMON_VERSION = 11;

const sinceRedis = (redis: string, valkey: string | null = '7.2'): Since => ({ REDIS: redis, VALKEY: valkey });
const BASE = sinceRedis('2.4');
const HASH_FIELD_TTL = sinceRedis('7.4', null);

/**
 * First versions that load a type byte, for files with Redis' word. Mostly implied by the header; looked at all the same,
 * because a header can be rewritten and an engine can backport an opcode without a new number.
 */
export const TYPE_SINCE_REDIS: Readonly<Record<number, Since>> = {
  0: BASE, 1: BASE, 2: BASE, 3: BASE, 4: BASE,
  5: sinceRedis('4.0'), 7: sinceRedis('4.0'),
  9: BASE, 10: BASE, 11: BASE, 12: BASE, 13: sinceRedis('2.6'),
  14: sinceRedis('3.2'), 15: sinceRedis('5.0'),
  16: sinceRedis('7.0'), 17: sinceRedis('7.0'), 18: sinceRedis('7.0'), 19: sinceRedis('7.0'),
  20: sinceRedis('7.2'), 21: sinceRedis('7.2'),
  22: HASH_FIELD_TTL, 23: HASH_FIELD_TTL, 24: HASH_FIELD_TTL, 25: HASH_FIELD_TTL,
};

/** Types from 22 on in files with Valkey's word; below, the two engines mean the same. */
export const TYPE_SINCE_VALKEY: Readonly<Record<number, Since>> = {
  22: { REDIS: null, VALKEY: '9.0' },
};

export const OPCODE_SINCE_REDIS: Readonly<Record<number, Since>> = {
  243: sinceRedis('8.6', null),
  // Valkey writes its notes on slots as AUX fields. Those of Redis end a Valkey 8.0 and 8.1; 9.1 passes over them (both measured).
  244: sinceRedis('7.4', '9.1'),
  245: sinceRedis('7.0'),
  247: sinceRedis('5.0'), 248: sinceRedis('5.0'), 249: sinceRedis('5.0'),
  250: sinceRedis('3.2'), 251: sinceRedis('3.2'),
  252: sinceRedis('2.6'), 253: BASE, 254: BASE,
};

/**
 * Modules by the data types they register (nine characters): `MODULE LIST` names modules, an RDB file names types.
 * From the modules' own sources. Redis 8 lists its built-in ones under the same names.
 */
export const MODULE_OF_TYPE: readonly (readonly [type: RegExp, modules: readonly string[]])[] = [
  [/^(?:MBbloom--|MBbloomCF|CMSk-TYPE|TopK-TYPE|TDIS-TYPE)$/, ['bf']],
  [/^bloomfltr$/, ['bf']],
  [/^ReJSON-RL$/, ['ReJSON', 'json']],
  [/^TSDB-TYPE$/, ['timeseries']],
  [/^(?:ft_index0|ft_invidx|numericdx|trietype0|geometryi|ft_tagidx|scdtype00)$/, ['search']],
  [/^vectorset$/, ['vectorset']],
  [/^graph(?:data|meta)/, ['graph']],
];
