import { Crc64 } from '../../rdb/crc64.js';
import { type Reply } from './reply-parser.js';

/** What a unit does, and so what its replies mean. */
export enum Unit {
  /** RESTORE. */
  RESTORE,
  /** EXISTS, then RESTORE … REPLACE. */
  COUNTED_RESTORE,
  /** MULTI, UNLINK, the commands of the value, EXEC. */
  REPLACING_GROUP,
  /** MULTI, the commands of the value under a name of ours, RENAMENX, UNLINK of that name, EXEC. */
  NEW_GROUP,
  SELECT,
  /** UNLINK of a key that has expired in the backup. */
  REMOVE,
  /** EXISTS of a key that is to be new. */
  EXISTS,
  TYPE,
  /** TYPE, then DUMP. */
  COMPARE,
  /** One command whose reply somebody waits for. */
  CALL,
}

/** Bytes of a batch; a unit that has more gets one to itself. */
export const BATCH_BYTES = 256 * 1024;
const MOST_UNITS = 4_096;

const crc = new Crc64();
const CRLF = 0x0a0d;

/**
 * Commands on their way to a server, in the order of their sending, with what is needed to judge the replies and to send them again: a unit is all
 * that concerns one key and has to be sent, answered and repeated together.
 */
export class Batch {
  readonly bytes: Buffer;
  used = 0;
  units = 0;
  /** `[unit]`: where its commands begin. */
  readonly starts = new Uint32Array(MOST_UNITS);
  readonly kinds = new Uint8Array(MOST_UNITS);
  /** `[unit]`: replies it is owed. */
  readonly replies = new Uint32Array(MOST_UNITS);
  /** `[unit]`: whatever its maker wants to find again. */
  readonly notes = new Int32Array(MOST_UNITS);
  /** `[unit]`: every command has an ASKING before it, or, in a group, MULTI has. */
  readonly asking = new Uint8Array(MOST_UNITS);
  /** `[unit]`: how often it has been sent on to another server. */
  readonly tries = new Uint8Array(MOST_UNITS);
  /** Units that have been answered. */
  done = 0;
  sent = false;
  /** Units before it were sent once more after a lost connection. */
  sentAgain = 0;
  /** When its first unit was written, by the monotonic clock. */
  begunAt = 0;
  /** Of CALL units. */
  readonly callers = new Map<number, (reply: Reply | Error) => void>();
  private readonly words: Int32Array;

  constructor(size = BATCH_BYTES) {
    // Slow buffers begin at a word of their memory.
    this.bytes = Buffer.allocUnsafeSlow((size + 3) & ~3);
    this.words = new Int32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length >>> 2);
  }

  get isReusable(): boolean {
    return this.bytes.length === BATCH_BYTES;
  }

  hasRoom(bytes: number): boolean {
    return this.units < MOST_UNITS && this.used + bytes <= this.bytes.length;
  }

  /** Begins a unit; its commands follow. */
  unit(kind: Unit, replies: number, note = 0, asking = false): number {
    const unit = this.units;
    if (unit === 0) this.begunAt = performance.now();
    this.starts[unit] = this.used;
    this.kinds[unit] = kind;
    this.replies[unit] = replies;
    this.notes[unit] = note;
    this.asking[unit] = asking ? 1 : 0;
    this.tries[unit] = 0;
    this.units = unit + 1;
    return unit;
  }

  kindOf(unit: number): Unit {
    return this.kinds[unit] as Unit;
  }

  /** The bytes of a unit's commands. */
  bytesOf(unit: number): Buffer {
    return this.bytes.subarray(this.starts[unit], unit + 1 < this.units ? this.starts[unit + 1] : this.used);
  }

  /** As for `raw` and all that follow: there must be room. */
  raw(bytes: Uint8Array): void {
    this.used = copyInto(this.bytes, this.used, bytes, 0, bytes.length);
  }

  command(args: readonly Uint8Array[]): void {
    this.mark(0x2a, args.length);
    for (const arg of args) this.bulk(arg, 0, arg.length);
  }

  bulk(bytes: Uint8Array, from: number, to: number): void {
    this.mark(0x24, to - from);
    this.used = copyInto(this.bytes, this.used, bytes, from, to);
    this.lineEnd();
  }

  /** A number as a bulk string. */
  number(value: number): void {
    const digits = digitsOf(value);
    this.mark(0x24, digits);
    this.used = writeNumber(this.bytes, this.used, value, digits);
    this.lineEnd();
  }

  /** A payload as RESTORE takes it: type, value, version, and the CRC-64 of these. */
  payload(rdbType: number, bytes: Uint8Array, from: number, to: number, version: number): void {
    this.mark(0x24, to - from + PAYLOAD_EXTRA);
    const { bytes: target } = this;
    const start = this.used;
    target[start] = rdbType;
    let at = copyInto(target, start + 1, bytes, from, to);
    target[at++] = version & 255;
    target[at++] = version >>> 8;
    crc.reset();
    crc.updateWithin(target, this.words, start, at);
    crc.writeTo(target, at);
    this.used = at + 8;
    this.lineEnd();
  }

  /** `*` or `$` and a number. */
  private mark(kind: number, value: number): void {
    this.bytes[this.used] = kind;
    this.used = writeNumber(this.bytes, this.used + 1, value, digitsOf(value));
    this.lineEnd();
  }

  private lineEnd(): void {
    this.bytes[this.used] = CRLF & 255;
    this.bytes[this.used + 1] = CRLF >> 8;
    this.used += 2;
  }

  /** For reuse. */
  clear(): void {
    this.used = this.units = this.done = this.sentAgain = 0;
    this.sent = false;
    this.callers.clear();
  }
}

/** Bytes of a payload beside the value: type, version, checksum. */
export const PAYLOAD_EXTRA = 11;

/** Bytes that one argument takes at most. */
export const argumentBytes = (length: number): number => length + 16;
export const commandBytes = (args: readonly Uint8Array[]): number => args.reduce((sum, arg) => sum + argumentBytes(arg.length), 16);

const SHORT = 48;

/** Returns where it ended. */
const copyInto = (target: Buffer, at: number, bytes: Uint8Array, from: number, to: number): number => {
  const length = to - from;
  // A call into the engine costs more than a few bytes.
  if (length <= SHORT) for (let byte = from; byte < to; byte++) target[at++] = bytes[byte] as number;
  else {
    target.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to), at);
    at += length;
  }
  return at;
};

const digitsOf = (value: number): number => {
  let digits = 1;
  for (let bound = 10; value >= bound; bound *= 10) digits++;
  return digits;
};

/** A whole number that is not negative. Returns where it ended. */
const writeNumber = (target: Buffer, at: number, value: number, digits: number): number => {
  let rest = value;
  for (let place = at + digits - 1; place >= at; place--) {
    const next = rest < 2 ** 31 ? (rest / 10) | 0 : Math.floor(rest / 10);
    target[place] = 48 + rest - next * 10;
    rest = next;
  }
  return at + digits;
};
