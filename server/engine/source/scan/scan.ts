import { addressOf } from '../../../domain/address.js';
import { type Engine } from '../../../domain/backup.js';
import { DomainError } from '../../../domain/errors.js';
import { type Dial, type Endpoint } from '../../ports.js';
import { Crc64 } from '../../rdb/crc64.js';
import { compareVersions, rdbVersionWrittenBy } from '../../rdb/versions.js';
import { RdbWriter } from '../../rdb/writer.js';
import { authArguments, authFailed } from '../../resp.js';
import { replyError } from '../handshake.js';
import { checkSize, DEFAULT_SOURCE_LIMITS, type SourceLimits, TransferWatch } from '../limits.js';
import { fingerprint, KEYS_PER_SET, KeySet, partOf } from './key-set.js';
import { pause } from '../../target/waiting.js';
import { ReplyError, ReplyStream, type Reply } from './reply-stream.js';

export interface ScanOptions {
  engine: Engine;
  version: string;
  /** Databases with keys, as INFO told just before. */
  databases: readonly { database: number; keys: bigint }[];
  /** How fast keys are read at most: each DUMP is work for the server's one thread. Default 20,000. */
  keysPerSecond?: number | undefined;
  limits?: Partial<SourceLimits> | undefined;
}

/** Takes the file in order; the next piece comes when it has returned. */
export type Sink = (piece: Buffer) => void | Promise<void>;

export const DEFAULT_KEYS_PER_SECOND = 20_000;
const SCAN_COUNT = 500;
/** Values asked for at once: so many bytes of them, by what the last ones had. They gather in the server's memory for us. */
const WINDOW_BYTES = 1024 * 1024;
const MOST_IN_WINDOW = 200;
/** Behind the value in a DUMP: version (2 bytes) and CRC64 (8). */
const TRAILER_BYTES = 10;
/** Code that people wrote. */
const MOST_OF_FUNCTIONS = 64 * 1024 * 1024;
/** Redis and Valkey number apart from 80 on: such a file begins with VALKEY. */
const FIRST_VALKEY_VERSION = 80;

/**
 * Makes an RDB of what SCAN, PTTL and DUMP give, for servers that do not let themselves be replicated. Not a point in time: every key that
 * existed all the while is in it, each as it was when it was read, and functions where FUNCTION DUMP is allowed. Bounded memory: values of any size pass in
 * pieces, and large databases are scanned several times, each time for a part of their keys. Nothing on the server is changed.
 *
 * Fails with CONNECT_FAILED, TARGET_NOT_ALLOWED, AUTH_FAILED, PERMISSION_MISSING, ENGINE_UNSUPPORTED, PROTOCOL_ERROR,
 * SOURCE_DISCONNECTED, TOO_SLOW, LIMIT_EXCEEDED, CORRUPT, what the sink throws, or the signal's reason.
 */
export const scanRdb = async (endpoint: Endpoint, deps: { dial: Dial }, options: ScanOptions, signal: AbortSignal, sink: Sink): Promise<void> => {
  const limits = { ...DEFAULT_SOURCE_LIMITS, ...options.limits };
  const socket = await deps.dial(endpoint, { signal, timeoutMs: Math.min(limits.handshakeMs, 5_000) });
  const scan = new Scan(endpoint, limits, options, (onReceived) => new ReplyStream(socket, endpoint, signal, onReceived), signal, sink);
  try {
    await scan.run();
  } finally {
    scan.close();
  }
};

class Scan {
  private readonly address: string;
  private readonly replies: ReplyStream;
  private readonly watch: TransferWatch;
  private readonly writer: RdbWriter;
  private readonly keysPerSecond: number;
  private readonly knowsExpireTime: boolean;
  private written = 0n;
  private version = 0;
  private busy = false;
  private averageBytes = WINDOW_BYTES / 16;

  constructor(
    private readonly endpoint: Endpoint, private readonly limits: SourceLimits, private readonly options: ScanOptions,
    connect: (onReceived: () => void) => ReplyStream, private readonly signal: AbortSignal, sink: Sink,
  ) {
    this.address = addressOf(endpoint);
    this.replies = connect(() => this.watch.received());
    this.watch = new TransferWatch(this.address, { ...limits, minBytesPerSecond: 0 }, () => !this.busy || this.replies.heldUp, (error) => this.replies.fail(error));
    this.keysPerSecond = options.keysPerSecond ?? DEFAULT_KEYS_PER_SECOND;
    this.knowsExpireTime = options.engine === 'VALKEY' || compareVersions(options.version, '7.0') >= 0;
    this.writer = new RdbWriter(async (piece) => {
      this.written += BigInt(piece.length);
      checkSize(this.address, this.written, this.limits);
      this.watch.receivedPayload(piece.length);
      await sink(piece);
    });
  }

  close(): void {
    this.watch.stop();
    this.replies.close();
  }

  async run(): Promise<void> {
    const credential = authArguments(this.endpoint);
    if (credential) {
      const reply = await this.ask('AUTH', ...credential);
      if (reply instanceof ReplyError) throw authFailed(this.address, reply.text);
    }
    // Also where INFO told of no keys at all: that nothing was found has to come from somebody who may look.
    await this.scan('0');
    const table = rdbVersionWrittenBy(this.options.engine, this.options.version);
    this.version = (await this.versionOfADump()) ?? table.version;
    await this.writer.header(this.version >= FIRST_VALKEY_VERSION ? 'VALKEY' : 'REDIS', this.version);
    await this.writer.aux('redis-ver', this.options.version);
    await this.writer.aux('redis-bits', '64');
    await this.writer.aux('ctime', String((await this.now()) / 1_000n));
    await this.readFunctions();
    for (const { database, keys } of this.options.databases) await this.readDatabase(database, Number(keys));
    await this.writer.end();
  }

  /** A FUNCTION DUMP is what an RDB has of functions, and a trailer. Servers before 7.0 have none, and not every user may ask. */
  private async readFunctions(): Promise<void> {
    this.busy = true;
    await this.replies.together(() => this.replies.send('FUNCTION', 'DUMP'));
    const parts: Buffer[] = [];
    const found = await this.replies.bulk((length) => {
      if (length < TRAILER_BYTES || length > MOST_OF_FUNCTIONS) throw this.noReply('FUNCTION DUMP');
    }, (piece) => void parts.push(piece));
    this.busy = false;
    if (found !== 'read') return;
    const dump = Buffer.concat(parts);
    this.checkTrailer(dump.subarray(-TRAILER_BYTES), new Crc64(), dump.subarray(0, -TRAILER_BYTES));
    if (dump.length > TRAILER_BYTES) await this.writer.value(dump.subarray(0, -TRAILER_BYTES));
  }

  private async readDatabase(database: number, expected: number): Promise<void> {
    await this.select(database);
    await this.writer.database(database);
    const parts = Math.max(1, Math.ceil(expected / KEYS_PER_SET));
    for (let part = 0; part < parts; part += 1) {
      const seen = new KeySet(Math.ceil(expected / parts));
      let cursor = '0';
      do {
        const [next, keys] = await this.scan(cursor);
        cursor = next;
        const fresh = keys.filter((key) => {
          const print = fingerprint(key);
          if (partOf(print, parts) !== part) return false;
          if (seen.isFull) {
            throw new DomainError('LIMIT_EXCEEDED', `Database ${database} of ${this.address} more than doubled while it was read.`, {
              hint: 'Take the backup again when less is written.', retryable: true,
            });
          }
          return seen.add(print);
        });
        await this.read(fresh);
      } while (cursor !== '0');
    }
  }

  /** Values of keys, a few at a time, no faster than allowed. */
  private async read(keys: readonly Buffer[]): Promise<void> {
    for (let at = 0; at < keys.length; ) {
      const window = keys.slice(at, at + Math.max(1, Math.min(MOST_IN_WINDOW, Math.floor(WINDOW_BYTES / this.averageBytes))));
      at += window.length;
      const begun = performance.now();
      await this.readWindow(window);
      const due = (window.length * 1_000) / this.keysPerSecond - (performance.now() - begun);
      if (due >= 1) await pause(due, this.signal);
    }
  }

  private async readWindow(keys: readonly Buffer[]): Promise<void> {
    this.busy = true;
    await this.replies.together(() => {
      if (!this.knowsExpireTime) this.replies.send('TIME');
      for (const key of keys) {
        // The time first: a key that expires in between has no value any more.
        this.replies.send(this.knowsExpireTime ? 'PEXPIRETIME' : 'PTTL', key);
        this.replies.send('DUMP', key);
      }
    });
    const now = this.knowsExpireTime ? 0n : timeOf(await this.replies.reply());
    let bytes = 0;
    for (const key of keys) {
      const expiry = await this.replies.reply();
      if (expiry instanceof ReplyError) throw replyError(this.address, 'PTTL', expiry.text);
      if (typeof expiry !== 'bigint') throw this.noReply('PTTL');
      // -1: it does not expire; -2: it is gone already, and DUMP gives nothing.
      bytes += await this.readValue(key, expiry < 0n ? null : now + expiry, expiry === -2n);
    }
    this.averageBytes = Math.max(64, this.averageBytes * 0.5 + (bytes / keys.length) * 0.5);
    this.busy = false;
  }

  /** Writes one key as its DUMP comes, all but the trailer, which is checked. Returns the bytes of the DUMP. */
  private async readValue(key: Buffer, expiresAt: bigint | null, gone: boolean): Promise<number> {
    const crc = new Crc64();
    let length = 0;
    let at = 0;
    let trailer = Buffer.alloc(0);
    const found = await this.replies.bulk(
      (announced) => {
        if (announced <= TRAILER_BYTES) throw this.noReply('DUMP');
        length = announced;
      },
      async (piece) => {
        const valueEnd = length - TRAILER_BYTES;
        const value = piece.subarray(0, Math.max(0, valueEnd - at));
        trailer = Buffer.concat([trailer, piece.subarray(value.length)]);
        crc.update(value);
        if (!gone && value.length > 0) {
          if (at === 0) await this.writer.key(value[0] ?? 0, key, expiresAt);
          await this.writer.value(at === 0 ? value.subarray(1) : value);
        }
        at += piece.length;
      },
    );
    if (found instanceof ReplyError) throw replyError(this.address, 'DUMP', found.text);
    if (found === null) return 0;
    this.checkTrailer(trailer, crc);
    return length;
  }

  /** @param crc over what came before, but for `rest` */
  private checkTrailer(trailer: Buffer, crc: Crc64, rest: Buffer = Buffer.alloc(0)): void {
    crc.update(rest);
    crc.update(trailer.subarray(0, 2));
    if (trailer.readBigUInt64LE(2) !== crc.value) {
      throw new DomainError('CORRUPT', `A DUMP of ${this.address} does not have the checksum it says.`, { hint: 'Something between here and the server changes the bytes.' });
    }
    if (trailer.readUInt16LE(0) !== this.version) {
      throw new DomainError('CONFLICT', `${this.address} dumps in version ${trailer.readUInt16LE(0)} now, and in ${this.version} before: another server answers.`, { hint: 'Take the backup again.', retryable: true });
    }
  }

  /** In which version this server dumps, by any key that has a value; undefined when there is none. */
  private async versionOfADump(): Promise<number | undefined> {
    for (const { database } of this.options.databases) {
      await this.select(database);
      const key = await this.ask('RANDOMKEY');
      // Without that right, or in an empty database, the table decides.
      if (!Buffer.isBuffer(key)) continue;
      let trailer = Buffer.alloc(0);
      this.busy = true;
      await this.replies.together(() => this.replies.send('DUMP', key));
      const found = await this.replies.bulk(() => undefined, (piece) => {
        trailer = Buffer.concat([trailer, piece]).subarray(-TRAILER_BYTES);
      });
      this.busy = false;
      if (found instanceof ReplyError) throw replyError(this.address, 'DUMP', found.text);
      if (found === 'read' && trailer.length === TRAILER_BYTES) return trailer.readUInt16LE(0);
    }
    return undefined;
  }

  private async scan(cursor: string): Promise<[string, Buffer[]]> {
    const reply = await this.ask('SCAN', cursor, 'COUNT', String(SCAN_COUNT));
    if (reply instanceof ReplyError) throw replyError(this.address, 'SCAN', reply.text);
    if (!Array.isArray(reply)) throw this.noReply('SCAN');
    const [next, keys] = reply;
    if (!Buffer.isBuffer(next) || !Array.isArray(keys) || !keys.every((key) => Buffer.isBuffer(key))) throw this.noReply('SCAN');
    return [next.toString('latin1'), keys];
  }

  private async select(database: number): Promise<void> {
    const reply = await this.ask('SELECT', String(database));
    if (reply instanceof ReplyError) throw replyError(this.address, 'SELECT', reply.text);
  }

  private async now(): Promise<bigint> {
    const reply = await this.ask('TIME');
    return reply instanceof ReplyError ? BigInt(Date.now()) : timeOf(reply);
  }

  private async ask(...command: readonly string[]): Promise<Reply> {
    this.busy = true;
    await this.replies.together(() => this.replies.send(...command));
    const reply = await this.replies.reply();
    this.busy = false;
    return reply;
  }

  private noReply(command: string): DomainError {
    return new DomainError('PROTOCOL_ERROR', `${this.address} answered ${command} with something that is no reply to it.`, {
      hint: 'Check that this address is a Redis or Valkey server.',
    });
  }
}

/** Milliseconds of a TIME reply. Without the right to ask, this machine's. */
const timeOf = (reply: Reply): bigint => {
  if (!Array.isArray(reply) || !Buffer.isBuffer(reply[0]) || !Buffer.isBuffer(reply[1])) return BigInt(Date.now());
  return BigInt(reply[0].toString('latin1')) * 1_000n + BigInt(reply[1].toString('latin1')) / 1_000n;
};
