import { Crc64 } from './crc64.js';
import { DEFAULT_MAX_NAME_BYTES } from './limits.js';
import { isOpcode } from './programs.js';
import { rdbError } from './rdb-error.js';
import { type RdbKeyEvent, type RdbMagic, type RdbSummary, type UnknownRecord } from './summary.js';
import { Tally } from './tally.js';
import { Walker } from './walker.js';

const HEADER_BYTES = 9;
const CHECKSUM_BYTES = 8;
/**
 * Older formats (before Redis 2.6) have no checksum and are refused: otherwise one flipped bit in the version would switch
 * the check off.
 */
const OLDEST_VERSION = 5;

export interface RdbReaderOptions {
  /** Called for every key once its value has passed. Costs nothing when absent. */
  onKey?: ((key: RdbKeyEvent) => void) | undefined;
  /** Longest name that `onKey` is given whole, in bytes. Memory grows up to it. Default 1,024. */
  maxNameBytes?: number | undefined;
}

/** HEADER -> RECORDS -> CHECKSUM -> ENDED, or RECORDS -> UNKNOWN: an unknown record was met, only the caller knows the end. */
type Phase = 'HEADER' | 'RECORDS' | 'CHECKSUM' | 'ENDED' | 'UNKNOWN';

/**
 * Reads one RDB file as it arrives, in chunks of any size: walks every record and computes the CRC-64. Memory stays
 * bounded whatever the file declares.
 *
 * A type or opcode that is not known ends the walk, not the reading: bytes and CRC go on, everything pushed belongs to
 * the file, its last eight bytes are taken for the checksum when `finish` is called, and the summary says CHECKSUM_ONLY.
 * An unknown format version alone is no reason to stop.
 *
 * Errors (DomainError, `details.offset` = byte in the file), thrown by `push` as soon as they are certain and again by
 * every later call: CORRUPT, UNSUPPORTED_FORMAT (no RDB, one before RDB 5, or of a release candidate), LIMIT_EXCEEDED; TRUNCATED only
 * by `finish`.
 */
export class RdbReader {
  private phase: Phase = 'HEADER';
  private failure: { error: unknown } | undefined;
  private readonly crc = new Crc64();
  private readonly tally = new Tally();
  private walker: Walker | undefined;
  private count = 0;
  private magic: RdbMagic = 'REDIS';
  private version = 0;
  private unknown: UnknownRecord | null = null;
  private checksum: RdbSummary['checksum'] = 'ABSENT';
  /** Bytes at the end that are not in the CRC yet: the header while incomplete, or what may be the checksum. */
  private readonly tail = Buffer.alloc(HEADER_BYTES);
  private tailLength = 0;

  constructor(private readonly options: RdbReaderOptions = {}) {}

  /** Bytes of the file that have been taken. */
  get bytes(): bigint {
    return BigInt(this.count);
  }

  /** Keys whose values have passed whole. */
  get keys(): bigint {
    return BigInt(this.tally.keys);
  }

  /** Whether the file's end was found by walking; never true once an unknown record was met. */
  get ended(): boolean {
    return this.phase === 'ENDED';
  }

  /**
   * Takes the next bytes. Returns how many of them belong to the file: fewer than given when it ends within the chunk,
   * 0 after its end. The chunk is not kept.
   */
  push(chunk: Uint8Array): number {
    if (this.failure !== undefined) throw this.failure.error;
    try {
      return this.take(chunk);
    } catch (error) {
      this.failure = { error };
      throw error;
    }
  }

  /** Says that nothing more comes, and gives what the file holds. */
  finish(): RdbSummary {
    if (this.failure !== undefined) throw this.failure.error;
    try {
      if (this.phase === 'UNKNOWN') this.endUnknown();
      else if (this.phase !== 'ENDED') throw rdbError('TRUNCATED', 'the bytes end before the file does', this.count);
    } catch (error) {
      this.failure = { error };
      throw error;
    }
    return this.summary();
  }

  private take(chunk: Uint8Array): number {
    let at = 0;
    if (this.phase === 'HEADER') {
      at = this.fillTail(chunk, 0, HEADER_BYTES);
      if (this.tailLength < HEADER_BYTES) return at;
      this.readHeader();
      this.crc.update(this.tail);
      this.tailLength = 0;
      this.phase = 'RECORDS';
    }
    if (this.phase === 'RECORDS' && this.walker !== undefined) {
      const rest = chunk.subarray(at);
      const walked = this.walker.feed(rest);
      this.crc.update(rest.subarray(0, walked));
      this.count += walked;
      at += walked;
      if (this.walker.outcome === 'EOF') this.phase = 'CHECKSUM';
      if (this.walker.outcome === 'UNKNOWN') this.meetUnknown(this.walker.unknownCode);
    }
    if (this.phase === 'CHECKSUM') {
      at += this.fillTail(chunk, at, CHECKSUM_BYTES);
      if (this.tailLength === CHECKSUM_BYTES) {
        this.checkCrc();
        this.phase = 'ENDED';
      }
    } else if (this.phase === 'UNKNOWN') {
      this.takeUnknown(chunk.subarray(at));
      at = chunk.length;
    }
    return at;
  }

  private fillTail(chunk: Uint8Array, from: number, want: number): number {
    const part = Math.min(want - this.tailLength, chunk.length - from);
    this.tail.set(chunk.subarray(from, from + part), this.tailLength);
    this.tailLength += part;
    this.count += part;
    return part;
  }

  private readHeader(): void {
    const header = /^(?:(REDIS)(\d{4})|(VALKEY)(\d{3}))$/.exec(this.tail.toString('latin1'));
    this.magic = header?.[3] === undefined ? 'REDIS' : 'VALKEY';
    this.version = Number(header?.[2] ?? header?.[4] ?? 0);
    if (this.version === 0) throw rdbError('UNSUPPORTED_FORMAT', 'it does not begin with REDIS or VALKEY and a version', 0);
    if (this.version < OLDEST_VERSION) throw rdbError('UNSUPPORTED_FORMAT', `version ${this.version}, from before Redis 2.6`, 0);
    const { onKey, maxNameBytes = DEFAULT_MAX_NAME_BYTES } = this.options;
    this.walker = new Walker(this.magic, HEADER_BYTES, this.tally, onKey && { onKey, maxNameBytes });
  }

  private checkCrc(): void {
    const stored = this.tail.readBigUInt64LE(0);
    if (stored === 0n) return;
    const actual = this.crc.value;
    if (stored !== actual) {
      throw rdbError('CORRUPT', `the checksum is ${actual.toString(16)}, the file says ${stored.toString(16)}`, this.count - CHECKSUM_BYTES);
    }
    this.checksum = 'VALID';
  }

  private meetUnknown(code: number): void {
    const offset = this.count - 1;
    const kind = isOpcode(code) ? 'OPCODE' : 'TYPE';
    this.unknown = { kind, code, offset: BigInt(offset) };
    this.phase = 'UNKNOWN';
  }

  /** Feeds the CRC with all but the last eight bytes seen so far. */
  private takeUnknown(rest: Uint8Array): void {
    this.count += rest.length;
    const excess = Math.min(this.tailLength, this.tailLength + rest.length - CHECKSUM_BYTES);
    if (excess > 0) {
      this.crc.update(this.tail.subarray(0, excess));
      this.tail.copyWithin(0, excess, this.tailLength);
      this.tailLength -= excess;
    }
    const keep = Math.min(rest.length, CHECKSUM_BYTES - this.tailLength);
    this.crc.update(rest.subarray(0, rest.length - keep));
    this.tail.set(rest.subarray(rest.length - keep), this.tailLength);
    this.tailLength += keep;
  }

  private endUnknown(): void {
    if (this.tailLength < CHECKSUM_BYTES) throw rdbError('TRUNCATED', 'the bytes end before the file does', this.count);
    this.checkCrc();
    if (this.checksum === 'VALID') return;
    const { kind, code, offset } = this.unknown ?? { kind: 'TYPE', code: 0, offset: 0n };
    throw rdbError('CORRUPT', `unknown ${kind.toLowerCase()} ${code}, and no checksum that would vouch for the rest`, Number(offset));
  }

  private summary(): RdbSummary {
    const tally = this.tally;
    const walked = this.checksum === 'VALID' ? 'STRUCTURE_AND_CHECKSUM' : 'STRUCTURE_ONLY';
    return {
      magic: this.magic,
      version: this.version,
      aux: tally.aux(),
      databases: tally.databaseCounts(),
      types: tally.typeCounts(),
      keys: this.keys,
      expiring: tally.expiring(),
      functions: tally.functions,
      ...(tally.functionApi === null ? {} : { functionApi: tally.functionApi }),
      rdbTypes: tally.typeBytes(),
      opcodes: tally.opcodeBytes(),
      modules: tally.moduleNames(),
      hasHashFieldTtl: tally.hasFieldTtl(),
      bytes: this.bytes,
      checksum: this.checksum,
      integrity: this.unknown === null ? walked : 'CHECKSUM_ONLY',
      unknown: this.unknown,
    };
  }
}
