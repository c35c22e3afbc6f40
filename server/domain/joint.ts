export type Jointly = <T>(key: string, read: () => Promise<T>) => Promise<T>;

/**
 * Shares a reading among all who ask for the same before it begins: thousands that come back at once read once or twice. Nobody is given what was
 * read, or was being read, before it asked.
 */
export const createJoint = (): Jointly => {
  const running = new Map<string, Promise<unknown>>();
  const next = new Map<string, Promise<unknown>>();

  const begin = <T>(key: string, read: () => Promise<T>): Promise<T> => {
    const reading = read().finally(() => {
      if (running.get(key) === reading) running.delete(key);
    });
    running.set(key, reading);
    return reading;
  };

  return <T>(key: string, read: () => Promise<T>): Promise<T> => {
    const waiting = next.get(key);
    // Whoever uses a key asks for the same by it.
    if (waiting) return waiting as Promise<T>;
    const before = running.get(key);
    if (!before) return begin(key, read);
    const after = before.then(() => undefined, () => undefined).then(() => {
      next.delete(key);
      return begin(key, read);
    });
    next.set(key, after);
    return after;
  };
};
