import { type Socket } from 'node:net';
import { addressOf } from '../../domain/address.js';
import { abortReason, DomainError } from '../../domain/errors.js';
import { type Dial, type Endpoint, type Log } from '../ports.js';
import { encodeCommand } from '../resp.js';
import { Gathering } from './gathering.js';
import { readFullResync, replyError, shakeHands } from './handshake.js';
import { checkSize, DEFAULT_SOURCE_LIMITS, type SourceLimits, TransferWatch } from './limits.js';
import { type Framing, LinkParser } from './link-parser.js';
import { LinkReading } from './link-reading.js';
import { SpillQueue } from './spill-queue.js';

export interface ReceiveOptions {
  engine: 'REDIS' | 'VALKEY';
  version: string;
  /** Accept a diskless transfer (`capa eof`). Default true. */
  acceptDiskless?: boolean | undefined;
  limits?: Partial<SourceLimits> | undefined;
  /** Folder for bytes of servers that cannot be made to wait (before 6.2). Without one only memory is used. */
  spillDirectory?: string | undefined;
  /** Size that the spill file may reach. Default 4 GiB. */
  spillBytes?: number | undefined;
  onEvent?: ((event: ReceiveEvent) => void) | undefined;
  /** Awaited when all is said but PSYNC; what it rejects with ends the transfer, and the server was never asked to save. */
  beforeSync?: (() => Promise<void>) | undefined;
  /** Of a replica: whose data it has to send, and from when at the earliest. Anything else is CONFLICT, before its first byte. */
  history?: { replicationId: string; offset: bigint } | undefined;
}

export type ReceiveEvent =
  /** PSYNC was sent: the server forks and saves. */
  | { kind: 'snapshotting' }
  /** The payload's header came: the server has begun to save, or, where it saves to its disk first, has saved. */
  | { kind: 'saving' }
  /** The payload's first byte came. `length` is null where the server does not say how much it will send. */
  | { kind: 'transferring'; framing: Framing; length: bigint | null };

export interface ReceivedRdb {
  replicationId: string;
  /** The position in the replication stream that the RDB stands for. */
  offset: bigint;
  framing: Framing;
  bytes: bigint;
  /** Whether the server sent nothing but the RDB. */
  rdbOnly: boolean;
  /**
   * Resolves when the connection is gone: a server that closes by itself gets a moment to do so, in which the bytes can be worked on
   * already. To be awaited before the server counts as free; never rejects.
   */
  closed: Promise<void>;
}

/** Takes the payload in order; the next piece comes when it has returned, and may lie in the same memory. */
export type Sink = (piece: Buffer) => void | Promise<void>;

/** The same sink, while it is not at work: takes what arrives right where it was read, with no queue in between. */
export interface DirectSink {
  /** Takes from the beginning of the payload's next bytes what it can without waiting; returns how much. */
  take(piece: Buffer): number;
  /** What came with this read has been taken. */
  look(): void;
}

/** Bytes waiting for the sink before a source that can wait is made to. */
const PAUSE_AT = 4 * 1024 * 1024;
const RESUME_AT = 2 * 1024 * 1024;
/** A paused source gets to send a little each time this has passed: one whose bytes nobody takes for repl-timeout cuts the link. */
const TRICKLE_MS = 1_500;
/** A queue that grows while trickling ends here; the source then waits, and may give up. */
const TRICKLE_UNTIL = 16 * 1024 * 1024;
/** A source that cannot wait is held up for no longer than a busy disk needs to take what is on its way. */
const DISK_BREATH_MS = 50;
/** Memory for sources that cannot wait, twice: before the spill file, and on the way into it. */
const SPILL_MEMORY = 16 * 1024 * 1024;
/** How long bytes may gather before they are read: see `Gathering`. */
const GATHER_MS = 8;
/** A sink that never waits still lets other work run after so many bytes. */
const YIELD_EVERY = 512 * 1024;
/** An rdb-only server closes by itself; closing first can log a killed child there. */
const FIN_WAIT_MS = 300;

/**
 * Takes one RDB from a running server by playing its replica: own socket, handshake, `PSYNC ? -1`, payload. Between PSYNC and
 * the payload nothing is sent, since the server measures its diskless delay as our idle time. Servers that send only the
 * RDB are made to wait for the sink; older ones are read at full speed into a bounded spill, because what they gather for a slow replica
 * counts against their output buffer limit.
 *
 * Fails with CONNECT_FAILED, TARGET_NOT_ALLOWED, AUTH_FAILED, PERMISSION_MISSING, ENGINE_UNSUPPORTED, PROTOCOL_ERROR,
 * SOURCE_DISCONNECTED, SOURCE_BUFFER_LIMIT, TOO_SLOW, LIMIT_EXCEEDED, what the sink throws, or the signal's reason. The
 * socket is gone when it has failed, and when `closed` of its result has resolved.
 */
export const receiveRdb = async (
  endpoint: Endpoint,
  deps: { dial: Dial; log: Log },
  options: ReceiveOptions,
  signal: AbortSignal,
  sink: Sink,
  direct?: DirectSink,
): Promise<ReceivedRdb> => {
  const limits = { ...DEFAULT_SOURCE_LIMITS, ...options.limits };
  const startedAt = Date.now();
  const reading = new LinkReading();
  const socket = await deps.dial(endpoint, { signal, timeoutMs: Math.min(limits.handshakeMs, 5_000), reading });
  const link = new Link(socket, addressOf(endpoint), limits, options, signal, direct);
  const gathering = new Gathering();
  reading.deliverTo((chunk) => {
    link.onData(chunk);
    return !link.mayGather || !gathering.after(chunk.length) || link.gather();
  });
  try {
    const received = await link.receive(endpoint, limits.handshakeMs - (Date.now() - startedAt), sink);
    const closed = link.close(true).catch((cause: unknown) => {
      deps.log.warn('the buffer file of a transfer that is complete could not be closed', { address: addressOf(endpoint), cause: String(cause) });
    });
    return { ...received, closed };
  } catch (error) {
    await link.close(false);
    throw error;
  }
};

class Link {
  private readonly parser: LinkParser;
  private readonly lines: string[] = [];
  /** The sink waits for bytes, and none are in the queue. */
  private sinkIsIdle = false;
  private tookDirectly = false;
  private waiting: { resolve: (line: string) => void; reject: (error: unknown) => void } | undefined;
  private failure: unknown;
  private queue: SpillQueue | undefined;
  private watch: TransferWatch | undefined;
  private psync: { replicationId: string; offset: bigint } | undefined;
  private framing: Framing = 'EOF_MARK';
  private length: bigint | null = null;
  private asked = false;
  private rdbOnly = false;
  /** Whether the source has to wait for the sink. */
  private heldUp = false;
  private trickle: NodeJS.Timeout | undefined;
  private isGathering = false;
  private gathering: NodeJS.Timeout | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly address: string,
    private readonly limits: SourceLimits,
    private readonly options: ReceiveOptions,
    private readonly signal: AbortSignal,
    private readonly direct: DirectSink | undefined,
  ) {
    this.parser = new LinkParser(address, {
      keepAlive: () => undefined,
      line: (line) => this.onLine(line),
      header: (framing, length) => this.onHeader(framing, length),
      payload: (piece) => this.onPayload(piece),
      end: () => {
        this.watch?.stop();
        this.queue?.end();
      },
    });
    socket.on('data', this.onData);
    socket.on('error', this.onError);
    socket.on('close', this.onClose);
    signal.addEventListener('abort', this.onAbort, { once: true });
    if (signal.aborted) this.onAbort();
  }

  async receive(endpoint: Endpoint, handshakeMs: number, sink: Sink): Promise<Omit<ReceivedRdb, 'closed'>> {
    const timer = setTimeout(() => this.fail(this.silent()), Math.max(1, handshakeMs));
    try {
      const { engine, version, acceptDiskless = true } = this.options;
      const local = { address: this.socket.localAddress ?? '127.0.0.1', port: this.socket.localPort ?? 0 };
      const agreement = await shakeHands((...command) => this.ask(command), endpoint, this.address, { engine, version, acceptDiskless, local });
      this.rdbOnly = agreement.rdbOnly;
    } finally {
      clearTimeout(timer);
    }

    this.queue = new SpillQueue(
      this.rdbOnly
        ? { memoryBytes: 2 * TRICKLE_UNTIL, fileBytes: 0 }
        : { memoryBytes: SPILL_MEMORY, fileBytes: this.options.spillBytes ?? 4 * 1024 ** 3, directory: this.options.spillDirectory },
      (error) => this.fail(error),
    );
    if (this.failure !== undefined) throw this.failure;
    await this.options.beforeSync?.();
    if (this.failure !== undefined) throw this.failure;
    this.watch = new TransferWatch(this.address, this.limits, () => this.heldUp, (error) => this.fail(error));
    this.asked = true;
    this.options.onEvent?.({ kind: 'snapshotting' });
    this.socket.write(encodeCommand(['PSYNC', '?', '-1']));
    await this.drain(this.queue, sink);
    if (!this.psync) throw this.silent();
    return { ...this.psync, framing: this.framing, bytes: this.parser.payloadBytes, rdbOnly: this.rdbOnly };
  }

  /** Ends the connection: after a complete transfer lets a server that closes by itself do so, for a moment. */
  async close(complete: boolean): Promise<void> {
    this.watch?.stop();
    clearTimeout(this.trickle);
    clearTimeout(this.gathering);
    this.signal.removeEventListener('abort', this.onAbort);
    if (complete && this.rdbOnly && !this.socket.destroyed) {
      this.socket.resume();
      await new Promise<void>((done) => {
        const timer = setTimeout(done, FIN_WAIT_MS);
        const finish = (): void => {
          clearTimeout(timer);
          done();
        };
        this.socket.once('end', finish).once('close', finish);
        if (this.socket.readableEnded) finish();
      });
    }
    this.socket.off('data', this.onData).off('close', this.onClose);
    this.socket.destroy();
    await this.queue?.close();
  }

  private ask(command: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      // A server that refuses its client says so unasked and closes; that line tells more than the closing.
      const refusal = this.lines.shift();
      if (refusal !== undefined) return resolve(refusal);
      if (this.failure !== undefined) return reject(this.failure);
      this.waiting = { resolve, reject };
      this.socket.write(encodeCommand(command));
    });
  }

  private async drain(queue: SpillQueue, sink: Sink): Promise<void> {
    let sinceYield = 0;
    const next = async (): Promise<Buffer | undefined> => {
      this.sinkIsIdle = true;
      const piece = await queue.take();
      this.sinkIsIdle = false;
      return piece;
    };
    for (let piece = await next(); piece; piece = await next()) {
      await sink(piece);
      if (this.heldUp && queue.unwrittenBytes <= RESUME_AT && (!this.rdbOnly || queue.pendingBytes <= RESUME_AT)) this.resume();
      sinceYield += piece.length;
      if (sinceYield >= YIELD_EVERY) {
        sinceYield = 0;
        await new Promise((next) => setImmediate(next));
      }
    }
  }

  /** The chunk's memory is the caller's again when it returns. */
  readonly onData = (chunk: Buffer): void => {
    this.watch?.received();
    try {
      this.parser.push(chunk);
      if (!this.tookDirectly) return;
      this.tookDirectly = false;
      this.direct?.look();
    } catch (error) {
      this.fail(error);
    }
  };

  private onLine(line: string): void {
    if (!this.asked) {
      const { waiting } = this;
      this.waiting = undefined;
      if (waiting) waiting.resolve(line);
      else if (line.startsWith('-') && this.lines.length === 0) this.lines.push(line);
      else throw this.babble();
      return;
    }
    // An error line between +FULLRESYNC and the payload: the server could not save.
    if (this.psync) throw line.startsWith('-') ? replyError(this.address, 'PSYNC', line) : this.babble();
    const psync = readFullResync(this.address, line);
    this.checkHistory(psync);
    this.psync = psync;
    this.parser.payloadExpected = true;
  }

  /** The id and the offset of a replica are those of its master's stream; this is the save itself, where all else was asked before it. */
  private checkHistory({ replicationId, offset }: { replicationId: string; offset: bigint }): void {
    const { history } = this.options;
    if (!history || (replicationId === history.replicationId && offset >= history.offset)) return;
    throw new DomainError('CONFLICT', replicationId === history.replicationId
      ? `${this.address} gives its data as of offset ${offset}, from before ${history.offset}.`
      : `${this.address} gives the data of another history (${replicationId}) than its master's (${history.replicationId}).`, {
      hint: 'Its master has changed, or it saves for somebody else already: try again later.', retryable: true,
    });
  }

  private onHeader(framing: Framing, length: bigint | null): void {
    this.framing = framing;
    this.length = length;
    this.options.onEvent?.({ kind: 'saving' });
    if (length !== null) checkSize(this.address, length, this.limits);
  }

  private onPayload(piece: Buffer): void {
    const isFirst = this.parser.payloadBytes === BigInt(piece.length);
    if (isFirst) this.options.onEvent?.({ kind: 'transferring', framing: this.framing, length: this.length });
    checkSize(this.address, this.parser.payloadBytes, this.limits);
    this.watch?.receivedPayload(piece.length);
    const rest = this.takeDirectly(piece);
    if (rest.length === 0) return;
    this.queue?.push(rest);
    if (this.rdbOnly && (this.queue?.pendingBytes ?? 0) > PAUSE_AT) this.pause(TRICKLE_MS);
    else if ((this.queue?.unwrittenBytes ?? 0) > PAUSE_AT) this.pause(DISK_BREATH_MS);
  }

  /** What is left is for the queue. */
  private takeDirectly(piece: Buffer): Buffer {
    if (this.direct === undefined || !this.sinkIsIdle || this.queue?.pendingBytes !== 0 || this.failure !== undefined) return piece;
    this.tookDirectly = true;
    return piece.subarray(this.direct.take(piece));
  }

  /** Sources that can be made to wait, in the middle of their payload. */
  get mayGather(): boolean {
    return this.rdbOnly && this.parser.payloadBytes > 0n && !this.parser.done;
  }

  /** Nothing is read for a moment, when the answer, false, has arrived where it was read. */
  gather(): false {
    this.isGathering = true;
    if (this.gathering) this.gathering.refresh();
    else {
      this.gathering = setTimeout(() => {
        this.isGathering = false;
        this.flow();
      }, GATHER_MS);
    }
    return false;
  }

  private pause(ms: number): void {
    this.heldUp = true;
    this.socket.pause();
    if (this.trickle || (this.rdbOnly && (this.queue?.pendingBytes ?? 0) > TRICKLE_UNTIL)) return;
    this.trickle = setTimeout(() => {
      this.trickle = undefined;
      this.heldUp = false;
      this.flow();
    }, ms);
  }

  private resume(): void {
    clearTimeout(this.trickle);
    this.trickle = undefined;
    this.heldUp = false;
    this.flow();
  }

  private flow(): void {
    if (!this.heldUp && !this.isGathering) this.socket.resume();
  }

  private readonly onAbort = (): void => this.fail(abortReason(this.signal));

  private lastError: unknown;
  private readonly onError = (error: unknown): void => {
    this.lastError = error;
  };

  private readonly onClose = (): void => {
    if (this.parser.done) return;
    this.fail(
      new DomainError(
        this.asked ? 'SOURCE_DISCONNECTED' : 'CONNECT_FAILED',
        this.asked
          ? `${this.address} closed the connection after ${this.parser.payloadBytes} bytes of its RDB.`
          : `${this.address} closed the connection during the handshake.`,
        {
          hint: this.asked ? 'Check the log of the server: it stopped, its saving child died, or something cut the connection.' : 'Check that the server is up and accepts more clients.',
          retryable: true,
          cause: this.lastError,
          details: { bytes: Number(this.parser.payloadBytes) },
        },
      ),
    );
  };

  /** The first failure counts; it reaches whoever waits, and ends the connection. */
  private fail(error: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.waiting?.reject(error);
    this.waiting = undefined;
    this.queue?.fail(error);
    this.watch?.stop();
    this.socket.destroy();
  }

  private silent(): DomainError {
    return new DomainError('CONNECT_FAILED', `${this.address} did not answer the replication handshake within ${this.limits.handshakeMs} ms.`, {
      hint: 'The server is silent, overloaded, or no Redis at all: check the port and the server.',
      retryable: true,
    });
  }

  private babble(): DomainError {
    return new DomainError('PROTOCOL_ERROR', `${this.address} sent lines that answer nothing.`, { hint: 'Check that this address is a Redis or Valkey server.' });
  }
}
