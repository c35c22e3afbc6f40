import { type Socket } from 'node:net';
import { addressOf } from '../../../domain/address.js';
import { abortReason, DomainError } from '../../../domain/errors.js';
import { Changes } from '../../changes.js';
import { type Dial, type Endpoint } from '../../ports.js';
import { authArguments, authFailed, encodeCommand, refusalHint, ReplyError } from '../../resp.js';
import { ReplyParser, type Reply } from './reply-parser.js';

export interface LinkTimes {
  /** For connecting, logging in and asking who is there. */
  commandMs: number;
  /** The server is owed an answer, and neither takes nor sends a byte. */
  sendStallMs: number;
}

/** Who answered, as INFO said on this very connection. */
export interface ServerIdentity {
  runId: string;
  version: string;
  role: string;
  /** Of this connection; null before 5.0, or without the right to ask. */
  clientId: number | null;
}

/** The connection ended. What was sent and not answered may or may not have been done. */
export class LinkLost extends Error {
  constructor(readonly why: DomainError) {
    super(why.message);
    this.name = 'LinkLost';
  }
}

/**
 * A connection for commands in masses: dialled through the policy, logged in, and asked who answers. Replies go to `onReply` in the order of the
 * commands; its end is told once, to `onEnd`.
 */
export class DataLink {
  onReply: (reply: Reply) => void = () => undefined;
  onEnd: (lost: LinkLost) => void = () => undefined;
  /** Bytes that have been handed over. */
  sent = 0;
  ended: LinkLost | undefined;
  identity: ServerIdentity = { runId: '', version: '', role: '', clientId: null };
  private readonly address: string;
  private readonly parser: ReplyParser;
  private readonly changes = new Changes();
  private readonly watch: NodeJS.Timeout;
  /** Whether the server is owed to answer; it is told by whoever sends. */
  owed: () => boolean = () => false;
  private moved = performance.now();
  private lastWritten = 0;

  private constructor(private readonly socket: Socket, endpoint: Endpoint, private readonly times: LinkTimes, private readonly signal: AbortSignal) {
    this.address = addressOf(endpoint);
    this.parser = new ReplyParser((reply) => this.onReply(reply));
    socket.on('data', this.onData).on('drain', this.onDrain).on('error', this.onError).on('close', this.onClose);
    signal.addEventListener('abort', this.onAbort, { once: true });
    this.watch = setInterval(() => this.look(), Math.max(20, times.sendStallMs / 8));
    if (signal.aborted) this.onAbort();
    else if (socket.destroyed) this.onClose();
    else socket.resume();
  }

  /** Fails with CONNECT_FAILED, TARGET_NOT_ALLOWED, AUTH_FAILED, PERMISSION_MISSING (INFO), PROTOCOL_ERROR, or the signal's reason. */
  static async open(endpoint: Endpoint, deps: { dial: Dial }, times: LinkTimes, signal: AbortSignal): Promise<DataLink> {
    const socket = await deps.dial(endpoint, { signal, timeoutMs: times.commandMs });
    socket.setNoDelay(true);
    const link = new DataLink(socket, endpoint, times, signal);
    const late = setTimeout(() => link.end(new DomainError('CONNECT_FAILED', `${link.address} did not answer within ${times.commandMs} ms.`, { hint: 'The server is silent or overloaded.', retryable: true })), times.commandMs);
    try {
      await link.introduce(endpoint);
      return link;
    } catch (error) {
      link.close();
      if (signal.aborted) throw abortReason(signal);
      throw error instanceof LinkLost ? error.why : error;
    } finally {
      clearTimeout(late);
    }
  }

  get alive(): boolean {
    return this.ended === undefined;
  }

  /** Sends bytes, which must stay as they are until they have been answered. False: better wait for `drained` before the next. */
  write(bytes: Uint8Array): boolean {
    if (this.ended !== undefined) return true;
    if (!this.owed()) this.moved = performance.now();
    this.sent += bytes.length;
    return this.socket.write(bytes);
  }

  /** Resolves when the socket takes more. Fails with LinkLost. */
  async drained(): Promise<void> {
    while (this.socket.writableNeedDrain) {
      if (this.ended !== undefined) throw this.ended;
      await this.changes.next();
    }
    if (this.ended !== undefined) throw this.ended;
  }

  /** One command while nothing else is under way. Fails with LinkLost. */
  ask(...command: readonly string[]): Promise<Reply> {
    const { onReply, onEnd, owed } = this;
    const restore = (): void => {
      this.onReply = onReply;
      this.onEnd = onEnd;
      this.owed = owed;
    };
    return new Promise((done, fail) => {
      if (this.ended !== undefined) return fail(this.ended);
      this.onReply = (reply) => {
        restore();
        done(reply);
      };
      this.onEnd = (lost) => {
        restore();
        fail(lost);
      };
      this.write(Buffer.from(encodeCommand(command)));
      this.owed = () => true;
    });
  }

  /** Ends it for a reason; `onEnd` is told. */
  end(why: DomainError): void {
    if (this.ended !== undefined) return;
    this.ended = new LinkLost(why);
    this.release();
    this.changes.tell();
    this.onEnd(this.ended);
  }

  /** Ends it; nobody is told. */
  close(): void {
    this.onEnd = () => undefined;
    this.end(new DomainError('INTERRUPTED', `The connection to ${this.address} was closed.`));
  }

  private release(): void {
    clearInterval(this.watch);
    this.signal.removeEventListener('abort', this.onAbort);
    this.socket.off('data', this.onData).off('drain', this.onDrain).off('close', this.onClose);
    this.socket.destroy();
  }

  private async introduce(endpoint: Endpoint): Promise<void> {
    const credential = authArguments(endpoint);
    if (credential) {
      const reply = await this.ask('AUTH', ...credential);
      if (reply instanceof ReplyError) throw authFailed(this.address, reply.text);
    }
    const info = await this.ask('INFO');
    if (info instanceof ReplyError) {
      const hint = refusalHint(info.text);
      if (hint !== undefined) throw new DomainError('CONNECT_FAILED', `${this.address} refuses this client: ${info.text}`, { hint, retryable: true });
      if (info.code === 'NOAUTH') throw authFailed(this.address, info.text);
      throw new DomainError('PERMISSION_MISSING', `${this.address} answered INFO with: ${info.text}`, { hint: 'Grant the user +info: without it nobody can tell whether it is still the same server.' });
    }
    if (!Buffer.isBuffer(info)) throw new DomainError('PROTOCOL_ERROR', `${this.address} answered INFO with something that is no text.`, { hint: 'Check that this is a Redis or Valkey server.' });
    const text = info.toString('utf8');
    const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(text)?.[1];
    const clientId = await this.ask('CLIENT', 'ID');
    this.identity = {
      runId: field('run_id') ?? '', version: field('valkey_version') ?? field('redis_version') ?? '', role: field('role') ?? '',
      clientId: typeof clientId === 'number' ? clientId : null,
    };
  }

  /** Nothing moves in either direction although the server has to answer. */
  private look(): void {
    const written = this.socket.bytesWritten - this.socket.writableLength;
    if (written !== this.lastWritten || !this.owed()) {
      this.lastWritten = written;
      this.moved = performance.now();
    } else if (performance.now() - this.moved > this.times.sendStallMs) {
      this.end(new DomainError('TOO_SLOW', `${this.address} has neither taken nor answered anything for ${this.times.sendStallMs} ms.`, { hint: 'The target is frozen, or the network drops packets: look at the target\'s log.', retryable: true }));
    }
  }

  private readonly onData = (chunk: Buffer): void => {
    this.moved = performance.now();
    try {
      this.parser.push(chunk);
    } catch (error) {
      this.end(error instanceof DomainError ? error : new DomainError('INTERNAL', 'A reply of the target could not be taken in.', { cause: error }));
    }
  };

  private readonly onDrain = (): void => this.changes.tell();

  /** A close follows. */
  private readonly onError = (): void => undefined;

  private readonly onClose = (): void =>
    this.end(new DomainError('CONNECT_FAILED', `${this.address} closed the connection.`, { hint: 'Look at the target\'s log: it was stopped, or it cut this client off.', retryable: true }));

  private readonly onAbort = (): void => this.end(abortReason(this.signal));
}
