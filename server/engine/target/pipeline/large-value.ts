import { DomainError } from '../../../domain/errors.js';
import { type RestoreOptions } from '../../../domain/restore-options.js';
import { Crc64 } from '../../rdb/crc64.js';
import { type RecordHead } from '../../rdb/record-reader.js';
import { type RdbMagic } from '../../rdb/summary.js';
import { valueCommands } from '../../rdb/commands/value-commands.js';
import { type LossName } from '../../rdb/losses.js';
import { ReplyError } from '../../resp.js';
import { type RdbSource } from '../source.js';
import { pause } from '../waiting.js';
import { PAYLOAD_EXTRA } from './batch.js';
import { shownKey } from './commands-in.js';
import { EXPIRED, NO_EXPIRY } from './key-rules.js';
import { type KeyWriter } from './key-writer.js';
import { type Ledger } from './ledger.js';
import { type NodePipeline } from './node-pipeline.js';
import { readPieces } from './read-pieces.js';
import { type Reply } from './reply-parser.js';
import { pauseBefore, type Router } from './router.js';
import { redirectIn } from './slots.js';
import { isSplittable, splitValue } from './split-value.js';

/** A key whose value is read from the source again, for itself. */
export interface LargeValue {
  head: Readonly<RecordHead>;
  module: string;
  /** Where the value stands in the file. */
  from: number;
  to: number;
}

/** Values that have to be made by commands and cannot be split are held in memory whole, up to this size. */
export const MOST_WHOLE_BYTES = 16 * 1024 * 1024;

/** How a large value gets to the target; null: not at all. */
export const largeWay = (
  transfer: 'PAYLOAD' | 'COMMANDS', rdbType: number, magic: RdbMagic, valueBytes: number, bulkBytes: number,
): 'STREAM' | 'PIECES' | 'WHOLE' | null => {
  if (transfer === 'PAYLOAD' && valueBytes + PAYLOAD_EXTRA <= bulkBytes) return 'STREAM';
  if (isSplittable(rdbType, magic)) return 'PIECES';
  return transfer === 'COMMANDS' && valueBytes <= MOST_WHOLE_BYTES ? 'WHOLE' : null;
};

export interface LargeValueSetup {
  options: RestoreOptions;
  magic: RdbMagic;
  /** Longest argument that the target takes. */
  bulkBytes: number;
  source: RdbSource;
  stallMs: number;
  signal: AbortSignal;
  /** Told of every piece that has left. */
  onSent: () => void;
}

const word = (text: string): Buffer => Buffer.from(text, 'latin1');
const MOST_ATTEMPTS = 64;
const ASKING = Buffer.from('*1\r\n$6\r\nASKING\r\n');

type Outcome = 'DONE' | 'AGAIN';

/**
 * Sends values that are too large to be kept until they have been answered, one at a time: read once more from the source, as a RESTORE that passes
 * through, or, where the target does not know the type or takes no argument so long, piece by piece under a name of ours that is renamed when
 * all of it has arrived. Begins anew when the connection breaks or the slot moves.
 */
export class LargeValueSender {
  /** The node that takes the value for a slot that is on its way to it. */
  private asked: { host: string; port: number } | null = null;

  constructor(private readonly router: Router, private readonly writer: KeyWriter, private readonly ledger: Ledger, private readonly setup: LargeValueSetup) {}

  /** The name of the key has been taken. Fails with what ends the restore. */
  async send(value: LargeValue): Promise<void> {
    const { rules } = this.writer;
    const expiry = rules.expiryOf(value.head.expiresAtMs, rules.now());
    if (expiry === EXPIRED) {
      this.writer.writeExpired(value.head.database);
      return;
    }
    const transfer = rules.transfer(value.head.rdbType, value.module);
    if (transfer.by === 'LOSS') {
      this.writer.leave(transfer.loss);
      return;
    }
    const way = largeWay(transfer.by, value.head.rdbType, this.setup.magic, value.to - value.from, this.setup.bulkBytes);
    if (way === null) {
      this.ledger.fail(this.shown, `Its value has ${value.to - value.from} bytes, more than the target takes at once.`);
      return;
    }
    if (way === 'WHOLE') {
      await this.sendWhole(value);
      return;
    }
    this.asked = null;
    for (let attempt = 1; ; attempt += 1) {
      const outcome = way === 'STREAM' && transfer.by === 'PAYLOAD' ? await this.stream(value, transfer.version, expiry) : await this.pieces(value, expiry);
      this.router.assertSound();
      if (outcome === 'DONE') return;
      if (attempt >= MOST_ATTEMPTS) {
        this.ledger.fail(this.shown, 'It was sent from one node of the cluster to another, without an end.');
        return;
      }
      await pause(pauseBefore(attempt), this.setup.signal);
    }
  }

  private get shown(): string {
    return shownKey(this.writer.name.view);
  }

  private async sendWhole(value: LargeValue): Promise<void> {
    const bytes = Buffer.allocUnsafeSlow(value.to - value.from);
    let at = 0;
    for await (const chunk of this.read(value)) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    this.writer.write(value.head, value.module, bytes, 0, bytes.length);
    await this.router.drained();
    this.setup.onSent();
  }

  private async stream(value: LargeValue, version: number, expiry: number): Promise<Outcome> {
    const { writer, setup } = this;
    const { dialect, name, rules } = writer;
    const { asked } = this;
    this.asked = null;
    const node = asked === null ? writer.node(value.head.database) : await this.router.node(asked.host, asked.port);
    const counted = writer.countsReplaced(value.head.database);
    const replace = setup.options.onConflict === 'REPLACE';
    let begun = 0;
    const [existed, reply] = await node.alone(async (way) => {
      const ask = async (): Promise<void> => {
        if (asked === null) return;
        await way.write(ASKING);
        await way.reply();
      };
      begun += 1;
      let found: Reply = 0;
      await ask();
      if (counted || (replace && !dialect.replaces)) {
        await way.write(encoded([dialect.replaces ? word('EXISTS') : dialect.unlink, name.view]));
        found = await way.reply();
        await ask();
      }
      const ttl = writer.ttlArgument(expiry, rules.now());
      const options = [...(replace && dialect.replaces ? [word('REPLACE')] : []), ...(ttl !== NO_EXPIRY && dialect.absolute ? [word('ABSTTL')] : [])];
      const length = value.to - value.from + PAYLOAD_EXTRA;
      const head = Buffer.from([value.head.rdbType]);
      await way.write(Buffer.concat([word(`*${4 + options.length}\r\n`), bulks([word('RESTORE'), name.view, word(String(ttl))]), word(`$${length}\r\n`), head]));
      const crc = new Crc64();
      crc.update(head);
      for await (const chunk of this.read(value)) {
        crc.update(chunk);
        // The source may use its memory again for the next chunk before the socket has taken this one.
        await way.write(Buffer.from(chunk));
        setup.onSent();
      }
      const trailer = Buffer.alloc(10);
      trailer.writeUInt16LE(version, 0);
      crc.update(trailer.subarray(0, 2));
      crc.writeTo(trailer, 2);
      await way.write(Buffer.concat([trailer, word('\r\n'), bulks(options)]));
      return [found, await way.reply()] as const;
    });
    return this.judge(node, reply, existed === 1, begun > 1);
  }

  private async pieces(value: LargeValue, expiry: number): Promise<Outcome> {
    const { router, writer, setup, ledger } = this;
    const { dialect, name, rules } = writer;
    const made = writer.temporaryName();
    const key = name.copy;
    const node = writer.node(value.head.database);
    const before = router.reconnects;
    const losses = new Map<LossName, number>();
    const errors: ReplyError[] = [];
    const call = async (...command: readonly Uint8Array[]): Promise<Reply> => {
      const reply = await node.call(command);
      if (reply instanceof ReplyError) errors.push(reply);
      return reply;
    };
    const under: Promise<Reply>[] = [];
    let any = false;
    let fault: unknown;
    try {
      for await (const piece of splitValue(value.head.rdbType, setup.magic, this.read(value), value.from)) {
        const commands = valueCommands({
          rdbType: value.head.rdbType, magic: setup.magic, key: made, value: piece, offset: value.from, target: rules.target, nowMs: rules.now(),
          fieldExpiry: rules.fieldExpiry, onLoss: (loss, count) => losses.set(loss, (losses.get(loss) ?? 0) + count),
        });
        for (const command of commands) {
          any = true;
          const reply = call(...command);
          reply.catch(() => undefined);
          under.push(reply);
          if (under.length >= MOST_UNDER_WAY) await under.shift();
        }
        setup.onSent();
        if (errors.length > 0 || router.reconnects !== before) break;
      }
    } catch (error) {
      router.assertSound();
      fault = error;
    }
    await Promise.all(under);
    const unaccepted = [...losses.keys()].filter((loss) => !setup.options.acceptedLosses.includes(loss));
    const problem = fault !== undefined ? (fault instanceof Error ? fault.message : 'It could not be read.') : unaccepted.length > 0 ? `Some of its value would be lost: ${unaccepted.join(', ')}.` : null;
    // What was sent twice may be there twice: lists are appended to.
    const twice = router.reconnects !== before;
    if (problem !== null || twice || errors.length > 0 || !any) {
      await node.call([dialect.unlink, made]);
      if (problem !== null) {
        if (fault instanceof DomainError && fault.code !== 'CORRUPT') throw fault;
        ledger.fail(this.shown, problem);
      } else if (twice) return 'AGAIN';
      else if (errors[0] !== undefined) return this.judge(node, errors[0], false, false);
      else writer.writeExpired(value.head.database);
      return 'DONE';
    }
    for (const [loss, count] of losses) ledger.lose(loss, count);
    if (expiry !== NO_EXPIRY) await call(word('PEXPIREAT'), made, word(String(expiry)));
    const replace = setup.options.onConflict === 'REPLACE';
    const existed = writer.countsReplaced(value.head.database) ? await call(word('EXISTS'), key) : 0;
    const renamed = await node.call([word(replace ? 'RENAME' : 'RENAMENX'), made, key]);
    const again = router.reconnects !== before;
    // Asked once more after a lost answer: it has been renamed already.
    if (again && renamed instanceof ReplyError && /no such key/i.test(renamed.text)) return this.judge(node, 'OK', existed === 1, true);
    if (renamed === 0) await node.call([dialect.unlink, made]);
    return this.judge(node, renamed === 1 ? 'OK' : renamed === 0 ? new ReplyError('BUSYKEY') : renamed, existed === 1, again);
  }

  private async judge(node: NodePipeline, reply: Reply, existed: boolean, again: boolean): Promise<Outcome> {
    if (reply === 'OK') {
      this.ledger.written(existed, again);
      return 'DONE';
    }
    if (!(reply instanceof ReplyError)) throw new DomainError('PROTOCOL_ERROR', `${node.address} answered with something that is no reply to what it was asked.`);
    if (reply.code === 'BUSYKEY') {
      this.ledger.conflict(this.shown, again);
      return 'DONE';
    }
    const redirect = redirectIn(reply.text, node.endpoint.host);
    if (redirect?.kind === 'MOVED') await this.router.moved(redirect.slot, redirect.host, redirect.port);
    // A slot on its way. A value in one piece is taken where it goes to; one in several has no place until it has arrived.
    if (redirect?.kind === 'ASK') this.asked = redirect;
    if (redirect !== null || reply.code === 'TRYAGAIN') return 'AGAIN';
    this.ledger.refusedFor(node, this.shown, reply);
    return 'DONE';
  }

  private read({ from, to }: LargeValue): AsyncIterable<Uint8Array> {
    const { source, signal, stallMs } = this.setup;
    return readPieces(source, { signal, stallMs, start: BigInt(from), end: BigInt(to) });
  }
}

const MOST_UNDER_WAY = 16;

const bulks = (args: readonly Uint8Array[]): Buffer => Buffer.concat(args.flatMap((arg) => [word(`$${arg.length}\r\n`), arg, word('\r\n')]));
const encoded = (args: readonly Uint8Array[]): Buffer => Buffer.concat([word(`*${args.length}\r\n`), bulks(args)]);
