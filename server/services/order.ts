/** Puts rows into the order of the ids they were asked by; null where there is none. */
export const inOrder = <T>(keys: readonly string[], rows: readonly T[], keyOf: (row: T) => string): (T | null)[] => {
  const byKey = new Map(rows.map((row) => [keyOf(row), row]));
  return keys.map((key) => byKey.get(key) ?? null);
};
