import { KEY_TYPES, type KeyType } from '../../../domain/backup.js';

/** One of the selected keys, to look at. */
export interface SampleKey {
  /** Where it is in the backup, and where it goes. */
  database: number;
  into: number;
  /** Its name on the target, escaped and bounded. */
  key: string;
  type: KeyType;
  /** As in the backup. */
  expiresAt: Date | null;
  /** Name and value, as stored. */
  bytes: bigint;
}

export interface SelectedDatabase {
  database: number;
  into: number;
  keys: bigint;
  bytes: bigint;
  /** Keys among them that have expired, by the rule for expiries. */
  expired: bigint;
}

/** How the selected keys stand to what the target has. Expired ones are not looked for. */
export interface Comparison {
  new: bigint;
  /** There, with a value of the same type. */
  sameType: bigint;
  otherType: bigint;
  /** Of `sameType`: keys whose values are stored alike to the last byte. Only of the first 1,000 small ones that is looked at; others may be equal, too. */
  equal: bigint;
  /** How many were looked at so. */
  compared: bigint;
}

/** What a selection selects. */
export interface SelectedKeys {
  keys: bigint;
  /** Names and values, as stored. */
  bytes: bigint;
  expired: bigint;
  /** Keys that are made with ordinary commands, because the target does not know their payloads or is to get none. */
  byCommands: bigint;
  databases: SelectedDatabase[];
  types: { type: KeyType; keys: bigint; bytes: bigint }[];
  functions: number;
  sample: SampleKey[];
  comparison: Comparison | null;
}

export const MOST_SAMPLED = 20;

interface Count {
  keys: number;
  bytes: number;
  expired: number;
}

/** Counts what is selected. */
export class SelectedTally {
  keys = 0;
  byCommands = 0;
  readonly sample: SampleKey[] = [];
  private readonly databases = new Map<number, Count>();
  private readonly types = KEY_TYPES.map(() => ({ keys: 0, bytes: 0 }));
  private current: Count = { keys: 0, bytes: 0, expired: 0 };
  private currentDatabase = -1;

  add(database: number, type: KeyType, bytes: number, expired: boolean): void {
    if (database !== this.currentDatabase) {
      this.current = this.databases.get(database) ?? { keys: 0, bytes: 0, expired: 0 };
      this.databases.set(database, this.current);
      this.currentDatabase = database;
    }
    this.keys += 1;
    this.current.keys += 1;
    this.current.bytes += bytes;
    if (expired) this.current.expired += 1;
    const count = this.types[KEY_TYPES.indexOf(type)];
    if (count === undefined) return;
    count.keys += 1;
    count.bytes += bytes;
  }

  get databaseNumbers(): number[] {
    return [...this.databases.keys()].sort((a, b) => a - b);
  }

  report(into: (database: number) => number, functions: number, comparison: Comparison | null): SelectedKeys {
    const databases = this.databaseNumbers.map((database) => {
      const { keys, bytes, expired } = this.databases.get(database) ?? this.current;
      return { database, into: into(database), keys: BigInt(keys), bytes: BigInt(bytes), expired: BigInt(expired) };
    });
    const sum = (of: (count: SelectedDatabase) => bigint): bigint => databases.reduce((all, count) => all + of(count), 0n);
    return {
      keys: BigInt(this.keys),
      bytes: sum(({ bytes }) => bytes),
      expired: sum(({ expired }) => expired),
      byCommands: BigInt(this.byCommands),
      databases,
      types: KEY_TYPES.flatMap((type, at) => {
        const { keys = 0, bytes = 0 } = this.types[at] ?? {};
        return keys === 0 ? [] : [{ type, keys: BigInt(keys), bytes: BigInt(bytes) }];
      }),
      functions,
      sample: this.sample,
      comparison,
    };
  }
}
