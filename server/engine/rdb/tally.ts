import { KEY_TYPES, type DatabaseCount, type KeyType, type TypeCount } from '../../domain/backup.js';
import { bothOf, functionApiOf, type FunctionApi } from './functions.js';
import { MAX_AUX, MAX_DATABASE, MAX_DATABASES, MAX_MODULES } from './limits.js';
import { moduleName } from './module-id.js';
import { rdbError } from './rdb-error.js';

const HASH: KeyType = 'HASH';
const KEY_TYPE_OF: readonly (KeyType | undefined)[] = [
  'STRING', 'LIST', 'SET', 'SORTED_SET', HASH, 'SORTED_SET', undefined, 'MODULE', undefined, HASH, 'LIST', 'SET',
  'SORTED_SET', HASH, 'LIST', 'STREAM', HASH, 'SORTED_SET', 'LIST', 'STREAM', 'SET', 'STREAM', HASH, HASH, HASH, HASH,
];

/** The user's type behind an RDB type byte that the walker knows. */
export const keyTypeOf = (rdbType: number): KeyType => KEY_TYPE_OF[rdbType] ?? 'MODULE';

/** Hashes with expiring fields: 22 and 23 of pre-releases or of Valkey, 24 and 25 of Redis 7.4. */
const FIELD_TTL_TYPES = [22, 23, 24, 25];

interface Count {
  keys: number;
  expiring: number;
}

/** What the walk has counted so far. Holds nothing that grows with the number of keys. */
export class Tally {
  functions = 0;
  /** What the function libraries need; null without any. */
  functionApi: FunctionApi | null = null;
  keys = 0;
  /** Counts of the database that is selected; a file that selects none fills database 0. */
  database: Count = { keys: 0, expiring: 0 };
  databaseNumber = 0;
  /** Data type of the module value or note that passed last. */
  lastModule = '';
  /** `[byte]` -> keys of that type, or occurrences of that opcode. */
  readonly bytes = new Float64Array(256);

  private readonly databases = new Map<number, Count>([[0, this.database]]);
  private readonly modules = new Set<string>();
  private readonly notes = new Map<string, string>();

  select(number: number, offset: number): void {
    if (number > MAX_DATABASE) throw rdbError('CORRUPT', `database number ${number} is beyond ${MAX_DATABASE}`, offset);
    let count = this.databases.get(number);
    if (count === undefined) {
      if (this.databases.size >= MAX_DATABASES) throw rdbError('LIMIT_EXCEEDED', `more than ${MAX_DATABASES} databases`, offset);
      count = { keys: 0, expiring: 0 };
      this.databases.set(number, count);
    }
    this.database = count;
    this.databaseNumber = number;
  }

  addModule(high: number, low: number, offset: number): void {
    const name = moduleName(high, low);
    this.lastModule = name;
    if (this.modules.has(name)) return;
    if (this.modules.size >= MAX_MODULES) throw rdbError('LIMIT_EXCEEDED', `more than ${MAX_MODULES} module data types`, offset);
    this.noteModule(name);
  }

  /** @param code as much of the library's beginning as was kept, of `bytes` */
  addFunction(code: Uint8Array, bytes: number): void {
    this.functions++;
    this.functionApi = bothOf(this.functionApi, functionApiOf(code, bytes));
  }

  noteModule(name: string): void {
    this.modules.add(name);
  }

  /** Keeps a note of the writing server. `lua` is left out: servers before 7.0 put whole scripts of their users there. */
  addNote(name: string | null, value: Uint8Array | null): void {
    if (name === null || value === null || name === 'lua' || this.notes.size >= MAX_AUX) return;
    this.notes.set(name, Buffer.from(value.buffer, value.byteOffset, value.length).toString('utf8'));
  }

  aux(): Readonly<Record<string, string>> {
    // Object.fromEntries defines own properties, so that a note named __proto__ stays a note.
    return Object.fromEntries(this.notes);
  }

  databaseCounts(): DatabaseCount[] {
    return [...this.databases]
      .filter(([, count]) => count.keys > 0)
      .sort(([a], [b]) => a - b)
      .map(([database, count]) => ({ database, keys: BigInt(count.keys), expiring: BigInt(count.expiring) }));
  }

  typeCounts(): TypeCount[] {
    const counts = new Map<KeyType, number>();
    for (const code of this.typeBytes()) {
      const type = keyTypeOf(code);
      counts.set(type, (counts.get(type) ?? 0) + (this.bytes[code] ?? 0));
    }
    return KEY_TYPES.flatMap((type) => {
      const keys = counts.get(type);
      return keys === undefined ? [] : [{ type, keys: BigInt(keys) }];
    });
  }

  expiring(): bigint {
    let sum = 0;
    for (const count of this.databases.values()) sum += count.expiring;
    return BigInt(sum);
  }

  typeBytes(): number[] {
    return this.seen(0, 128);
  }

  opcodeBytes(): number[] {
    return this.seen(128, 256);
  }

  moduleNames(): string[] {
    return [...this.modules].sort();
  }

  hasFieldTtl(): boolean {
    return FIELD_TTL_TYPES.some((code) => (this.bytes[code] ?? 0) > 0);
  }

  private seen(from: number, to: number): number[] {
    const codes: number[] = [];
    for (let code = from; code < to; code++) if ((this.bytes[code] ?? 0) > 0) codes.push(code);
    return codes;
  }
}
