import { type Socket } from 'node:net';
import { addressOf } from '../../domain/address.js';
import { abortReason, DomainError } from '../../domain/errors.js';
import { plainAddress } from './peers.js';
import { RequestParser } from './request-parser.js';

/** Counted by the replica like every byte of the stream: 37 bytes. Servers before 3.0 do not know it and acknowledge each second anyway. */
const GETACK = Buffer.from('*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n');
/** So much has to get through in `sendStallMs`. */
const PIECE_BYTES = 1024 * 1024;
const PING = Buffer.from('*1\r\n$4\r\nPING\r\n');

/**
 * The master's side of a replication link after the replica's `PSYNC`: full resync, payload, then signs of life until it is
 * destroyed. Every write waits for the replica's window, and a replica that takes nothing for `sendStallMs` is cut.
 */
export class ReplicaLink {
  /** Bytes of the payload that have left this process. */
  get payloadSent(): bigint {
    return this.sent > BigInt(this.socket.writableLength) ? this.sent - BigInt(this.socket.writableLength) : 0n;
  }

  private sent = 0n;
  private readonly parser = new RequestParser();
  private acknowledged = -1n;
  private ended = false;
  private ping: NodeJS.Timeout | undefined;
  private readonly waiters = new Set<() => void>();
  private readonly peer: string;

  constructor(private readonly socket: Socket, private readonly options: { sendStallMs: number; pingMs: number }) {
    this.peer = addressOf({ host: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 });
    socket.on('data', this.onData);
    socket.once('close', this.onClose);
    if (socket.destroyed) this.onClose();
    else socket.resume();
  }

  get alive(): boolean {
    return !this.ended;
  }

  /** `+FULLRESYNC`, then the announcement of `length` bytes. `offset` is what the replica will acknowledge once it has loaded. */
  async announce(replid: string, offset: bigint, length: bigint, signal: AbortSignal): Promise<void> {
    await this.write(Buffer.from(`+FULLRESYNC ${replid} ${offset}\r\n$${length}\r\n`), signal);
  }

  /**
   * A piece of the payload. Resolves when there is room for the next; `onLeft` is called when this one has left the process, and never for one
   * that did not. Fails with CONNECT_FAILED, TOO_SLOW, or the signal's reason.
   */
  async send(piece: Uint8Array, signal?: AbortSignal, onLeft?: () => void): Promise<void> {
    for (let at = 0; at < piece.length; at += PIECE_BYTES) {
      const part = piece.subarray(at, at + PIECE_BYTES);
      this.sent += BigInt(part.length);
      await this.write(part, signal, at + PIECE_BYTES >= piece.length ? onLeft : undefined);
    }
  }

  /** Ends the payload: asks for the acknowledgement and goes on with signs of life, which keep `repl-timeout` away. */
  startStream(): void {
    this.socket.write(GETACK);
    this.ping = setInterval(() => {
      // A replica that loads reads nothing: what it has not taken yet is enough.
      if (this.socket.writableLength < 64 * 1024) this.socket.write(PING);
    }, this.options.pingMs);
  }

  hasAcknowledged(offset: bigint): boolean {
    return this.acknowledged >= offset;
  }

  /** Resolves at the next acknowledgement or the end of the link, and after `ms` at the latest. */
  change(ms: number): Promise<void> {
    if (this.ended) return Promise.resolve();
    return new Promise((done) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.waiters.delete(wake);
        done();
      };
      const timer = setTimeout(wake, ms);
      this.waiters.add(wake);
    });
  }

  destroy(): void {
    this.socket.destroy();
    this.onClose();
  }

  private write(bytes: Uint8Array, signal?: AbortSignal, onLeft?: () => void): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    if (this.ended) return Promise.reject(this.lost());
    const left = onLeft && ((error?: Error | null): void => { if (!error) onLeft(); });
    if (this.socket.write(bytes, left)) return Promise.resolve();
    return new Promise((done, fail) => {
      const finish = (error?: DomainError): void => {
        clearTimeout(timer);
        this.socket.off('drain', onDrain);
        this.waiters.delete(onChange);
        signal?.removeEventListener('abort', onAbort);
        if (error) fail(error);
        else done();
      };
      const onDrain = (): void => finish();
      const onChange = (): void => { if (this.ended) finish(this.lost()); };
      const onAbort = (): void => { if (signal) finish(abortReason(signal)); };
      const timer = setTimeout(() => {
        finish(new DomainError('TOO_SLOW', `${this.peer} took nothing for ${this.options.sendStallMs} ms, after ${this.sent} bytes of the payload at most.`, {
          hint: 'The target is frozen, its disk is full or slow, or the network drops packets: look at the target\'s log.',
          retryable: true,
        }));
        this.destroy();
      }, this.options.sendStallMs);
      this.socket.once('drain', onDrain);
      this.waiters.add(onChange);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  private lost(): DomainError {
    return new DomainError('CONNECT_FAILED', `${this.peer} closed the replication link after ${this.payloadSent} bytes of the payload.`, {
      hint: 'Look at the target\'s log: it was stopped, ran out of disk space for the transfer, or somebody changed its replication.',
      retryable: true,
    });
  }

  private readonly onData = (chunk: Buffer): void => {
    try {
      for (const [name, what, offset] of this.parser.push(chunk)) {
        // All that a replica says from here on. Whatever else comes changes nothing and gets no answer.
        if (name?.toString('latin1').toUpperCase() !== 'REPLCONF' || what?.toString('latin1').toUpperCase() !== 'ACK') continue;
        const text = offset?.toString('latin1') ?? '';
        if (/^\d{1,19}$/.test(text)) this.acknowledged = BigInt(text);
      }
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.destroy();
      return;
    }
    this.wake();
  };

  private readonly onClose = (): void => {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.ping);
    this.socket.off('data', this.onData);
    this.wake();
  };

  private wake(): void {
    for (const waiter of [...this.waiters]) waiter();
  }
}
