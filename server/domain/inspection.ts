import { type KeyType } from './backup.js';
import { DomainError } from './errors.js';
import { type KeyName } from './key-name.js';

/** Bounds of what an inspection keeps, whatever the backup holds. */
export const INSPECTION_LIMITS = {
  /** The first of the selected keys, in the order of the RDB file. */
  listedKeys: 10_000,
  largestKeys: 100,
  prefixes: 200,
  databases: 1_000,
  /** Bytes of a name that are kept. */
  nameBytes: 256,
  /** Delimiters are looked for in so many bytes of a name. */
  prefixBytes: 128,
  /** Longest name that patterns are compared with, in bytes. */
  comparedNameBytes: 1_048_576,
} as const;

/** A selection of keys as callers write it and as it is kept; null is no condition. */
export interface KeyFilter {
  patterns: readonly string[] | null;
  types: readonly KeyType[] | null;
  databases: readonly number[] | null;
}

/** What is looked for in a backup. */
export interface InspectionRequest {
  filter: KeyFilter;
  /** What ends a prefix. */
  delimiter: string;
  /** A prefix ends with the so manyth delimiter of a name, or with its last one where there are fewer. */
  prefixDepth: number;
}

export const DEFAULT_DELIMITER = ':';
const MAX_DELIMITER_BYTES = 8;
const MAX_PREFIX_DEPTH = 8;

/** BAD_INPUT for a delimiter or depth that is out of bounds. */
export const checkPrefixing = ({ delimiter, prefixDepth }: Pick<InspectionRequest, 'delimiter' | 'prefixDepth'>): void => {
  const bytes = Buffer.byteLength(delimiter);
  if (bytes < 1 || bytes > MAX_DELIMITER_BYTES) throw new DomainError('BAD_INPUT', `A delimiter has 1 to ${MAX_DELIMITER_BYTES} bytes.`, { field: ['delimiter'] });
  if (prefixDepth < 1 || prefixDepth > MAX_PREFIX_DEPTH) throw new DomainError('BAD_INPUT', `"prefixDepth" must be from 1 to ${MAX_PREFIX_DEPTH}.`, { field: ['prefixDepth'] });
};

/** Plain JSON, all of it: counts stay far below 2^53. `bytes`: in the RDB file, from a key's type to the end of its value. */
export interface KeyAmount {
  keys: number;
  bytes: number;
}

export interface InspectedKey extends KeyName {
  /** Whether `name` is only the beginning. */
  nameTruncated: boolean;
  /** Of the whole name. */
  nameBytes: number;
  type: KeyType;
  database: number;
  /** Unix milliseconds; null: it does not expire. */
  expiresAtMs: number | null;
  bytes: number;
  /** Elements, fields, members or entries; null for strings and modules, and where the file's heads do not say. */
  elements: number | null;
  /** Where it stands in the RDB file: its place in every list. */
  offset: number;
}

export interface PrefixAmount extends KeyAmount {
  /** With its delimiter; empty for names without one. Shown as names are. */
  prefix: string;
  binary: boolean;
  /** false: there were too many prefixes to keep count of all, and this one has at least so much; what it lacks is among the others. */
  exact: boolean;
}

export interface InspectionSummary {
  /** When the backup was begun, Unix milliseconds: what is left of a key's life is counted from there. */
  takenAtMs: number;
  /** false: from some point on the file's content is unknown; everything here is about what stands before. */
  complete: boolean;
  selected: KeyAmount & {
    expiring: number;
    types: readonly (KeyAmount & { type: KeyType })[];
    /** In rising order; of more than are kept, those with most bytes. */
    databases: readonly (KeyAmount & { database: number; expiring: number })[];
  };
  /** Keys whose names are too long to be compared with patterns; none of them is selected. */
  uncompared: number;
  /** Those with most bytes, most bytes first. */
  prefixes: readonly PrefixAmount[];
  /** All that the listed prefixes do not have. */
  otherPrefixes: KeyAmount;
  prefixesTruncated: boolean;
  /** Most bytes first; of equals the one that stands first. */
  largest: readonly InspectedKey[];
  /** How many are listed. */
  listed: number;
  /** Whether more are selected than are listed. */
  listedTruncated: boolean;
}

/** @property keys the listed ones, in the order of the file */
export interface InspectionResult extends InspectionSummary {
  keys: readonly InspectedKey[];
}
