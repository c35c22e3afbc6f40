import { type KeyType } from '../../../domain/backup.js';
import { DomainError } from '../../../domain/errors.js';
import { compileSelection, selectsAll, type KeyTest } from '../../../domain/key-selection.js';
import { databaseMapOf, type RestoreOptions } from '../../../domain/restore-options.js';
import { valueCommands } from '../../rdb/commands/value-commands.js';
import { lossesFor, type Loss, type LossName } from '../../rdb/losses.js';
import { RecordReader, type RecordConsumer, type RecordHead } from '../../rdb/record-reader.js';
import { type RdbMagic } from '../../rdb/summary.js';
import { keyTypeOf, Tally } from '../../rdb/tally.js';
import { hasFunctions } from '../../rdb/transfer.js';
import { writtenBy } from '../../rdb/versions.js';
import { Digest } from '../payload.js';
import { type RdbSource } from '../source.js';
import { shownKey } from './commands-in.js';
import { acceptableLibraries } from './functions.js';
import { EXPIRED, type KeyRules } from './key-rules.js';
import { largeWay } from './large-value.js';
import { Probes } from './probes.js';
import { readPieces } from './read-pieces.js';
import { type Router } from './router.js';
import { MOST_SAMPLED, SelectedTally, type SelectedKeys } from './selected-keys.js';
import { TargetName } from './target-name.js';

/** Longest name that is restored. */
export const MAX_NAME_BYTES = 1024 * 1024;
/** Values up to this size are held in memory until the server has answered for them; larger ones pass through. */
export const MAX_HELD_VALUE = 8 * 1024 * 1024;
/** Bytes of the archive between two looks at how much is on its way. */
export const STEP_BYTES = 64 * 1024;
/** Selected keys that are kept for the restore, so that nothing has to be read twice for a few. */
const SPOOL_BYTES = 8 * 1024 * 1024;
const MOST_SPOOLED = 50_000;
const MOST_FUNCTION_BYTES = 8 * 1024 * 1024;
const FUNCTION = 245;
const MODULE_AUX = 247;
const MODULE = 7;
/** From there on all types are hashes whose fields may expire. */
const FIRST_TIMED_HASH = 22;

/** A selected key, kept. */
export interface SpooledKey {
  head: RecordHead;
  module: string;
  name: Buffer;
  /** Null: a large one, which stands at `from`. */
  value: Buffer | null;
  from: number;
  to: number;
}

/** Something about single keys that is in the way. */
export interface KeyProblem {
  kind: 'VALUE_TOO_LARGE' | 'NAME_TOO_LONG' | 'CANNOT_DECODE';
  keys: number;
  /** One of them. */
  key: string;
  bytes: number;
}

/** What was found in one reading of the whole archive. */
export interface Survey {
  selected: SelectedKeys;
  losses: Loss[];
  problems: KeyProblem[];
  /** All selected keys, where they are few enough. */
  spool: SpooledKey[] | null;
  /** Libraries that the target takes, as they stand in the file, opcode and string. `selected.functions` counts the others, too. */
  functions: Buffer[];
  /** Keys of the target that have a selected one's name; asked for with `look: CONFLICTS`. */
  conflicts: { keys: number; named: readonly string[] };
  magic: RdbMagic;
}

export interface SurveySetup {
  source: RdbSource;
  options: RestoreOptions;
  rules: KeyRules;
  /** CONFLICTS: asks the target for every selected key. COMPARE: and for what it has in its place. */
  look: { kind: 'CONFLICTS' | 'COMPARE'; router: Router } | null;
  bulkBytes: number;
  stallMs: number;
  signal: AbortSignal;
  onRead: (bytes: bigint, keys: bigint) => void;
}

/**
 * Reads an archive once, to its end, and writes nothing: finds out what is selected, what of that the target cannot take, and that the bytes are those of the
 * manifest. Values of keys that are not selected are only walked over. Fails with CORRUPT, TRUNCATED, UNSUPPORTED_FORMAT, LIMIT_EXCEEDED, the
 * source's error, the router's, or the signal's reason.
 */
export const surveyArchive = async (setup: SurveySetup): Promise<Survey> => {
  const { source, signal, stallMs, look } = setup;
  const surveyor = new Surveyor(setup);
  const reader = new RecordReader(surveyor, { maxNameBytes: MAX_NAME_BYTES, maxValueBytes: MAX_HELD_VALUE });
  surveyor.reader = reader;
  const digest = new Digest(source.facts);
  for await (const piece of readPieces(source, { signal, stallMs })) {
    digest.update(piece);
    for (const _ of reader.read(piece, STEP_BYTES)) {
      const full = look?.router.room();
      if (full !== undefined) await full;
    }
    setup.onRead(digest.read, BigInt(reader.tally.keys));
  }
  digest.finish();
  reader.finish();
  await look?.router.drained();
  return surveyor.result(reader);
};

class Surveyor implements RecordConsumer {
  reader: RecordReader | undefined;
  private readonly selects: KeyTest;
  private readonly name: TargetName;
  private readonly into: (database: number) => number;
  private readonly tally = new SelectedTally();
  /** As of a file that has only the selected keys. */
  private readonly selectedOnly = new Tally();
  private readonly probes: Probes | null;
  private readonly withFunctions: boolean;
  private readonly functions: Buffer[] = [];
  private functionBytes = 0;
  private spool: SpooledKey[] | null = [];
  private spoolBytes = 0;
  private readonly problems = new Map<KeyProblem['kind'], KeyProblem>();
  private readonly dryLosses = new Map<LossName, number>();
  /** A hash was too large to look for fields that expire. */
  private unseenFields = false;
  private head: RecordHead = { database: 0, rdbType: 0, expiresAtMs: NaN, nameBytes: 0, valueAt: 0 };
  private type: KeyType = 'STRING';
  private named: Buffer | null = null;
  private now: number;
  private readonly all: boolean;

  constructor(private readonly setup: SurveySetup) {
    const { options, look, rules } = setup;
    this.selects = compileSelection(options.selection);
    this.all = selectsAll(options.selection);
    this.name = new TargetName(options);
    this.into = databaseMapOf(options);
    this.withFunctions = this.all;
    this.now = rules.now();
    this.probes = look === null ? null : new Probes(look.router, (name, database) => {
      const node = look.router.nodeOf(name, 0, name.length);
      if (!look.router.isCluster) node.select(database);
      return node;
    });
  }

  onName(head: RecordHead, bytes: Uint8Array, from: number, to: number): boolean {
    const type = keyTypeOf(head.rdbType);
    if (!this.all && !this.selects(head.database, type, bytes, from, to)) return false;
    this.head = head;
    this.type = type;
    if (to - from < head.nameBytes) {
      this.problem('NAME_TOO_LONG', Buffer.from(bytes.subarray(from, to)), head.nameBytes);
      return false;
    }
    // The name is gone when the value has passed; it is kept only where somebody will want it.
    this.named = this.spool !== null || this.probes !== null || this.tally.sample.length < MOST_SAMPLED ? Buffer.from(bytes.subarray(from, to)) : null;
    return true;
  }

  onValue(bytes: Uint8Array, from: number, to: number): void {
    const expired = this.count(to - from);
    if (this.spool !== null) this.keep({ value: Buffer.from(bytes.subarray(from, to)), from: this.head.valueAt, to: this.head.valueAt + to - from });
    if (expired) return;
    this.decide(to - from, bytes.subarray(from, to));
    this.probe(bytes, from, to);
  }

  onLargeValue(from: number, to: number): void {
    const expired = this.count(to - from);
    if (this.spool !== null) this.keep({ value: null, from, to });
    if (expired) return;
    this.decide(to - from, null);
    this.probe(Buffer.alloc(0), 0, 0);
  }

  onFunction(bytes: Uint8Array, from: number, to: number): void {
    if (!this.withFunctions) return;
    this.functionBytes += to - from;
    if (this.functionBytes > MOST_FUNCTION_BYTES) this.onLargeFunction(this.functionBytes);
    this.functions.push(Buffer.from(bytes.subarray(from, to)));
  }

  onLargeFunction(bytes: number): void {
    if (!this.withFunctions) return;
    throw new DomainError('LIMIT_EXCEEDED', `The backup has function libraries of ${bytes} bytes and more; at most ${MOST_FUNCTION_BYTES} are restored key by key.`, { hint: 'Restore over the replication link.' });
  }

  result(reader: RecordReader): Survey {
    const { rules } = this.setup;
    const { summary, source } = this.setup.source.facts;
    const magic = reader.magic ?? summary.magic;
    const { selectedOnly } = this;
    const opcodes = summary.opcodes.filter((code) => this.withFunctions || (code !== FUNCTION && code !== MODULE_AUX));
    const losses = lossesFor({
      magic, rdbTypes: selectedOnly.typeBytes(), opcodes, types: selectedOnly.typeCounts(), functions: this.functions.length,
      modules: selectedOnly.moduleNames(), hasHashFieldTtl: selectedOnly.hasFieldTtl(), unknown: summary.unknown, aux: summary.aux,
    }, rules.target, source ?? undefined)
      // Hashes can have the type of those whose fields expire, and no such field.
      .filter(({ name }) => name !== 'FIELD_TTL' || this.dryLosses.has('FIELD_TTL') || this.unseenFields);
    const functions = acceptableLibraries(this.functions, rules.target, source ?? writtenBy(summary));
    if (functions.length < this.functions.length && hasFunctions(rules.target)) {
      losses.push({ name: 'FUNCTIONS', what: `${this.functions.length - functions.length} of ${this.functions.length} function libraries are left out: they need \`server\` (Valkey 8.0), or another engine than Lua.` });
    }
    for (const [name, what] of Object.entries(DRY)) {
      const count = this.dryLosses.get(name as LossName);
      if (count !== undefined) losses.push({ name: name as LossName, what: `${count} ${what}` });
    }
    return {
      selected: this.tally.report(this.into, this.functions.length, this.setup.look?.kind === 'COMPARE' && this.probes !== null ? this.probes.comparison : null),
      losses,
      problems: [...this.problems.values()],
      spool: this.spool,
      functions,
      conflicts: { keys: this.probes?.conflicts ?? 0, named: this.probes?.conflicting ?? [] },
      magic,
    };
  }

  /** Returns whether the key has expired. */
  private count(valueBytes: number): boolean {
    const { head, selectedOnly } = this;
    const expired = !Number.isNaN(head.expiresAtMs) && this.setup.rules.expiryOf(head.expiresAtMs, this.now) === EXPIRED;
    this.tally.add(head.database, this.type, valueBytes + head.nameBytes, expired);
    // What has expired is not lost by anything else.
    if (!expired) selectedOnly.bytes[head.rdbType] = (selectedOnly.bytes[head.rdbType] as number) + 1;
    if (this.named !== null && this.tally.sample.length < MOST_SAMPLED) {
      this.name.take(this.named, 0, this.named.length);
      this.tally.sample.push({
        database: head.database, into: this.into(head.database), key: shownKey(this.name.view), type: this.type,
        expiresAt: Number.isNaN(head.expiresAtMs) ? null : new Date(head.expiresAtMs), bytes: BigInt(valueBytes + head.nameBytes),
      });
    }
    return expired;
  }

  private keep({ value, from, to }: Pick<SpooledKey, 'value' | 'from' | 'to'>): void {
    if (this.spool === null || this.named === null) return;
    this.spoolBytes += this.named.length + (value?.length ?? 0);
    if (this.spoolBytes > SPOOL_BYTES || this.spool.length >= MOST_SPOOLED) this.spool = null;
    else this.spool.push({ head: { ...this.head }, module: this.module, name: this.named, value, from, to });
  }

  private get module(): string {
    return this.head.rdbType === MODULE ? (this.reader?.tally.lastModule ?? '') : '';
  }

  /** How it will get to the target, and whether it can. */
  private decide(bytes: number, value: Uint8Array | null): void {
    const { head } = this;
    const { rules, bulkBytes } = this.setup;
    const { module } = this;
    if (module !== '') this.selectedOnly.noteModule(module);
    const transfer = rules.transfer(head.rdbType, module);
    if (transfer.by === 'LOSS') return;
    if (transfer.by === 'COMMANDS') this.tally.byCommands += 1;
    const magic = this.reader?.magic ?? 'REDIS';
    if (value === null || bytes + MARGIN > bulkBytes) {
      if (largeWay(transfer.by, head.rdbType, magic, bytes, bulkBytes) === null) this.problem('VALUE_TOO_LARGE', this.named, bytes);
      // Where nothing is to expire, no expiry is lost.
      if (head.rdbType >= FIRST_TIMED_HASH && this.setup.options.ttl !== 'PERSIST') this.unseenFields = true;
    } else if (transfer.by === 'COMMANDS') this.dryRun(value, magic);
  }

  /** Makes the commands and drops them: some losses show in the value only. */
  private dryRun(value: Uint8Array, magic: RdbMagic): void {
    const { rules } = this.setup;
    try {
      const commands = valueCommands({
        rdbType: this.head.rdbType, magic, key: NO_KEY, value, offset: this.head.valueAt, target: rules.target, nowMs: this.now,
        fieldExpiry: rules.fieldExpiry, onLoss: (name, count) => this.dryLosses.set(name, (this.dryLosses.get(name) ?? 0) + count),
      });
      for (const _ of commands);
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.problem('CANNOT_DECODE', this.named, value.length);
    }
  }

  private probe(bytes: Uint8Array, from: number, to: number): void {
    const { look } = this.setup;
    if (look === null || this.probes === null || this.named === null) return;
    this.name.take(this.named, 0, this.named.length);
    const database = this.into(this.head.database);
    if (look.kind === 'CONFLICTS') this.probes.expectNone(this.name.view, database);
    else this.probes.compare(this.name.view, database, this.type, this.head.rdbType, bytes, from, to);
  }

  private problem(kind: KeyProblem['kind'], name: Buffer | null, bytes: number): void {
    const known = this.problems.get(kind);
    if (known !== undefined) known.keys += 1;
    else this.problems.set(kind, { kind, keys: 1, key: name === null ? '' : shownKey(name), bytes });
  }
}

const NO_KEY = Buffer.from('k');
/** Payload and argument beside the value. */
const MARGIN = 64;

/** Losses that `lossesFor` cannot know of. */
const DRY = {
  NAN_SCORES: 'members of sorted sets whose score is no number are left out: no server takes them by command.',
  PENDING_ENTRIES: 'entries of streams that are pending beyond their stream\'s last ID are left out.',
} satisfies Partial<Record<LossName, string>>;
