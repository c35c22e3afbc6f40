import { type KeyType } from '../../../domain/backup.js';
import { DomainError } from '../../../domain/errors.js';
import { Crc64 } from '../../rdb/crc64.js';
import { ReplyError } from '../../resp.js';
import { type Batch, commandBytes, Unit } from './batch.js';
import { keyIn, repliesWithoutAsking, shownKey } from './commands-in.js';
import { type NodePipeline } from './node-pipeline.js';
import { refusalOf } from './refusals.js';
import { type Reply } from './reply-parser.js';
import { type Router } from './router.js';
import { type Comparison } from './selected-keys.js';

const EXISTS = Buffer.from('EXISTS');
const TYPE = Buffer.from('TYPE');
const DUMP = Buffer.from('DUMP');

/** What TYPE says of each. Types of modules have names of their own. */
const TYPE_NAMES: Readonly<Record<KeyType, string>> = { STRING: 'string', LIST: 'list', SET: 'set', SORTED_SET: 'zset', HASH: 'hash', STREAM: 'stream', MODULE: '' };
const PLAIN: ReadonlySet<string> = new Set(Object.values(TYPE_NAMES));

const MOST_COMPARED = 1_000;
const MOST_COMPARED_BYTES = 16 * 1024;
const MOST_NAMED = 20;
/** Behind the value in a DUMP. */
const TRAILER_BYTES = 10;

interface Expected {
  type: KeyType;
  bytes: number;
  crc: bigint;
}

/** Asks the target for keys that a backup has. Nothing is changed. */
export class Probes {
  /** Keys that are there, of those that `expectNone` asked for. */
  conflicts = 0;
  readonly conflicting: string[] = [];
  private readonly counts = { new: 0, sameType: 0, otherType: 0, equal: 0, compared: 0 };
  private asked = 0;
  /** By the note of their unit. */
  private readonly expected = new Map<number, Expected>();

  constructor(private readonly router: Router, private readonly node: (name: Buffer, database: number) => NodePipeline) {
    router.settle = this.settle;
  }

  get comparison(): Comparison {
    const { counts } = this;
    return { new: BigInt(counts.new), sameType: BigInt(counts.sameType), otherType: BigInt(counts.otherType), equal: BigInt(counts.equal), compared: BigInt(counts.compared) };
  }

  expectNone(name: Buffer, database: number): void {
    this.write(Unit.EXISTS, 0, database, [[EXISTS, name]]);
  }

  /** @param bytes `[from, to)` is the value, or nothing where it is not at hand */
  compare(name: Buffer, database: number, type: KeyType, rdbType: number, bytes: Uint8Array, from: number, to: number): void {
    const note = ++this.asked;
    const small = to > from && to - from <= MOST_COMPARED_BYTES && this.counts.compared < MOST_COMPARED;
    const crc = new Crc64();
    if (small) {
      this.counts.compared += 1;
      crc.update(Buffer.from([rdbType]));
      crc.update(bytes.subarray(from, to));
    }
    this.expected.set(note, { type, bytes: 1 + to - from, crc: crc.value });
    if (small) this.write(Unit.COMPARE, note, database, [[TYPE, name], [DUMP, name]]);
    else this.write(Unit.TYPE, note, database, [[TYPE, name]]);
  }

  private write(kind: Unit, note: number, database: number, commands: readonly (readonly Buffer[])[]): void {
    const name = commands[0]?.[1] ?? Buffer.alloc(0);
    const batch = this.node(name, database).batchFor(commands.reduce((sum, command) => sum + commandBytes(command), 0));
    batch.unit(kind, commands.length, note);
    for (const command of commands) batch.command(command);
  }

  private readonly settle = (node: NodePipeline, batch: Batch, unit: number, replies: Reply | Reply[]): void => {
    const asking = batch.asking[unit] === 1;
    const several = (batch.replies[unit] as number) > 1 && Array.isArray(replies);
    const all = several ? (asking ? repliesWithoutAsking(replies, false) : replies) : [replies];
    const error = all.find((reply) => reply instanceof ReplyError);
    if (error !== undefined) {
      if (this.router.redirect(node, batch, unit, error)) return;
      this.router.fail(refusalOf(node.address, error) ?? new DomainError('TARGET_BLOCKED', `${node.address} does not tell which keys it has: ${error.text}`, { hint: 'Grant the user +exists, +type and +dump.' }));
      return;
    }
    if (batch.kindOf(unit) === Unit.EXISTS) {
      if (all[0] !== 1) return;
      this.conflicts += 1;
      if (this.conflicting.length < MOST_NAMED) this.conflicting.push(shownKey(keyIn(batch.bytesOf(unit))));
      return;
    }
    const note = batch.notes[unit] as number;
    const expected = this.expected.get(note);
    this.expected.delete(note);
    const [type, dump] = all;
    if (expected === undefined || typeof type !== 'string') return;
    if (type === 'none') this.counts.new += 1;
    else if (expected.type === 'MODULE' ? PLAIN.has(type) : TYPE_NAMES[expected.type] !== type) this.counts.otherType += 1;
    else {
      this.counts.sameType += 1;
      if (Buffer.isBuffer(dump) && this.isEqual(dump, expected)) this.counts.equal += 1;
    }
  };

  private isEqual(dump: Buffer, { bytes, crc }: Expected): boolean {
    if (dump.length !== bytes + TRAILER_BYTES) return false;
    const found = new Crc64();
    found.update(dump.subarray(0, bytes));
    return found.value === crc;
  }
}
