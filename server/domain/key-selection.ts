import { KEY_TYPES, type KeyType } from './backup.js';
import { DomainError } from './errors.js';
import { compileGlob } from './key-glob.js';

/** Some keys of a backup or server. Conditions given together must all hold; what is not given, or null, is no condition. */
export interface KeySelection {
  /** Globs as `KEYS` takes them, compared with the whole name; one of them must match. Texts stand for their UTF-8 bytes. */
  patterns?: readonly (string | Uint8Array)[] | null | undefined;
  types?: readonly KeyType[] | null | undefined;
  databases?: readonly number[] | null | undefined;
}

/** Bounds of what one key is compared with. */
export const MAX_PATTERNS = 100;
/** Bytes of all patterns together. */
export const MAX_PATTERN_BYTES = 4_096;
const MAX_DATABASES = 1_000;
const MAX_DATABASE = 2 ** 31 - 1;

const bytesOf = (pattern: string | Uint8Array): Uint8Array => (typeof pattern === 'string' ? Buffer.from(pattern, 'utf8') : pattern);

/**
 * BAD_INPUT for a selection that is out of bounds, or that can select nothing: an empty list would be that, and is more likely a mistake.
 * @param field path into the mutation's input
 */
export const checkSelection = ({ patterns, types, databases }: KeySelection, field: readonly string[]): void => {
  const refuse = (name: string, message: string): DomainError => new DomainError('BAD_INPUT', message, { field: [...field, name] });
  for (const [name, list] of Object.entries({ patterns, types, databases })) {
    if (list?.length === 0) throw refuse(name, `"${name}" is an empty list, which no key fits. Leave it out where it is to be no condition.`);
  }
  if (patterns != null) {
    const bytes = patterns.reduce((sum, pattern) => sum + bytesOf(pattern).length, 0);
    if (patterns.length > MAX_PATTERNS || bytes > MAX_PATTERN_BYTES) throw refuse('patterns', `At most ${MAX_PATTERNS} patterns of together ${MAX_PATTERN_BYTES} bytes.`);
  }
  if (databases != null && (databases.length > MAX_DATABASES || databases.some((number) => !Number.isInteger(number) || number < 0 || number > MAX_DATABASE))) {
    throw refuse('databases', `At most ${MAX_DATABASES} numbers of databases, from 0 to ${MAX_DATABASE}.`);
  }
};

/** Whether it selects every key there is. */
export const selectsAll = ({ patterns, types, databases }: KeySelection): boolean => patterns == null && types == null && databases == null;

/** What says of a key, named by `bytes[from, to)` (all of them by default), whether it is selected. Not to be called by two at once. */
export type KeyTest = (database: number, type: KeyType, bytes: Uint8Array, from?: number, to?: number) => boolean;

/** @param selection that `checkSelection` has passed */
export const compileSelection = ({ patterns, types, databases }: KeySelection): KeyTest => {
  const globs = patterns?.map((pattern) => compileGlob(bytesOf(pattern)));
  const wantedTypes = new Set(types ?? KEY_TYPES);
  const wantedDatabases = databases == null ? null : new Set(databases);
  return (database, type, bytes, from = 0, to = bytes.length) => {
    if ((wantedDatabases !== null && !wantedDatabases.has(database)) || !wantedTypes.has(type)) return false;
    if (globs === undefined) return true;
    for (const matches of globs) if (matches(bytes, from, to)) return true;
    return false;
  };
};
