import { DomainError } from '../../domain/errors.js';

/** How a source frames its RDB: by a declared length (saved on disk first), or by a mark after it (diskless). */
export type Framing = 'LENGTH' | 'EOF_MARK';

export interface LinkEvents {
  /** A bare newline: the server's keep-alive while it saves. */
  keepAlive(): void;
  /** A reply line without its line end. May set `payloadExpected`. */
  line(text: string): void;
  /** The payload's header has been read. */
  header(framing: Framing, length: bigint | null): void;
  /** A piece of the payload, in order; a view into memory that is used again. */
  payload(piece: Buffer): void;
  /** The payload is complete. Called once. */
  end(): void;
}

/** Longest reply line that is believed; the longest real ones are error texts of some hundred bytes. */
const MAX_LINE = 8 * 1024;
const MARK_LENGTH = 40;
const NEWLINE = 0x0a;

/**
 * What arrives on a replication link until the RDB is complete: reply lines and keep-alive newlines, then `$<len>` with
 * exactly that many bytes, or `$EOF:<40 bytes>` with a payload that ends when the last 40 bytes received are those again.
 * Chunks may be cut anywhere; their memory is the caller's again when `push` returns. Bytes behind a payload of known length are the command stream: counted, not kept.
 * The protocol is that of redis replication.c (syncWithMaster, readSyncBulkPayload).
 */
export class LinkParser {
  /** Set by the owner once the server has agreed to send a payload; a `$` before that is a protocol error. */
  payloadExpected = false;
  payloadBytes = 0n;
  /** Bytes that came after the payload and were dropped. */
  trailingBytes = 0n;

  private state: 'LINES' | 'LENGTH' | 'EOF_MARK' | 'DONE' = 'LINES';
  private partial: Buffer = Buffer.alloc(0);
  private remaining = 0n;
  private mark: Buffer = Buffer.alloc(0);
  /** The last bytes received, at most 40, which may be the mark: payload as soon as others follow. */
  private readonly held = Buffer.alloc(MARK_LENGTH);
  private heldBytes = 0;

  constructor(private readonly address: string, private readonly events: LinkEvents) {}

  get done(): boolean {
    return this.state === 'DONE';
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.state === 'LINES') rest = this.takeLine(rest);
      else if (this.state === 'LENGTH') rest = this.takeCounted(rest);
      else if (this.state === 'EOF_MARK') rest = this.takeMarked(rest);
      else {
        this.trailingBytes += BigInt(rest.length);
        return;
      }
    }
  }

  private takeLine(chunk: Buffer): Buffer {
    const end = chunk.indexOf(NEWLINE);
    const piece = end < 0 ? chunk : chunk.subarray(0, end);
    if (this.partial.length + piece.length > MAX_LINE) throw this.violation('sent a reply line without an end');
    this.partial = this.partial.length === 0 ? Buffer.from(piece) : Buffer.concat([this.partial, piece]);
    if (end < 0) return chunk.subarray(chunk.length);

    const line = this.partial.toString('latin1').replace(/\r$/, '');
    this.partial = Buffer.alloc(0);
    if (line === '') this.events.keepAlive();
    else if (line.startsWith('$')) this.takeHeader(line);
    else this.events.line(line);
    return chunk.subarray(end + 1);
  }

  private takeHeader(line: string): void {
    if (!this.payloadExpected) throw this.violation('sent a payload that nobody asked for');
    if (line.startsWith('$EOF:') && line.length === 5 + MARK_LENGTH) {
      this.mark = Buffer.from(line.slice(5), 'latin1');
      this.state = 'EOF_MARK';
      this.events.header('EOF_MARK', null);
      return;
    }
    if (!/^\$\d{1,19}$/.test(line)) throw this.violation(`announced its RDB as "${line.slice(0, 64)}", which is no length`);
    this.remaining = BigInt(line.slice(1));
    this.state = 'LENGTH';
    this.events.header('LENGTH', this.remaining);
    if (this.remaining === 0n) this.finish();
  }

  private takeCounted(chunk: Buffer): Buffer {
    const size = BigInt(chunk.length) < this.remaining ? chunk.length : Number(this.remaining);
    this.remaining -= BigInt(size);
    this.emit(chunk.subarray(0, size));
    if (this.remaining === 0n) this.finish();
    return chunk.subarray(size);
  }

  /** A mark can only be the end of everything received so far: nothing follows it until we would acknowledge. */
  private takeMarked(chunk: Buffer): Buffer {
    const late = Math.max(0, Math.min(this.heldBytes, this.heldBytes + chunk.length - MARK_LENGTH));
    this.emit(this.held.subarray(0, late));
    this.held.copyWithin(0, late, this.heldBytes);
    this.heldBytes -= late;
    const early = Math.max(0, chunk.length - MARK_LENGTH);
    this.emit(chunk.subarray(0, early));
    this.heldBytes += chunk.copy(this.held, this.heldBytes, early);
    if (this.heldBytes === MARK_LENGTH && this.held.equals(this.mark)) this.finish();
    return chunk.subarray(chunk.length);
  }

  private emit(piece: Buffer): void {
    if (piece.length === 0) return;
    this.payloadBytes += BigInt(piece.length);
    this.events.payload(piece);
  }

  private finish(): void {
    this.state = 'DONE';
    this.events.end();
  }

  private violation(what: string): DomainError {
    return new DomainError('PROTOCOL_ERROR', `${this.address} ${what}.`, {
      hint: 'Check that this address is a Redis or Valkey server, and whether it expects TLS.',
    });
  }
}
