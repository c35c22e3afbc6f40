import { type Socket } from 'node:net';
import { addressOf } from '../../../domain/address.js';
import { abortReason, DomainError } from '../../../domain/errors.js';
import { type Endpoint } from '../../ports.js';
import { ReplyError } from '../../resp.js';

export { ReplyError } from '../../resp.js';

export type Reply = string | Buffer | bigint | null | ReplyError | Reply[];

/** Bytes waiting to be read before the server is made to wait. */
const PAUSE_AT = 1024 * 1024;
/** Longest line, and longest bulk string and list, that a small reply may have: names of keys are at most 512 MiB, and nobody has such. */
const MAX_LINE = 64 * 1024;
const MAX_BULK = 16 * 1024 * 1024;
const MAX_ITEMS = 1_000_000;

/**
 * The client's side of a RESP2 connection whose bulk replies may be larger than memory: they are handed over in pieces as they come. Replies
 * are read in the order of the commands. Fails with SOURCE_DISCONNECTED, PROTOCOL_ERROR, what `fail` was called with, or the signal's reason.
 */
export class ReplyStream {
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  private wake: (() => void) | undefined;
  private failure: unknown;
  private readonly address: string;

  constructor(private readonly socket: Socket, endpoint: Endpoint, private readonly signal: AbortSignal, private readonly onReceived: () => void) {
    this.address = addressOf(endpoint);
    socket.on('data', this.onData).on('close', this.onClose);
    signal.addEventListener('abort', this.onAbort, { once: true });
    if (signal.aborted) this.onAbort();
  }

  /** Whether the server has to wait for us. */
  get heldUp(): boolean {
    return this.socket.isPaused();
  }

  send(...command: readonly (string | Buffer)[]): void {
    this.socket.write(`*${command.length}\r\n`);
    for (const part of command) {
      this.socket.write(`$${Buffer.byteLength(part)}\r\n`);
      this.socket.write(part);
      this.socket.write('\r\n');
    }
  }

  /** Commands that are sent meanwhile leave together. */
  async together(send: () => void): Promise<void> {
    this.socket.cork();
    send();
    this.socket.uncork();
    if (!this.socket.writableNeedDrain) return;
    const drained = (): void => this.wake?.();
    this.socket.once('drain', drained);
    await this.change(() => !this.socket.writableNeedDrain).finally(() => this.socket.off('drain', drained));
  }

  /** One whole reply, for those that are small. */
  async reply(): Promise<Reply> {
    const line = await this.line();
    const rest = line.slice(1);
    switch (line[0]) {
      case '+':
        return rest;
      case '-':
        return new ReplyError(rest);
      case ':':
        return BigInt(/^-?\d{1,19}$/.test(rest) ? rest : this.violated(line));
      case '$': {
        const length = this.lengthOf(line, MAX_BULK);
        if (length < 0) return null;
        const parts: Buffer[] = [];
        await this.take(length, (piece) => void parts.push(Buffer.from(piece)));
        await this.lineEnd();
        return Buffer.concat(parts);
      }
      case '*': {
        const items: Reply[] = [];
        for (let left = this.lengthOf(line, MAX_ITEMS); left > 0; left -= 1) items.push(await this.reply());
        return items;
      }
      default:
        return this.violated(line);
    }
  }

  /** A bulk reply of any length. Null: there is none; an error reply is returned as such. A piece is `onPiece`'s own. */
  async bulk(begin: (length: number) => void, onPiece: (piece: Buffer) => void | Promise<void>): Promise<'read' | null | ReplyError> {
    const line = await this.line();
    if (line.startsWith('-')) return new ReplyError(line.slice(1));
    if (!line.startsWith('$')) return this.violated(line);
    const length = this.lengthOf(line, Number.MAX_SAFE_INTEGER);
    if (length < 0) return null;
    begin(length);
    await this.take(length, onPiece);
    await this.lineEnd();
    return 'read';
  }

  /** Ends whatever waits, with the first error given. */
  fail(error: unknown): void {
    this.failure ??= error;
    this.wake?.();
    this.socket.destroy();
  }

  close(): void {
    this.signal.removeEventListener('abort', this.onAbort);
    this.socket.off('data', this.onData).off('close', this.onClose);
    this.socket.destroy();
  }

  private async line(): Promise<string> {
    const parts: Buffer[] = [];
    for (let length = 0; ; ) {
      const chunk = await this.head();
      const end = chunk.indexOf(0x0a);
      const part = this.shift(end < 0 ? chunk.length : end + 1);
      parts.push(part);
      length += part.length;
      if (length > MAX_LINE) return this.violated('a line without an end');
      if (end >= 0) break;
    }
    return Buffer.concat(parts).toString('latin1').replace(/\r?\n$/, '');
  }

  private async lineEnd(): Promise<void> {
    if ((await this.line()) !== '') this.violated('more than it announced');
  }

  private async take(length: number, onPiece: (piece: Buffer) => void | Promise<void>): Promise<void> {
    for (let left = length; left > 0; ) {
      const chunk = await this.head();
      const piece = this.shift(Math.min(left, chunk.length));
      left -= piece.length;
      await onPiece(piece);
    }
  }

  private async head(): Promise<Buffer> {
    if (this.chunks.length === 0) await this.change(() => this.chunks.length > 0);
    return this.chunks[0] as Buffer;
  }

  private shift(length: number): Buffer {
    const chunk = this.chunks[0] as Buffer;
    const part = chunk.subarray(0, length);
    if (length === chunk.length) this.chunks.shift();
    else this.chunks[0] = chunk.subarray(length);
    this.bytes -= length;
    if (this.bytes < PAUSE_AT / 2 && this.socket.isPaused()) this.socket.resume();
    return part;
  }

  private async change(until: () => boolean): Promise<void> {
    while (!until()) {
      if (this.failure !== undefined) throw this.failure;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  private lengthOf(line: string, most: number): number {
    const length = Number(/^[$*](-1|\d{1,16})$/.exec(line)?.[1]);
    if (Number.isNaN(length) || length > most) return this.violated(line);
    return length;
  }

  private violated(what: string): never {
    throw new DomainError('PROTOCOL_ERROR', `${this.address} answered with ${JSON.stringify(what.slice(0, 64))}, which is no reply to what it was asked.`, {
      hint: 'Check that this address is a Redis or Valkey server, and whether something between here and there changes the bytes.',
    });
  }

  private readonly onData = (chunk: Buffer): void => {
    this.onReceived();
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    if (this.bytes > PAUSE_AT) this.socket.pause();
    this.wake?.();
  };

  private readonly onClose = (): void => {
    this.fail(new DomainError('SOURCE_DISCONNECTED', `${this.address} closed the connection while its keys were read.`, {
      hint: 'Check the log of the server.', retryable: true,
    }));
  };

  private readonly onAbort = (): void => this.fail(abortReason(this.signal));
}
