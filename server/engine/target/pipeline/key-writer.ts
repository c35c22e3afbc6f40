import { databaseMapOf, type RestoreOptions } from '../../../domain/restore-options.js';
import { type Command } from '../../rdb/commands/batch.js';
import { valueCommands } from '../../rdb/commands/value-commands.js';
import { type LossName } from '../../rdb/losses.js';
import { type RecordHead } from '../../rdb/record-reader.js';
import { type RdbMagic } from '../../rdb/summary.js';
import { compareVersions } from '../../rdb/versions.js';
import { argumentBytes, commandBytes, PAYLOAD_EXTRA, Unit } from './batch.js';
import { shownKey } from './commands-in.js';
import { EXPIRED, NO_EXPIRY, type KeyRules } from './key-rules.js';
import { type Ledger } from './ledger.js';
import { type NodePipeline } from './node-pipeline.js';
import { type Router } from './router.js';
import { slotOf, tagOf } from './slots.js';
import { type TargetName } from './target-name.js';

const word = (text: string): Buffer => Buffer.from(text, 'latin1');
const MULTI = [word('MULTI')];
const EXEC = [word('EXEC')];
const EXISTS_HEAD = word('*2\r\n$6\r\nEXISTS\r\n');
const RENAMENX = word('RENAMENX');
const REPLACE = word('$7\r\nREPLACE\r\n');
const ABSTTL = word('$6\r\nABSTTL\r\n');
const RESTORE_WORD = '$7\r\nRESTORE\r\n';
const RESTORE_HEADS = [4, 5, 6].map((args) => word(`*${args}\r\n${RESTORE_WORD}`));
/** All of a RESTORE beside key and value, and of an EXISTS beside the key. */
const RESTORE_ROOM = 192;

/** What a target knows of RESTORE and its like. */
export interface Dialect {
  /** REPLACE of RESTORE: 3.0. */
  replaces: boolean;
  /** ABSTTL: 5.0. */
  absolute: boolean;
  /** UNLINK: 4.0. */
  unlink: Buffer;
}

export const dialectOf = ({ target: { engine, version } }: KeyRules): Dialect => {
  const since = (first: string): boolean => engine === 'VALKEY' || compareVersions(version, first) >= 0;
  return { replaces: since('3.0'), absolute: since('5.0'), unlink: word(since('4.0') ? 'UNLINK' : 'DEL') };
};

export interface KeyWriterOptions {
  options: RestoreOptions;
  magic: RdbMagic;
  /** Distinguishes names of ours from everybody else's. */
  token: string;
  /** Databases of the target that had keys, after they were emptied where that was wanted: only there can a key be replaced. */
  hasKeys: (database: number) => boolean;
  /** Whether two keys of the backup may come out under one name. */
  mayMeet: boolean;
}

/**
 * Makes units of keys: one RESTORE, or, where the target does not know the type, the value's commands within MULTI and EXEC, so that nobody ever sees
 * half a value. Where a key must not be replaced such a group makes it under a name of ours and renames it, which the server refuses if it is there.
 */
export class KeyWriter {
  readonly dialect: Dialect;
  private readonly databaseOf: (database: number) => number;
  private number = 0;

  /** @param name the name, on the target, of the key that is written */
  constructor(
    private readonly router: Router, readonly rules: KeyRules, private readonly ledger: Ledger, readonly name: TargetName, private readonly setup: KeyWriterOptions,
  ) {
    this.dialect = dialectOf(rules);
    this.databaseOf = databaseMapOf(setup.options);
  }

  /** Where the key lives, with its database selected. */
  node(database: number): NodePipeline {
    const node = this.router.nodeOf(this.name.bytes, 0, this.name.length);
    if (!this.router.isCluster) node.select(this.databaseOf(database));
    return node;
  }

  /** The expiry as RESTORE takes it: before 5.0, the time that is left when the command is carried out. */
  ttlArgument(expiry: number, now: number): number {
    return expiry === NO_EXPIRY || this.dialect.absolute ? expiry : Math.max(1, Math.round(expiry - now - this.router.flightMs));
  }

  /** Writes what becomes of the key. `bytes[from, to)`: its value, as in the RDB. */
  write(head: RecordHead, module: string, bytes: Uint8Array, from: number, to: number): void {
    const now = this.rules.now();
    const expiry = this.rules.expiryOf(head.expiresAtMs, now);
    if (expiry === EXPIRED) {
      this.writeExpired(head.database);
      return;
    }
    const transfer = this.rules.transfer(head.rdbType, module);
    if (transfer.by === 'LOSS') this.leave(transfer.loss);
    else if (transfer.by === 'COMMANDS') this.writeGroup(head, bytes.subarray(from, to), expiry);
    else if (this.setup.options.onConflict === 'REPLACE' && !this.dialect.replaces) this.writeOldReplace(head, bytes, from, to, transfer.version, this.ttlArgument(expiry, now));
    else this.writeRestore(head, bytes, from, to, transfer.version, this.ttlArgument(expiry, now));
  }

  leave(loss: LossName): void {
    this.ledger.lose(loss, 1);
    this.ledger.left += 1;
  }

  /** What becomes of a key that has expired. */
  writeExpired(database: number): void {
    const mayBeThere = this.setup.mayMeet || this.setup.hasKeys(this.databaseOf(database));
    if (this.setup.options.onConflict !== 'REPLACE' || !this.rules.expiredReplaces || !mayBeThere) {
      this.ledger.expired += 1;
      return;
    }
    const command = [this.dialect.unlink, this.name.view];
    const batch = this.node(database).batchFor(commandBytes(command));
    batch.unit(Unit.REMOVE, 1);
    batch.command(command);
  }

  /** Whether keys of a database that are there have to be told from new ones. */
  countsReplaced(database: number): boolean {
    return this.setup.options.onConflict === 'REPLACE' && this.setup.hasKeys(this.databaseOf(database));
  }

  /** A name of ours in the slot of the key. */
  temporaryName(): Buffer {
    const slot = this.router.isCluster ? `{${tagOf(slotOf(this.name.bytes, 0, this.name.length))}}` : '';
    return word(`snapback:restoring:${this.setup.token}:${(this.number++).toString(36)}${slot}`);
  }

  private writeRestore(head: RecordHead, bytes: Uint8Array, from: number, to: number, version: number, ttl: number): void {
    const { dialect, name: { bytes: name, length: nameBytes } } = this;
    const counted = this.countsReplaced(head.database);
    const batch = this.node(head.database).batchFor(2 * nameBytes + to - from + RESTORE_ROOM);
    batch.unit(counted ? Unit.COUNTED_RESTORE : Unit.RESTORE, counted ? 2 : 1);
    if (counted) {
      batch.raw(EXISTS_HEAD);
      batch.bulk(name, 0, nameBytes);
    }
    const replace = this.setup.options.onConflict === 'REPLACE' ? 1 : 0;
    const absolute = ttl !== NO_EXPIRY && dialect.absolute ? 1 : 0;
    batch.raw(RESTORE_HEADS[replace + absolute] as Buffer);
    batch.bulk(name, 0, nameBytes);
    batch.number(ttl);
    batch.payload(head.rdbType, bytes, from, to, version);
    if (replace === 1) batch.raw(REPLACE);
    if (absolute === 1) batch.raw(ABSTTL);
  }

  /** For servers before 3.0. */
  private writeOldReplace(head: RecordHead, bytes: Uint8Array, from: number, to: number, version: number, ttl: number): void {
    const { bytes: name, length: nameBytes } = this.name;
    const remove = [this.dialect.unlink, this.name.view];
    const batch = this.node(head.database).batchFor(commandBytes(MULTI) + commandBytes(remove) + nameBytes + to - from + PAYLOAD_EXTRA + RESTORE_ROOM + commandBytes(EXEC));
    batch.unit(Unit.REPLACING_GROUP, 4);
    batch.command(MULTI);
    batch.command(remove);
    batch.raw(RESTORE_HEADS[0] as Buffer);
    batch.bulk(name, 0, nameBytes);
    batch.number(ttl);
    batch.payload(head.rdbType, bytes, from, to, version);
    batch.command(EXEC);
  }

  private writeGroup(head: RecordHead, value: Uint8Array, expiry: number): void {
    const key = this.name.view;
    const replace = this.setup.options.onConflict === 'REPLACE';
    const losses = new Map<LossName, number>();
    const made = replace ? key : this.temporaryName();
    let commands: Command[];
    try {
      commands = [...valueCommands({
        rdbType: head.rdbType, magic: this.setup.magic, key: made, value, offset: head.valueAt, target: this.rules.target, nowMs: this.rules.now(),
        expiresAtMs: expiry === NO_EXPIRY ? null : expiry, fieldExpiry: this.rules.fieldExpiry, onLoss: (name, count) => losses.set(name, count),
      })];
    } catch (error) {
      this.ledger.fail(shownKey(key), error instanceof Error ? error.message : String(error));
      return;
    }
    const unaccepted = [...losses.keys()].filter((name) => !this.setup.options.acceptedLosses.includes(name));
    if (unaccepted.length > 0) {
      this.ledger.fail(shownKey(key), `Some of its value would be lost: ${unaccepted.join(', ')}.`);
      return;
    }
    for (const [name, count] of losses) this.ledger.lose(name, count);
    // All of its fields have expired, or had scores that are no numbers.
    if (commands.length === 0) {
      this.writeExpired(head.database);
      return;
    }
    const remove = [this.dialect.unlink, made];
    const all = replace ? [MULTI, remove, ...commands, EXEC] : [MULTI, ...commands, [RENAMENX, made, key], remove, EXEC];
    const batch = this.node(head.database).batchFor(all.reduce((sum, command) => sum + commandBytes(command), argumentBytes(0)));
    batch.unit(replace ? Unit.REPLACING_GROUP : Unit.NEW_GROUP, all.length);
    for (const command of all) batch.command(command);
  }
}
