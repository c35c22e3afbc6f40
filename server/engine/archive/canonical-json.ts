export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/**
 * One spelling per value, so that digests can be taken over JSON: RFC 8785 restricted to integers within ±(2^53 - 1). Members sorted by UTF-16
 * code units, no white space. Throws a RangeError for other numbers: larger counts travel as decimal strings.
 */
export const canonicalJson = (value: Json): string => {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) throw new RangeError(`${String(value)} is no safe integer`);
  if (value === null || typeof value !== 'object') return Object.is(value, -0) ? '0' : JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
};

const isList = (value: readonly Json[] | { readonly [name: string]: Json }): value is readonly Json[] => Array.isArray(value);
