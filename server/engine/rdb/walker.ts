import { StringCapture } from './capture.js';
import { MAX_FUNCTION_CODE } from './functions.js';
import { HeadReader, littleEndian32, MAX_HEAD } from './head-reader.js';
import { MAX_AUX_NAME, MAX_AUX_VALUE, MAX_LENGTH } from './limits.js';
import { PACKED_HEAD_BYTES, packedElements } from './packing.js';
import * as program from './programs.js';
import { rdbError } from './rdb-error.js';
import { type RdbKeyEvent, type RdbMagic } from './summary.js';
import { keyTypeOf, type Tally } from './tally.js';

type Outcome = 'WALKING' | 'EOF' | 'UNKNOWN';

export interface KeyListener {
  onKey: (key: RdbKeyEvent) => void;
  /** Longest name that is handed over whole. */
  maxNameBytes: number;
}

/** What stands before a key's value. One object for all keys of a walk. */
export interface RecordHead {
  database: number;
  rdbType: number;
  /** Unix milliseconds; NaN: it does not expire. */
  expiresAtMs: number;
  /** Bytes of the whole name. */
  nameBytes: number;
  /** Where the value begins, from the start of the file. */
  valueAt: number;
}

/** Told of records as they pass, by positions from the start of the file. What is handed over is valid during the call. */
export interface RecordListener {
  /** Longest name that is handed over whole; of longer ones, so much of their beginning. */
  maxNameBytes: number;
  /** A name, `bytes[from, to)`. */
  onName(head: RecordHead, bytes: Uint8Array, from: number, to: number): void;
  /** The value of the last name ends before `end`. */
  onValueEnd(end: number): void;
  /** The opcode of a function stands at `at`. */
  onFunction(at: number): void;
  /** The function ends before `end`. */
  onFunctionEnd(end: number): void;
}

/**
 * Walks the records of an RDB file without building values. Fed chunk by chunk; heads that a chunk's end cuts are kept
 * (at most 18 bytes) and joined with what follows, bodies are only counted down, so chunks may end anywhere.
 */
export class Walker {
  /** Why `feed` returned before the end of its chunk; WALKING while it has not. */
  outcome: Outcome = 'WALKING';
  /** The byte that ended the walk, when the outcome is UNKNOWN. */
  unknownCode = 0;

  private readonly code: Uint8Array;
  private readonly start: Uint16Array;
  private readonly head = new HeadReader();
  /** Of the key, a note or a function. */
  private readonly text = new StringCapture();
  private readonly valueHead = new StringCapture();
  /** What the string that is being passed over goes to. */
  private capturing: StringCapture | null = null;
  private auxName: string | null = null;

  // Where the walk stands between two chunks.
  private offset: number;
  private readonly joined = new Uint8Array(64);
  private carried = 0;
  private pc = program.RECORD;
  private strings = 0;
  private skip = 0;
  private depth = 0;
  private readonly loopLeft = new Float64Array(4);
  private readonly loopBody = new Uint16Array(4);

  // The record that is being walked.
  private rdbType = 0;
  private recordAt = 0;
  private expiring = false;
  private expiresAtMs = 0;
  /** -1 and NaN: not known. */
  private elements = -1;
  private container = 0;
  private readonly recordHead: RecordHead = { database: 0, rdbType: 0, expiresAtMs: NaN, nameBytes: 0, valueAt: 0 };

  /** @param offset where the first record stands, behind the file's header. */
  constructor(magic: RdbMagic, offset: number, private readonly tally: Tally, private readonly keys?: KeyListener, private readonly records?: RecordListener) {
    const programs = records !== undefined ? program.RECORD_PROGRAMS : keys === undefined ? program.PROGRAMS : program.COUNTING_PROGRAMS;
    this.code = programs[magic].code;
    this.start = programs[magic].start;
    this.offset = offset;
  }

  /** Walks on through `chunk`. Returns how much of it was walked: all, or up to and with the byte that ended the walk. */
  feed(chunk: Uint8Array): number {
    let at = 0;
    if (this.carried > 0) {
      const carried = this.carried;
      const taken = Math.min(chunk.length, this.joined.length - carried);
      this.joined.set(chunk.subarray(0, taken), carried);
      this.carried = 0;
      const stopped = this.run(this.joined, 0, carried + taken, carried, this.offset - carried);
      if (this.carried > 0) {
        this.offset += taken;
        return taken;
      }
      at = stopped - carried;
    }
    if (at < chunk.length) at = this.run(chunk, at, chunk.length, chunk.length, this.offset);
    if (this.carried > 0) at = chunk.length;
    this.offset += at;
    return at;
  }

  /**
   * Takes every step that begins before `stop` and returns where it ended (at most `end`). A head cut by `end` goes to
   * `joined`. `base` is the file's offset of `buf[0]`.
   */
  private run(buf: Uint8Array, from: number, end: number, stop: number, base: number): number {
    const code = this.code;
    const tally = this.tally;
    const head = this.head;
    let pos = from;
    let pc = this.pc;
    let strings = this.strings;
    let skip = this.skip;

    walk: for (;;) {
      if (skip !== 0) {
        const part = Math.min(skip, end - pos);
        if (this.capturing !== null) this.capturing.add(buf, pos, pos + part);
        pos += part;
        skip -= part;
        if (skip !== 0) break;
        this.capturing = null;
      }
      if (strings !== 0) {
        do {
          if (pos >= stop) break walk;
          const first = buf[pos] as number;
          if (first < 0x40 && this.capturing === null) {
            pos += 1 + first;
            if (pos > end) {
              skip = pos - end;
              pos = end;
            }
          } else {
            const body = head.readString(buf, pos, end, base, this.capturing);
            if (body < 0) {
              this.carry(buf, pos, end);
              break walk;
            }
            if (this.capturing !== null || head.length > end - body) {
              skip = head.length;
              pos = body;
              if (skip === 0) this.capturing = null;
            } else pos = body + head.length;
          }
          strings--;
        } while (strings !== 0 && skip === 0);
        continue;
      }

      let step = code[pc] as number;
      if (step === program.VALUE_END) {
        this.endKey(base + pos);
        pc = program.RECORD;
        step = program.RECORD;
      }
      if (step === program.RECORD) {
        if (pos >= stop) break;
        const byte = buf[pos] as number;
        pc = this.start[byte] as number;
        if (byte < 128 && pc !== 0) {
          this.rdbType = byte;
          if (this.keys !== undefined) {
            this.recordAt = base + pos;
            this.elements = -1;
            this.capturing = this.text;
            this.text.begin(this.keys.maxNameBytes);
          }
          pos++;
          if (this.records !== undefined) {
            const length = pos < end ? (buf[pos] as number) : 255;
            // Most names are short and in one piece: nothing is copied for them.
            if (length < 0x40 && pos + 1 + length <= end) {
              this.tellName(this.records, buf, pos + 1, pos + 1 + length, length, base + pos + 1 + length);
              pos += 1 + length;
              pc++;
              continue;
            }
            this.capturing = this.text;
            this.text.begin(this.records.maxNameBytes);
          }
          strings = 1;
          continue;
        }
        pos++;
        if (pc === 0) {
          this.outcome = byte === program.EOF_OPCODE ? 'EOF' : 'UNKNOWN';
          this.unknownCode = byte;
          break;
        }
        tally.bytes[byte] = (tally.bytes[byte] as number) + 1;
        continue;
      }

      switch (step) {
        case program.STRINGS:
          strings = code[pc + 1] as number;
          pc += 2;
          continue;
        case program.BYTES:
          skip = code[pc + 1] as number;
          pc += 2;
          continue;
        case program.NEXT: {
          const left = (this.loopLeft[this.depth] as number) - 1;
          this.loopLeft[this.depth] = left;
          if (left > 0) pc = this.loopBody[this.depth] as number;
          else {
            this.depth--;
            pc++;
          }
          continue;
        }
        case program.AUX_NAME:
        case program.AUX_VALUE:
          if (step === program.AUX_VALUE) this.auxName = this.capturedText();
          this.text.begin(step === program.AUX_NAME ? MAX_AUX_NAME : MAX_AUX_VALUE);
          this.capturing = this.text;
          strings = 1;
          pc++;
          continue;
        case program.AUX_END:
          tally.addNote(this.auxName, this.text.take());
          pc++;
          continue;
        case program.VALUE_BEGIN:
          if (this.records !== undefined) {
            const { text } = this;
            const name = text.take() ?? text.takeStart();
            this.tellName(this.records, name, 0, name.length, text.length, base + pos);
          }
          pc++;
          continue;
        case program.FUNCTION:
          this.records?.onFunction(base + pos - 1);
          this.text.begin(MAX_FUNCTION_CODE);
          this.capturing = this.text;
          pc++;
          continue;
        case program.FUNCTION_END:
          tally.addFunction(this.text.takeStart(), this.text.length);
          this.records?.onFunctionEnd(base + pos);
          pc++;
          continue;
        case program.REFUSED:
          throw rdbError('UNSUPPORTED_FORMAT', 'functions in the form of a 7.0 release candidate (opcode 246)', base + pos - 1);
        case program.TEXT_DOUBLE:
          if (pos >= stop) break walk;
          skip = buf[pos] as number;
          if (skip >= 253) skip = 0;
          pos++;
          pc++;
          continue;
        case program.EXPIRE_SECONDS:
        case program.EXPIRE_MILLISECONDS: {
          if (pos >= stop) break walk;
          const width = step === program.EXPIRE_SECONDS ? 4 : 8;
          if (end - pos < width) {
            this.carry(buf, pos, end);
            break walk;
          }
          this.readExpiry(buf, pos, width);
          pos += width;
          pc++;
          continue;
        }
        case program.PACKED:
          this.valueHead.begin(PACKED_HEAD_BYTES);
          this.capturing = this.valueHead;
          strings = 1;
          pc++;
          continue;
        case program.PACKED_END: {
          const packed = packedElements(code[pc + 1] as number, this.valueHead.takeStart(), this.container);
          this.elements = this.elements === -1 ? packed : this.elements + packed;
          pc += 2;
          continue;
        }
        default:
          break;
      }

      // All other steps begin with a length.
      if (pos >= stop) break;
      let next = head.readLength(buf, pos, end, base);
      if (next < 0) {
        this.carry(buf, pos, end);
        break;
      }
      switch (step) {
        case program.LENGTH:
          pc++;
          break;
        case program.COUNT_LENGTH:
          this.elements = head.length;
          pc++;
          break;
        case program.CONTAINER:
          this.container = head.length;
          pc++;
          break;
        case program.COUNT_STRINGS:
          this.elements = head.length;
          strings = this.count(base + pos) * (code[pc + 1] as number);
          pc += 2;
          break;
        case program.COUNTED_STRINGS:
          strings = this.count(base + pos) * (code[pc + 1] as number);
          pc += 2;
          break;
        case program.COUNTED_BYTES:
          skip = this.count(base + pos) * (code[pc + 1] as number);
          pc += 2;
          break;
        case program.LOOP:
        case program.COUNT_LOOP:
          if (step === program.COUNT_LOOP) this.elements = head.length;
          if (this.count(base + pos) === 0) pc += 2 + (code[pc + 1] as number);
          else {
            pc += 2;
            this.depth++;
            this.loopLeft[this.depth] = head.length;
            this.loopBody[this.depth] = pc;
          }
          break;
        case program.SELECT_DATABASE:
          tally.select(head.length, base + pos);
          pc++;
          break;
        case program.MODULE_ID:
          tally.addModule(head.high, head.low, base + pos);
          pc++;
          break;
        case program.MODULE_VALUE:
          if (head.length === 0) pc++;
          else if (head.length === 1 || head.length === 2) {
            next = head.readLength(buf, next, end, base);
            if (next < 0) {
              this.carry(buf, pos, end);
              break walk;
            }
          } else if (head.length === 3) skip = 4;
          else if (head.length === 4) skip = 8;
          else if (head.length === 5) strings = 1;
          else throw rdbError('CORRUPT', `module opcode ${head.length} does not exist`, base + pos);
          break;
        default:
          throw new RangeError(`Walker: step ${step} is not in the alphabet.`);
      }
      pos = next;
    }

    this.pc = pc;
    this.strings = strings;
    this.skip = skip;
    return pos;
  }

  private endKey(end: number): void {
    const tally = this.tally;
    const type = this.rdbType;
    tally.bytes[type] = (tally.bytes[type] as number) + 1;
    tally.keys++;
    tally.database.keys++;
    if (this.expiring) tally.database.expiring++;
    if (this.keys !== undefined) {
      const { text, elements } = this;
      const key = text.take();
      this.keys.onKey({
        database: tally.databaseNumber, type: keyTypeOf(type), rdbType: type,
        expiresAtMs: this.expiring ? this.expiresAtMs : null,
        key, name: key ?? text.takeStart(), nameBytes: text.length,
        offset: this.recordAt, bytes: end - this.recordAt,
        elements: elements >= 0 ? elements : null,
      });
    }
    this.expiring = false;
    this.records?.onValueEnd(end);
  }

  private tellName(records: RecordListener, bytes: Uint8Array, from: number, to: number, nameBytes: number, valueAt: number): void {
    const head = this.recordHead;
    head.database = this.tally.databaseNumber;
    head.rdbType = this.rdbType;
    head.expiresAtMs = this.expiring ? this.expiresAtMs : NaN;
    head.nameBytes = nameBytes;
    head.valueAt = valueAt;
    records.onName(head, bytes, from, to);
  }

  private capturedText(): string | null {
    const bytes = this.text.take();
    return bytes === null ? null : Buffer.from(bytes).toString('utf8');
  }

  /** Keeps `buf[pos, end)`, a head that has not arrived whole. */
  private carry(buf: Uint8Array, pos: number, end: number): void {
    if (end - pos >= MAX_HEAD) throw new RangeError('Walker: a head longer than any there is.');
    this.joined.set(buf.subarray(pos, end), 0);
    this.carried = end - pos;
  }

  /** Signed little-endian, seconds (4 bytes) or milliseconds (8). -1 milliseconds is the servers' "no expiry". */
  private readExpiry(buf: Uint8Array, pos: number, width: number): void {
    const low = littleEndian32(buf, pos);
    if (width === 4) {
      this.expiring = true;
      this.expiresAtMs = low * 1000;
      return;
    }
    const high = littleEndian32(buf, pos + 4);
    this.expiring = low !== -1 || high !== -1;
    this.expiresAtMs = high * 2 ** 32 + (low >>> 0);
  }

  /** The length just read, as a number of elements. */
  private count(offset: number): number {
    const count = this.head.length;
    if (count > MAX_LENGTH) throw rdbError('CORRUPT', `a collection of ${count} elements`, offset);
    return count;
  }
}
