import { KEY_TYPES, type KeyType } from '../../domain/backup.js';
import { INSPECTION_LIMITS, type InspectedKey, type InspectionRequest, type InspectionResult, type KeyAmount } from '../../domain/inspection.js';
import { keyName } from '../../domain/key-name.js';
import { compileSelection, type KeyTest, selectsAll } from '../../domain/key-selection.js';
import { type RdbKeyEvent } from '../rdb/summary.js';
import { Largest } from './largest.js';
import { PrefixTable } from './prefix-table.js';

export type CollectorLimits = { readonly [Name in keyof typeof INSPECTION_LIMITS]: number };

/** Of so many times the prefixes that are shown, count is kept. */
const PREFIXES_WATCHED = 25;

interface DatabaseAmount extends KeyAmount {
  database: number;
  expiring: number;
}

/** Gathers what an inspection tells of the keys of one file, as they pass. Holds no more than its limits say, whatever passes. */
export class InspectionCollector {
  private readonly selects: KeyTest | null;
  private readonly needsWholeName: boolean;
  private readonly delimiter: Uint8Array;
  private readonly prefixes: PrefixTable;
  private readonly largest: Largest<InspectedKey>;
  private readonly types = new Map<KeyType, KeyAmount>();
  private readonly databases = new Map<number, DatabaseAmount>();
  private database: DatabaseAmount | undefined;
  private readonly keys: InspectedKey[] = [];
  private selectedKeys = 0;
  private uncompared = 0;

  /** @param request checked */
  constructor(private readonly request: InspectionRequest, private readonly limits: CollectorLimits = INSPECTION_LIMITS) {
    this.selects = selectsAll(request.filter) ? null : compileSelection(request.filter);
    this.needsWholeName = request.filter.patterns !== null;
    this.delimiter = Buffer.from(request.delimiter, 'utf8');
    this.prefixes = new PrefixTable(limits.prefixes * PREFIXES_WATCHED);
    this.largest = new Largest(limits.largestKeys);
  }

  /** Longest name that has to be handed over whole. */
  get maxNameBytes(): number {
    const { nameBytes, prefixBytes, comparedNameBytes } = this.limits;
    return this.needsWholeName ? comparedNameBytes : Math.max(nameBytes, prefixBytes);
  }

  /** @param key not kept */
  add(key: RdbKeyEvent): void {
    if (this.selects !== null && !this.isSelected(key, this.selects)) return;
    const { type, bytes } = key;
    this.selectedKeys++;
    this.count(type, key);
    this.prefixes.add(key.name, this.prefixLength(key.name), bytes);
    const listed = this.keys.length < this.limits.listedKeys;
    const large = this.largest.takes(bytes);
    if (!listed && !large) return;
    const kept = this.keep(key);
    if (listed) this.keys.push(kept);
    if (large) this.largest.add(kept);
  }

  /** @param complete whether the keys were all that the file has */
  result({ takenAt, complete }: { takenAt: Date; complete: boolean }): InspectionResult {
    const { keys, selectedKeys, limits } = this;
    const databases = [...this.databases.values()].sort((a, b) => b.bytes - a.bytes).slice(0, limits.databases).sort((a, b) => a.database - b.database);
    return {
      takenAtMs: takenAt.getTime(), complete,
      selected: {
        ...totalOf([...this.types.values()]),
        expiring: [...this.databases.values()].reduce((sum, { expiring }) => sum + expiring, 0),
        types: KEY_TYPES.flatMap((type) => {
          const amount = this.types.get(type);
          return amount === undefined ? [] : [{ type, ...amount }];
        }),
        databases,
      },
      uncompared: this.uncompared,
      ...this.prefixResult(),
      largest: this.largest.items(), listed: keys.length, listedTruncated: selectedKeys > keys.length, keys,
    };
  }

  private isSelected(key: RdbKeyEvent, selects: KeyTest): boolean {
    if (key.key === null && this.needsWholeName) {
      this.uncompared++;
      return false;
    }
    return selects(key.database, key.type, key.name);
  }

  private count(type: KeyType, { database, bytes, expiresAtMs }: RdbKeyEvent): void {
    let ofType = this.types.get(type);
    if (ofType === undefined) this.types.set(type, (ofType = { keys: 0, bytes: 0 }));
    ofType.keys++;
    ofType.bytes += bytes;
    let inDatabase = this.database;
    if (inDatabase?.database !== database) {
      inDatabase = this.databases.get(database) ?? { database, keys: 0, bytes: 0, expiring: 0 };
      this.databases.set(database, inDatabase);
      this.database = inDatabase;
    }
    inDatabase.keys++;
    inDatabase.bytes += bytes;
    if (expiresAtMs !== null) inDatabase.expiring++;
  }

  /** Up to the end of the delimiter that ends the prefix; 0 without one. */
  private prefixLength(name: Uint8Array): number {
    const { delimiter, request: { prefixDepth } } = this;
    const first = delimiter[0];
    const last = Math.min(name.length, this.limits.prefixBytes) - delimiter.length;
    let length = 0;
    let found = 0;
    for (let at = 0; at <= last; at++) {
      if (name[at] !== first || !startsAt(name, at, delimiter)) continue;
      length = at + delimiter.length;
      if (++found === prefixDepth) break;
      at = length - 1;
    }
    return length;
  }

  private keep({ name, nameBytes, type, database, expiresAtMs, bytes, elements, offset }: RdbKeyEvent): InspectedKey {
    const kept = name.subarray(0, this.limits.nameBytes);
    const whole = kept.length === nameBytes;
    return { ...keyName(kept, whole), nameTruncated: !whole, nameBytes, type, database, expiresAtMs, bytes, elements, offset };
  }

  private prefixResult(): Pick<InspectionResult, 'prefixes' | 'otherPrefixes' | 'prefixesTruncated'> {
    const shown = this.limits.prefixes;
    const counts = this.prefixes.counts();
    const rest = totalOf([...counts.slice(shown), this.prefixes.gone]);
    return {
      prefixes: counts.slice(0, shown).map(({ prefix, keys, bytes, exact }) => {
        const { name, binary } = keyName(prefix);
        return { prefix: name, binary, keys, bytes, exact };
      }),
      otherPrefixes: rest,
      prefixesTruncated: rest.keys > 0,
    };
  }
}

const totalOf = (amounts: readonly KeyAmount[]): KeyAmount =>
  amounts.reduce<KeyAmount>((sum, { keys, bytes }) => ({ keys: sum.keys + keys, bytes: sum.bytes + bytes }), { keys: 0, bytes: 0 });

const startsAt = (name: Uint8Array, at: number, part: Uint8Array): boolean => {
  for (let offset = 1; offset < part.length; offset++) if (name[at + offset] !== part[offset]) return false;
  return true;
};
