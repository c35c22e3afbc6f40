import { type DatabaseCount } from '../../../domain/backup.js';
import { DomainError } from '../../../domain/errors.js';
import { compileSelection, selectsAll, type KeyTest } from '../../../domain/key-selection.js';
import { type RestoreOptions } from '../../../domain/restore-options.js';
import { RecordReader, type RecordConsumer, type RecordHead } from '../../rdb/record-reader.js';
import { keyTypeOf } from '../../rdb/tally.js';
import { hasFunctions } from '../../rdb/transfer.js';
import { compareVersions, type ServerVersion } from '../../rdb/versions.js';
import { ReplyError } from '../../resp.js';
import { type RdbSource } from '../source.js';
import { restoreFunctions } from './functions.js';
import { type KeyRules } from './key-rules.js';
import { KeyWriter } from './key-writer.js';
import { LargeValueSender, type LargeValue } from './large-value.js';
import { type Ledger } from './ledger.js';
import { type NodePipeline } from './node-pipeline.js';
import { readPieces } from './read-pieces.js';
import { refusalOf } from './refusals.js';
import { type Router } from './router.js';
import { MAX_HELD_VALUE, MAX_NAME_BYTES, STEP_BYTES, type SpooledKey, type Survey } from './survey.js';
import { TargetName } from './target-name.js';

export interface TransferSetup {
  router: Router;
  ledger: Ledger;
  rules: KeyRules;
  options: RestoreOptions;
  survey: Survey;
  source: RdbSource;
  keysBefore: readonly DatabaseCount[];
  bulkBytes: number;
  stallMs: number;
  signal: AbortSignal;
  token: string;
  onFlushed: (database: number) => void;
  onFunctions: (count: number) => void;
  /** Bytes of the archive whose keys have been written. */
  onSent: (bytes: bigint) => void;
}

const MODULE = 7;

/** Changes the target: empties databases, loads functions, writes the selected keys, and resolves when all of them have been answered. */
export const transferKeys = async (setup: TransferSetup): Promise<void> => {
  const { router, ledger, rules, options, survey, keysBefore } = setup;
  router.settle = ledger.settle;
  const written = [...new Set(survey.selected.databases.map(({ into }) => into))];
  const withKeys = new Set(keysBefore.filter(({ keys }) => keys > 0n).map(({ database }) => database));
  if (options.flush === 'EVERYTHING') {
    await flushEverything(setup);
    withKeys.clear();
  } else if (options.flush === 'WRITTEN') {
    for (const database of written) {
      await flush(setup, database);
      withKeys.delete(database);
    }
  }
  const counts: number[] = [];
  for (const node of router.all) counts.push(await restoreFunctions(node, survey.functions, rules.target, options.onConflict, ledger));
  setup.onFunctions(Math.max(0, ...counts));
  for (const { name, keys } of survey.losses) {
    if (name === 'FUNCTIONS') ledger.lose(name, survey.selected.functions - survey.functions.length);
    else if (!COUNTED_BY_KEY.has(name)) ledger.lose(name, Number(keys ?? 1n));
  }
  const name = new TargetName(options);
  const writer = new KeyWriter(router, rules, ledger, name, { options, magic: survey.magic, token: setup.token, hasKeys: (database) => withKeys.has(database), mayMeet: options.keyPrefix !== null || options.databaseMap.length > 0 });
  const transfer = new Transfer(setup, writer, name);
  if (survey.spool !== null) await transfer.fromSpool(survey.spool);
  else await transfer.fromSource();
  await router.drained();
  setup.onSent(setup.source.facts.summary.bytes);
};

/** Losses that are counted as they are met. The others concern the file as a whole. */
const COUNTED_BY_KEY: ReadonlySet<string> = new Set(['FIELD_TTL', 'STREAMS', 'MODULES', 'NAN_SCORES', 'PENDING_ENTRIES']);

const run = async (node: NodePipeline, words: readonly string[]): Promise<void> => {
  const reply = await node.call(words.map((text) => Buffer.from(text)));
  if (reply instanceof ReplyError) throw refusalOf(node.address, reply) ?? new DomainError('TARGET_BLOCKED', `${node.address} answered ${words[0] ?? ''} with: ${reply.text}`);
};

/** ASYNC where that exists, so that no server stands still over it. */
const flushing = (command: string, { engine, version }: ServerVersion): string[] =>
  [command, ...(engine === 'VALKEY' || compareVersions(version, '4.0') >= 0 ? ['ASYNC'] : [])];

/** FLUSHDB on every node. */
const flush = async ({ router, rules, onFlushed }: TransferSetup, database: number): Promise<void> => {
  for (const node of router.all) {
    if (!router.isCluster) node.select(database);
    await run(node, flushing('FLUSHDB', rules.target));
    onFlushed(database);
  }
};

/** Libraries first: whoever may not drop them has lost nothing yet. */
const flushEverything = async ({ router, rules, keysBefore, onFlushed, ledger }: TransferSetup): Promise<void> => {
  if (hasFunctions(rules.target)) {
    for (const node of router.all) {
      await run(node, ['FUNCTION', 'FLUSH']);
      ledger.touched = true;
    }
  }
  for (const node of router.all) {
    await run(node, flushing('FLUSHALL', rules.target));
    for (const { database } of keysBefore) onFlushed(database);
    ledger.touched = true;
  }
};

class Transfer implements RecordConsumer {
  private readonly large: LargeValueSender;
  private readonly selects: KeyTest;
  private readonly all: boolean;
  private readonly waiting: (LargeValue & { name: Buffer })[] = [];
  private head: RecordHead | undefined;
  private reader: RecordReader | undefined;
  private sentBefore = 0;

  constructor(private readonly setup: TransferSetup, private readonly writer: KeyWriter, private readonly name: TargetName) {
    this.selects = compileSelection(setup.options.selection);
    this.all = selectsAll(setup.options.selection);
    this.large = new LargeValueSender(setup.router, writer, setup.ledger, {
      options: setup.options, magic: setup.survey.magic, bulkBytes: setup.bulkBytes, source: setup.source, stallMs: setup.stallMs, signal: setup.signal,
      // The archive's own bytes are not counted twice; that somebody is at work is told all the same.
      onSent: () => setup.onSent(BigInt(this.sentBefore)),
    });
  }

  async fromSpool(spool: readonly SpooledKey[]): Promise<void> {
    for (const { head, module, name, value, from, to } of spool) {
      this.name.take(name, 0, name.length);
      if (value === null || this.exceeds(value.length)) await this.large.send({ head, module, from, to });
      else this.writer.write(head, module, value, 0, value.length);
      await this.setup.router.room();
    }
  }

  async fromSource(): Promise<void> {
    const { source, signal, stallMs, router } = this.setup;
    const reader = new RecordReader(this, { maxNameBytes: MAX_NAME_BYTES, maxValueBytes: Math.min(MAX_HELD_VALUE, this.setup.bulkBytes - MARGIN) });
    this.reader = reader;
    for await (const piece of readPieces(source, { signal, stallMs })) {
      for (const _ of reader.read(piece, STEP_BYTES)) {
        if (this.waiting.length > 0) await this.sendWaiting();
        const full = router.room();
        if (full !== undefined) await full;
      }
      this.sentBefore = reader.bytes;
      this.setup.onSent(BigInt(reader.bytes));
    }
    reader.finish();
  }

  onName(head: RecordHead, bytes: Uint8Array, from: number, to: number): boolean {
    if (!this.all && !this.selects(head.database, keyTypeOf(head.rdbType), bytes, from, to)) return false;
    this.head = head;
    this.name.take(bytes, from, to);
    return true;
  }

  onValue(bytes: Uint8Array, from: number, to: number): void {
    if (this.head !== undefined) this.writer.write(this.head, this.module, bytes, from, to);
  }

  onLargeValue(from: number, to: number): void {
    if (this.head !== undefined) this.waiting.push({ head: { ...this.head }, module: this.module, name: this.name.copy, from, to });
  }

  /** They have been written, out of the survey. */
  onFunction(): void {
    return;
  }

  onLargeFunction(): void {
    return;
  }

  private get module(): string {
    return this.head?.rdbType === MODULE ? (this.reader?.tally.lastModule ?? '') : '';
  }

  private exceeds(bytes: number): boolean {
    return bytes + MARGIN > this.setup.bulkBytes;
  }

  private async sendWaiting(): Promise<void> {
    for (const value of this.waiting.splice(0)) {
      this.name.use(value.name);
      await this.large.send(value);
    }
  }
}

/** What stands beside the value in the argument. */
const MARGIN = 64;
