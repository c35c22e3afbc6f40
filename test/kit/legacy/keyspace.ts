import { createHash } from 'node:crypto';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { RdbBuilder, stringBytes } from '../rdb-builder.js';

interface StoredKey {
  database: number;
  key: Buffer;
  /** Type byte, key and value as an RDB file has them. */
  record: Buffer;
  expiresAtMs: number | null;
}

const nameOf = (database: number, key: Buffer): string => `${String(database)}:${key.toString('hex')}`;

/** A plain string of an RDB file: its bytes and where it ends. Integers and compressed strings are not told. */
const plainString = (bytes: Buffer, at: number): { value: Buffer; end: number } | undefined => {
  const first = bytes[at] ?? 0;
  const [length, start] = first < 0x40 ? [first, at + 1] : first < 0x80 ? [bytes.readUInt16BE(at) & 0x3fff, at + 2] : first === 0x80 ? [bytes.readUInt32BE(at + 1), at + 5] : [-1, at];
  return length < 0 ? undefined : { value: bytes.subarray(start, start + length), end: start + length };
};

/** Keys with their values as the records of an RDB file: all that a server needs in order to load, keep and save data. */
export class Keyspace {
  private readonly stored = new Map<string, StoredKey>();

  /** Fails as RdbReader does. Holds expired keys too, as a replica does. */
  static fromRdb(rdb: Uint8Array): Keyspace {
    const space = new Keyspace();
    const bytes = Buffer.from(rdb);
    const found: { database: number; key: Buffer; from: number; length: number; expiresAtMs: number | null }[] = [];
    const reader = new RdbReader({
      onKey: ({ database, key, offset, bytes: length, expiresAtMs }) => {
        if (key === null) throw new Error('A key of more than 1,024 bytes is more than this server keeps');
        found.push({ database, key: Buffer.from(key), from: offset, length, expiresAtMs });
      },
    });
    reader.push(bytes);
    reader.finish();
    for (const { database, key, from, length, expiresAtMs } of found) {
      space.put({ database, key, record: bytes.subarray(from, from + length), expiresAtMs });
    }
    return space;
  }

  set(database: number, key: Buffer, value: Buffer, expiresAtMs: number | null = null): void {
    this.put({ database, key, record: Buffer.concat([Buffer.from([0]), stringBytes(key), stringBytes(value)]), expiresAtMs });
  }

  delete(database: number, key: Buffer): boolean {
    return this.stored.delete(nameOf(database, key));
  }

  /** The value of a string that is stored plainly; null for every other key. */
  get(database: number, key: Buffer): Buffer | null {
    const record = this.stored.get(nameOf(database, key))?.record;
    if (record?.[0] !== 0) return null;
    const name = plainString(record, 1);
    return (name && plainString(record, name.end)?.value) ?? null;
  }

  clear(): void {
    this.stored.clear();
  }

  /** What a master does by and by: servers that become one drop what has expired. */
  expire(): void {
    for (const [name, { expiresAtMs }] of this.stored) if (expiresAtMs !== null && expiresAtMs <= Date.now()) this.stored.delete(name);
  }

  /** Databases with keys, in rising order. */
  counts(): { database: number; keys: number; expires: number }[] {
    const found = new Map<number, { database: number; keys: number; expires: number }>();
    for (const { database, expiresAtMs } of this.stored.values()) {
      const count = found.get(database) ?? { database, keys: 0, expires: 0 };
      found.set(database, { database, keys: count.keys + 1, expires: count.expires + (expiresAtMs === null ? 0 : 1) });
    }
    return [...found.values()].sort((one, other) => one.database - other.database);
  }

  /** Equal for two of these exactly when keys, types, encodings, values and expiry times are. */
  digest(): string {
    const lines = [...this.stored].map(([name, { record, expiresAtMs }]) => `${name} ${record.toString('hex')} ${String(expiresAtMs)}`);
    return createHash('sha256').update(lines.sort().join('\n')).digest('hex');
  }

  /** What BGSAVE writes: without keys that have expired. */
  toRdb(version: number, aux: Readonly<Record<string, string | number>>): Buffer {
    const builder = new RdbBuilder(version);
    if (version >= 7) for (const [name, value] of Object.entries(aux)) builder.aux(name, value);
    const now = Date.now();
    const live = [...this.stored.values()].filter(({ expiresAtMs }) => expiresAtMs === null || expiresAtMs > now);
    for (const { database, keys, expires } of this.counts()) {
      builder.select(database);
      if (version >= 7) builder.resize(keys, expires);
      for (const key of live.filter((one) => one.database === database)) {
        if (key.expiresAtMs !== null) builder.expireMs(key.expiresAtMs);
        builder.raw(key.record);
      }
    }
    return builder.build();
  }

  private put(key: StoredKey): void {
    this.stored.set(nameOf(key.database, key.key), key);
  }
}
