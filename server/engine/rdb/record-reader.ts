import { rdbError } from './rdb-error.js';
import { type RdbMagic } from './summary.js';
import { Tally } from './tally.js';
import { Walker, type RecordHead, type RecordListener } from './walker.js';

export { type RecordHead } from './walker.js';

const HEADER_BYTES = 9;
const NOTHING = Buffer.alloc(0);

/** What is done with records. Bytes that are handed over are valid during the call. */
export interface RecordConsumer {
  /** A key's name, `bytes[from, to)`; cut where `to - from` is less than `head.nameBytes`. Returns whether its value is wanted. */
  onName(head: RecordHead, bytes: Uint8Array, from: number, to: number): boolean;
  /** The value of the last name, `bytes[from, to)`, as it stands in the file. */
  onValue(bytes: Uint8Array, from: number, to: number): void;
  /** Instead of `onValue`, for a value longer than the reader's limit: it stands at `[from, to)` of the file. */
  onLargeValue(from: number, to: number): void;
  /** A function library: the opcode and its string, as they stand in the file. Not called for those beyond the limit, but `onLargeFunction`. */
  onFunction(bytes: Uint8Array, from: number, to: number): void;
  onLargeFunction(bytes: number): void;
}

export interface RecordReaderOptions {
  /** Longest value that is handed over; so much memory is used for one that comes in several pieces. */
  maxValueBytes: number;
  maxNameBytes: number;
}

/**
 * Takes an RDB apart into names and stored values, as its bytes arrive, in pieces of any size. Values that are not wanted cost nothing but their walk,
 * and those that lie within one piece are not copied.
 *
 * Checks the structure, not the checksum: whoever reads an archive knows its SHA-256. Fails with CORRUPT, UNSUPPORTED_FORMAT and LIMIT_EXCEEDED, as
 * the walker does; what is not known ends the records (`ended` is UNKNOWN), and what follows is passed over.
 */
export class RecordReader {
  /** Counts of all keys, also those that were not wanted. */
  readonly tally = new Tally();
  /** Null until the header has come. */
  magic: RdbMagic | null = null;
  ended: 'NOT_YET' | 'EOF' | 'UNKNOWN' = 'NOT_YET';
  private readonly header = Buffer.alloc(HEADER_BYTES);
  private walker: Walker | undefined;
  /** Where the piece that is being read begins, from the start of the file. */
  private pieceAt = 0;
  private piece: Uint8Array = NOTHING;
  private readonly records: Records;

  constructor(consumer: RecordConsumer, private readonly options: RecordReaderOptions) {
    this.records = new Records(consumer, options);
  }

  /** Bytes that have been read. */
  get bytes(): number {
    return this.pieceAt + this.piece.length;
  }

  /**
   * Reads a piece, `step` bytes at a time; between them, and at its end, the caller may do what it has to. The piece is not kept, once the generator
   * has ended.
   */
  *read(piece: Uint8Array, step = piece.length): Generator<void, void> {
    this.pieceAt += this.piece.length;
    this.piece = piece;
    this.records.begin(piece, this.pieceAt);
    let at = this.readHeader(piece);
    while (at < piece.length && this.walker !== undefined && this.ended === 'NOT_YET') {
      at += this.walker.feed(piece.subarray(at, at + step));
      if (this.walker.outcome === 'EOF') this.ended = 'EOF';
      if (this.walker.outcome === 'UNKNOWN') this.ended = 'UNKNOWN';
      yield;
    }
    this.records.keepOpen();
  }

  /** Says that nothing more comes. Fails with TRUNCATED before the end of the records. */
  finish(): void {
    if (this.ended === 'NOT_YET') throw rdbError('TRUNCATED', 'the bytes end before the file does', this.bytes);
  }

  private readHeader(piece: Uint8Array): number {
    if (this.pieceAt >= HEADER_BYTES) return 0;
    const part = piece.subarray(0, HEADER_BYTES - this.pieceAt);
    this.header.set(part, this.pieceAt);
    if (this.pieceAt + part.length === HEADER_BYTES) {
      const match = /^(?:(REDIS)\d{4}|VALKEY\d{3})$/.exec(this.header.toString('latin1'));
      if (match === null) throw rdbError('UNSUPPORTED_FORMAT', 'it does not begin with REDIS or VALKEY and a version', 0);
      this.magic = match[1] === undefined ? 'VALKEY' : 'REDIS';
      this.walker = new Walker(this.magic, HEADER_BYTES, this.tally, undefined, this.records);
    }
    return part.length;
  }
}

/** Finds values in the pieces, and keeps the beginnings of those that a piece's end cuts. */
class Records implements RecordListener {
  readonly maxNameBytes: number;
  private piece: Uint8Array = NOTHING;
  private pieceAt = 0;
  private open: 'NOTHING' | 'VALUE' | 'FUNCTION' = 'NOTHING';
  /** Where what is open begins. */
  private from = 0;
  private held: Buffer = NOTHING;
  private heldBytes = 0;

  constructor(private readonly consumer: RecordConsumer, private readonly options: RecordReaderOptions) {
    this.maxNameBytes = options.maxNameBytes;
  }

  begin(piece: Uint8Array, at: number): void {
    this.piece = piece;
    this.pieceAt = at;
  }

  onName(head: RecordHead, bytes: Uint8Array, from: number, to: number): void {
    if (!this.consumer.onName(head, bytes, from, to)) return;
    this.open = 'VALUE';
    this.from = head.valueAt;
  }

  onValueEnd(end: number): void {
    if (this.open === 'VALUE') this.close(end);
  }

  onFunction(at: number): void {
    this.open = 'FUNCTION';
    this.from = at;
  }

  onFunctionEnd(end: number): void {
    this.close(end);
  }

  /** The piece ends. */
  keepOpen(): void {
    if (this.open !== 'NOTHING') this.keep(this.pieceAt + this.piece.length);
    this.piece = NOTHING;
  }

  private close(end: number): void {
    const { consumer, from } = this;
    const kind = this.open;
    this.open = 'NOTHING';
    const length = end - from;
    if (length > this.options.maxValueBytes) {
      if (kind === 'VALUE') consumer.onLargeValue(from, end);
      else consumer.onLargeFunction(length);
    } else {
      const whole = from >= this.pieceAt;
      if (!whole) this.keep(end);
      const bytes = whole ? this.piece : this.held;
      const start = whole ? from - this.pieceAt : 0;
      if (kind === 'VALUE') consumer.onValue(bytes, start, start + length);
      else consumer.onFunction(bytes, start, start + length);
    }
    this.heldBytes = 0;
    // What one large value has needed is not kept for all the small ones.
    if (this.held.length > KEPT_ROOM) this.held = NOTHING;
  }

  /** Adds what the piece has of it, up to `end` of the file, as long as it is not too long. */
  private keep(end: number): void {
    if (end - this.from > this.options.maxValueBytes) {
      this.held = NOTHING;
      this.heldBytes = 0;
      return;
    }
    const part = this.piece.subarray(Math.max(0, this.from - this.pieceAt), end - this.pieceAt);
    const used = this.heldBytes + part.length;
    if (used > this.held.length) {
      const more = Buffer.allocUnsafeSlow(Math.min(this.options.maxValueBytes, Math.max(used, this.held.length * 2)));
      this.held.copy(more, 0, 0, this.heldBytes);
      this.held = more;
    }
    this.held.set(part, this.heldBytes);
    this.heldBytes = used;
  }
}

const KEPT_ROOM = 1024 * 1024;
