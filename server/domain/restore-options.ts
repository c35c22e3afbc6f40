import { DomainError } from './errors.js';
import { checkSelection, selectsAll, type KeySelection } from './key-selection.js';

/**
 * What becomes of expiries. An expiry is judged by the target's clock.
 * - KEEP: they stay the instants they were. A key that has expired is what its server would show of it: nothing. So it is not written, and under
 *   REPLACE what the target has by its name goes.
 * - SHIFT: what was left of each key's life when the backup was taken is left of it now. Keys that had expired by then are left out.
 * - PERSIST: nothing expires any more, and keys that have expired come back. Fields of hashes that have expired come back where they are in the backup.
 * - DROP_EXPIRED: as KEEP, but keys that have expired are treated as if they were not in the backup: what the target has by their names stays.
 */
export const TTL_RULES = ['KEEP', 'SHIFT', 'PERSIST', 'DROP_EXPIRED'] as const;
export type TtlRule = (typeof TTL_RULES)[number];

/**
 * What becomes of a key that the target has already, and of a second key of the backup that comes out under the same name: REPLACE takes the
 * backup's (the last one), SKIP leaves what is there, FAIL ends the restore before anything is written.
 */
export const CONFLICT_RULES = ['REPLACE', 'SKIP', 'FAIL'] as const;
export type ConflictRule = (typeof CONFLICT_RULES)[number];

/**
 * What is emptied before the keys are written.
 * - WRITTEN: the databases that are to be written. Only where all of their keys are selected: to empty a database for some of its keys is hardly ever
 *   meant. Functions stay.
 * - EVERYTHING: all databases and functions, so that the target ends with what is restored and nothing else, as over the replication link.
 */
export const FLUSH_RULES = ['NOTHING', 'WRITTEN', 'EVERYTHING'] as const;
export type FlushRule = (typeof FLUSH_RULES)[number];

/** Puts the keys of one database into another. */
export interface DatabaseMapping {
  from: number;
  to: number;
}

export interface KeyPrefix {
  /** What a name has to begin with to be changed, and loses: a name that does not stays as it is. Null: every name gets the new prefix. */
  replace: string | null;
  /** The new prefix. May be empty where one is replaced. */
  by: string;
}

/** How a backup is restored key by key. */
export interface RestoreOptions {
  /** Of the backup's keys, by the names, types and databases they have there. */
  selection: KeySelection;
  /** Databases that are not named keep their numbers. */
  databaseMap: readonly DatabaseMapping[];
  keyPrefix: KeyPrefix | null;
  ttl: TtlRule;
  onConflict: ConflictRule;
  flush: FlushRule;
  /** Writes with ordinary commands alone, and never a RESTORE: for users who may not run it. */
  commandsOnly: boolean;
  /** Names of what may be left behind. */
  acceptedLosses: readonly string[];
}

export const DEFAULT_RESTORE_OPTIONS: RestoreOptions = {
  selection: {}, databaseMap: [], keyPrefix: null, ttl: 'KEEP', onConflict: 'REPLACE', flush: 'NOTHING', commandsOnly: false, acceptedLosses: [],
};

const MAX_DATABASE = 2 ** 31 - 1;
const MAX_MAPPINGS = 1_000;
/** Bytes of a prefix. */
export const MAX_PREFIX_BYTES = 1_024;

/**
 * BAD_INPUT, with the path of the field, for options that are out of bounds or contradict each other.
 * @param field path of the options in the mutation's input
 * @param losses every name that a loss can have
 */
export const checkRestoreOptions = (options: RestoreOptions, field: readonly string[], losses: readonly string[]): void => {
  const refuse = (path: readonly string[], message: string): DomainError => new DomainError('BAD_INPUT', message, { field: [...field, ...path] });
  const { selection, databaseMap, keyPrefix, ttl, onConflict, flush, acceptedLosses } = options;
  checkSelection(selection, [...field, 'keys']);
  if (!TTL_RULES.includes(ttl)) throw refuse(['ttl'], `"ttl" is one of ${TTL_RULES.join(', ')}.`);
  if (!CONFLICT_RULES.includes(onConflict)) throw refuse(['onConflict'], `"onConflict" is one of ${CONFLICT_RULES.join(', ')}.`);
  if (databaseMap.length > MAX_MAPPINGS) throw refuse(['databaseMap'], `At most ${MAX_MAPPINGS} databases can be mapped.`);
  const seen = new Set<number>();
  for (const [index, mapping] of databaseMap.entries()) {
    for (const end of ['from', 'to'] as const) {
      const number = mapping[end];
      if (!Number.isInteger(number) || number < 0 || number > MAX_DATABASE) throw refuse(['databaseMap', String(index), end], `Databases have numbers from 0 to ${MAX_DATABASE}.`);
    }
    if (seen.has(mapping.from)) throw refuse(['databaseMap', String(index), 'from'], `Database ${mapping.from} is mapped twice.`);
    seen.add(mapping.from);
    if (selection.databases != null && !selection.databases.includes(mapping.from)) {
      throw refuse(['databaseMap', String(index), 'from'], `Database ${mapping.from} is mapped, but not selected.`);
    }
  }
  if (keyPrefix !== null) {
    for (const [name, prefix] of Object.entries({ replace: keyPrefix.replace, by: keyPrefix.by })) {
      if (prefix !== null && Buffer.byteLength(prefix) > MAX_PREFIX_BYTES) throw refuse(['keyPrefix', name], `A prefix has at most ${MAX_PREFIX_BYTES} bytes.`);
    }
    if (keyPrefix.replace === '') throw refuse(['keyPrefix', 'replace'], 'Leave "replace" out to give every key a prefix.');
    if (keyPrefix.replace === null && keyPrefix.by === '') throw refuse(['keyPrefix', 'by'], 'An empty prefix changes nothing.');
    if (keyPrefix.replace === keyPrefix.by) throw refuse(['keyPrefix', 'by'], 'The new prefix is the old one.');
  }
  if (flush === 'WRITTEN' && (selection.patterns != null || selection.types != null)) {
    throw refuse(['flushFirst'], 'Databases are emptied first only where all of their keys are restored: leave out patterns and types, or flushFirst.');
  }
  if (flush === 'EVERYTHING' && !selectsAll(selection)) throw refuse(['flushFirst'], 'A target is emptied first only where all of the backup is restored.');
  for (const [index, name] of acceptedLosses.entries()) {
    if (!losses.includes(name)) throw refuse(['acceptedLosses', String(index)], `"${name}" is no loss: they are ${losses.join(', ')}.`);
  }
};

/** The number that each database gets. */
export const databaseMapOf = ({ databaseMap }: Pick<RestoreOptions, 'databaseMap'>): ((database: number) => number) => {
  const numbers = new Map(databaseMap.map(({ from, to }) => [from, to]));
  return (database) => numbers.get(database) ?? database;
};

/** Two databases of the backup that come out as one, of those given; null when there are none. */
export const mergedDatabases = (options: Pick<RestoreOptions, 'databaseMap'>, databases: readonly number[]): { databases: [number, number]; into: number } | null => {
  const mapped = databaseMapOf(options);
  const origin = new Map<number, number>();
  for (const database of databases) {
    const into = mapped(database);
    const other = origin.get(into);
    if (other !== undefined) return { databases: [other, database], into };
    origin.set(into, database);
  }
  return null;
};

/** A key's new name, as prefix and the part of the old name that stays: `bytes[from, to)`. */
export interface RenamedKey {
  prefix: Uint8Array;
  from: number;
}

const NO_PREFIX = new Uint8Array(0);

/** How names are changed; null where they are not. What it returns is reused. */
export const compileRename = ({ keyPrefix }: Pick<RestoreOptions, 'keyPrefix'>): ((bytes: Uint8Array, from: number, to: number) => RenamedKey) | null => {
  if (keyPrefix === null) return null;
  const old = Buffer.from(keyPrefix.replace ?? '', 'utf8');
  const by = Buffer.from(keyPrefix.by, 'utf8');
  const renamed: RenamedKey = { prefix: NO_PREFIX, from: 0 };
  return (bytes, from, to) => {
    let fits = to - from >= old.length;
    for (let at = 0; fits && at < old.length; at++) fits = bytes[from + at] === old[at];
    renamed.prefix = fits ? by : NO_PREFIX;
    renamed.from = fits ? from + old.length : from;
    return renamed;
  };
};
