import { type Engine } from '../../server/domain/backup.js';
import { compareVersions } from '../kit/redis-binary.js';

/** Header of an RDB file: its word and its number. */
export type Header = `${'REDIS' | 'VALKEY'} ${number}`;

interface Series {
  engine: Engine;
  /** Major and minor version; patch releases have never changed the format. */
  series: string;
  writes: Header;
  /** Highest number it loads of files that begin with REDIS. */
  redisUpTo: number;
  /** Highest number it loads of files that begin with VALKEY; null: refuses the word itself. */
  valkeyUpTo: number | null;
}

/**
 * What servers write and load, written down a second time and by hand, so that a slip in the service's own table shows.
 * Sources: `RDB_VERSION` in rdb.h and the header checks in rdb.c (rdbLoadRio…) of each release; for 6.0, 7.0, 8.0 and Valkey 8.0, 8.1 and 9.1
 * the servers themselves, whom the matrix asks again on every run. Oldest first within an engine.
 */
const SERIES: readonly Series[] = [
  { engine: 'REDIS', series: '2.8', writes: 'REDIS 6', redisUpTo: 6, valkeyUpTo: null },
  { engine: 'REDIS', series: '3.0', writes: 'REDIS 6', redisUpTo: 6, valkeyUpTo: null },
  { engine: 'REDIS', series: '3.2', writes: 'REDIS 7', redisUpTo: 7, valkeyUpTo: null },
  { engine: 'REDIS', series: '4.0', writes: 'REDIS 8', redisUpTo: 8, valkeyUpTo: null },
  { engine: 'REDIS', series: '5.0', writes: 'REDIS 9', redisUpTo: 9, valkeyUpTo: null },
  { engine: 'REDIS', series: '6.0', writes: 'REDIS 9', redisUpTo: 9, valkeyUpTo: null },
  { engine: 'REDIS', series: '6.2', writes: 'REDIS 9', redisUpTo: 9, valkeyUpTo: null },
  { engine: 'REDIS', series: '7.0', writes: 'REDIS 10', redisUpTo: 10, valkeyUpTo: null },
  { engine: 'REDIS', series: '7.2', writes: 'REDIS 11', redisUpTo: 11, valkeyUpTo: null },
  { engine: 'REDIS', series: '7.4', writes: 'REDIS 12', redisUpTo: 12, valkeyUpTo: null },
  { engine: 'REDIS', series: '8.0', writes: 'REDIS 12', redisUpTo: 12, valkeyUpTo: null },
  // Forked from Redis 7.2: 12 to 79 are foreign to it.
  { engine: 'VALKEY', series: '7.2', writes: 'REDIS 11', redisUpTo: 11, valkeyUpTo: null },
  { engine: 'VALKEY', series: '8.0', writes: 'REDIS 11', redisUpTo: 11, valkeyUpTo: null },
  { engine: 'VALKEY', series: '8.1', writes: 'REDIS 11', redisUpTo: 11, valkeyUpTo: null },
  { engine: 'VALKEY', series: '9.0', writes: 'VALKEY 80', redisUpTo: 11, valkeyUpTo: 80 },
  { engine: 'VALKEY', series: '9.1', writes: 'VALKEY 80', redisUpTo: 11, valkeyUpTo: 80 },
];

export interface Server {
  engine: Engine;
  version: string;
}

const findRow = ({ engine, version }: Server): Series | undefined => {
  const series = version.split('.').slice(0, 2).join('.');
  return SERIES.find((one) => one.engine === engine && one.series === series);
};

/** Whether the table says what to expect of a server. A package archive may move to a version that nobody has looked at yet. */
export const isKnown = (server: Server): boolean => findRow(server) !== undefined;

const rowOf = (server: Server): Series => {
  const { engine, version } = server;
  const series = version.split('.').slice(0, 2).join('.');
  const row = findRow(server);
  if (row === undefined) throw new Error(`test/versions/expectations.ts has no row for ${engine} ${series}: look into its rdb.h, add one, and compare the service's format table`);
  return row;
};

const loads = (row: Series, header: Header): boolean => {
  const [word, number] = header.split(' ');
  return Number(number) <= (word === 'VALKEY' ? (row.valkeyUpTo ?? 0) : row.redisUpTo);
};

export const writtenHeader = (server: Server): Header => rowOf(server).writes;

export type Expected = 'LOADS' | 'VERSION_TOO_OLD' | 'UNSUPPORTED_FORMAT';

/** What is to happen when a backup of `source` meets `target`: too old when a later server of the target's engine would load it. */
export const expected = (source: Server, target: Server): Expected => {
  const header = writtenHeader(source);
  if (loads(rowOf(target), header)) return 'LOADS';
  return SERIES.some((row) => row.engine === target.engine && loads(row, header)) ? 'VERSION_TOO_OLD' : 'UNSUPPORTED_FORMAT';
};

/** Both families have gone on from what Redis 7.2 had. */
const since72 = ({ engine, version }: Server): boolean => engine === 'VALKEY' || compareVersions(version, '7.2.0') >= 0;

/** The same for a backup that holds nothing that came later than Redis 7.2: from there on it goes under the header of that time. */
export const expectedOfCommon = (source: Server, target: Server): Expected | 'REWRITTEN' => {
  const itself = expected(source, target);
  return itself !== 'LOADS' && since72(target) ? 'REWRITTEN' : itself;
};

/** Notes on slots as nodes of Redis clusters write them: Redis 7.4, Valkey 9.1 (rdb.h; 8.1 does not have the opcode). */
export const knowsSlotNotes = ({ engine, version }: Server): boolean => compareVersions(version, engine === 'VALKEY' ? '9.1.0' : '7.4.0') >= 0;

/** Streams have been stored in three ways. */
const streamLayout = (server: Server): number => {
  if (since72(server)) return 3;
  return compareVersions(server.version, '7.0.0') >= 0 ? 2 : compareVersions(server.version, '5.0.0') >= 0 ? 1 : 0;
};

/** Function libraries: Redis 7.0. */
export const hasFunctions = (server: Server): boolean => streamLayout(server) >= 2;

/** What cannot be brought to `target` key by key, of a backup of `source` that has everything. */
export const expectedLosses = (source: Server, target: Server): string[] => [
  ...(expiresFields(source) && !expiresFields(target) ? ['FIELD_TTL'] : []),
  ...(hasFunctions(source) && !hasFunctions(target) ? ['FUNCTIONS'] : []),
  ...(streamLayout(target) === 0 ? ['STREAMS'] : streamLayout(source) > streamLayout(target) ? ['STREAM_METADATA'] : []),
];

/** What `Backup.loadsOn` is to say of a plain backup of `source`: the first series of each engine, its own engine first. */
export const expectedLoadsOn = (source: Server): { engine: Engine; minVersion: string; maxVersion: null }[] => {
  const other: Engine = source.engine === 'REDIS' ? 'VALKEY' : 'REDIS';
  return [source.engine, other].flatMap((engine) => {
    const first = SERIES.find((row) => row.engine === engine && loads(row, writtenHeader(source)));
    return first === undefined ? [] : [{ engine, minVersion: first.series, maxVersion: null }];
  });
};

/** Hash fields with an expiry of their own: Redis 7.4, Valkey 9.0. */
export const expiresFields = ({ engine, version }: Server): boolean => compareVersions(version, engine === 'VALKEY' ? '9.0.0' : '7.4.0') >= 0;

/** Servers that write doubles alike, such as scores in replies and in DEBUG DIGEST: 17 digits up to Redis 7.0, the shortest form from 7.2 on. */
export const writeDoublesAlike = (a: Server, b: Server): boolean => {
  const shortest = (server: Server): boolean => server.engine === 'VALKEY' || compareVersions(server.version, '7.2.0') >= 0;
  return shortest(a) === shortest(b);
};
