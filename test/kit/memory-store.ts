import { DomainError } from '../../server/domain/errors.js';
import { type ObjectWriter, type Store } from '../../server/engine/store/store.js';

/** Objects by their keys, to be changed at will. */
export type Objects = Map<string, Buffer>;

const TIME = new Date(0);

/**
 * A store in memory, for tests that change objects thousands of times. What it gives is lent as the contract says: overwritten once the next chunk
 * is asked for.
 * @param chunk bytes given at a time
 */
export const memoryStore = (objects: Objects = new Map(), chunk: () => number = () => 65_536): Store => {
  const store: Store = {
    kind: 'FILE_SYSTEM', id: 'memory', location: 'memory',
    create(key): Promise<ObjectWriter> {
      const parts: Buffer[] = [];
      return Promise.resolve({
        write: (part) => {
          parts.push(Buffer.from(part));
          return Promise.resolve();
        },
        commit: () => {
          if (objects.has(key)) return Promise.reject(new DomainError('CONFLICT', `${key} is taken.`));
          objects.set(key, Buffer.concat(parts));
          return Promise.resolve();
        },
        abort: () => Promise.resolve(),
      });
    },
    async *read(key, { offset = 0n, length } = {}) {
      const bytes = objects.get(key);
      if (bytes === undefined) throw new DomainError('NOT_FOUND', `There is no object ${key}.`);
      const end = length === undefined ? bytes.length : Math.min(bytes.length, Number(offset + length));
      for (let at = Number(offset); at < end; ) {
        const lent = Buffer.from(bytes.subarray(at, Math.min(end, at + chunk())));
        at += lent.length;
        yield lent;
        lent.fill(0xee);
      }
    },
    stat: (key) => Promise.resolve(objects.has(key) ? { key, size: BigInt(objects.get(key)?.length ?? 0), modifiedAt: TIME } : null),
    remove: (key) => {
      objects.delete(key);
      return Promise.resolve();
    },
    async *list(prefix) {
      for (const key of [...objects.keys()].filter((one) => one.startsWith(prefix)).sort()) yield { key, size: BigInt(objects.get(key)?.length ?? 0), modifiedAt: TIME };
    },
    check: () => Promise.resolve({ writable: true, freeBytes: null, problem: null }),
    sweep: () => Promise.resolve([]),
    owner: () => Promise.resolve(null),
    claim: () => Promise.resolve(null),
    close: () => Promise.resolve(),
  };
  return store;
};
