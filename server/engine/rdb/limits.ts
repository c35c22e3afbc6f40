/**
 * Bounds of the reader. Redis keeps values below 512 MiB (`proto-max-bulk-len`) and allows more by configuration; 2^40 is
 * far above what any server can hold in one string or collection, and far below where arithmetic in doubles loses bytes.
 */
export const MAX_LENGTH = 2 ** 40;

/** LZF turns three bytes into at most 264. */
export const MAX_LZF_EXPANSION = 88;

/** Database numbers are C ints. */
export const MAX_DATABASE = 2 ** 31 - 1;

/** Distinct databases and module types a summary keeps count of; servers have 16 databases unless configured otherwise. */
export const MAX_DATABASES = 65_536;
export const MAX_MODULES = 1_024;

/** Notes of the writing server that a summary keeps, and the longest names and values among them, in bytes. */
export const MAX_AUX = 64;
export const MAX_AUX_NAME = 64;
export const MAX_AUX_VALUE = 512;

/** Longest name of a key that is handed to `onKey` whole, unless its reader says otherwise, in bytes. */
export const DEFAULT_MAX_NAME_BYTES = 1_024;
