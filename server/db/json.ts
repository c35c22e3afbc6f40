/*
 * jsonb knows neither bigint nor Date. Both are kept as one-key objects, so that what comes out equals what went in:
 * 5n ↔ {"$n":"5"}, Date ↔ {"$d":"2026-01-01T00:00:00.000Z"}.
 */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export const toJson = (value: unknown): Json => {
  if (value === undefined || value === null) return null;
  if (typeof value === 'bigint') return { $n: value.toString() };
  if (value instanceof Date) return { $d: value.toISOString() };
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined).map(([key, inner]) => [key, toJson(inner)]));
  }
  // jsonb takes every character but this one; it comes in texts of foreign servers.
  if (typeof value === 'string') return value.replaceAll('\u0000', '\uFFFD');
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  throw new TypeError(`A ${typeof value} cannot be stored as JSON`);
};

const fromJson = (value: Json): unknown => {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value['$n'] === 'string') return BigInt(value['$n']);
  if (typeof value['$d'] === 'string') return new Date(value['$d']);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fromJson(inner)]));
};

/** TypeORM transformer for a jsonb column that holds bigints and dates. */
export const richJson = { to: toJson, from: (value: Json): unknown => fromJson(value) };

export const decodeJson = fromJson as <T>(value: T) => unknown;

/** TypeORM transformer for a bigint column; the driver hands out strings. */
export const bigintColumn = {
  to: (value: bigint | null | undefined): string | null | undefined => (typeof value === 'bigint' ? value.toString() : value),
  from: (value: string | null): bigint | null => (value === null ? null : BigInt(value)),
};
