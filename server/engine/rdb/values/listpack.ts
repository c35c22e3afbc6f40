import { Packed } from './packed.js';

const HEADER = 6;
const END = 0xff;
/** The header's count says so when there are more than it can tell. */
const UNCOUNTED = 0xffff;

/** Source: listpack.c of Redis 5.0 to 8.0. Each element is followed by its own length, so that it can be walked backwards; that is passed over. */
export class Listpack extends Packed {
  private pos = HEADER;
  private readonly declared: number;
  private passed = 0;

  constructor(blob: Buffer, corrupt: (what: string) => Error) {
    super(blob, (what) => corrupt(`a listpack is damaged: ${what}`));
    if (blob.length <= HEADER || blob.readUInt32LE(0) !== blob.length) throw this.corrupt(`it does not have the length ${blob.length} that it is stored with`);
    this.declared = blob.readUInt16LE(4);
  }

  next(): boolean {
    const { blob } = this;
    const at = this.pos;
    const first = blob[at];
    if (first === undefined) throw this.corrupt('it has no end');
    if (first === END) {
      if (at !== blob.length - 1) throw this.corrupt('it ends before its length');
      if (this.declared !== UNCOUNTED && this.declared !== this.passed) throw this.corrupt(`it has ${this.passed} elements and says ${this.declared}`);
      return false;
    }
    const size = this.element(at, first);
    this.pos = at + size + backLength(size);
    this.passed += 1;
    return true;
  }

  /** Reads the element at `at` and returns how many bytes it takes. */
  private element(at: number, first: number): number {
    const { blob } = this;
    if (first < 0x80) {
      this.setInteger(first);
      return 1;
    }
    if (first < 0xc0) return this.string(at + 1, first & 0x3f, 1);
    if (first < 0xf0) {
      this.demand(at, 2);
      const low = blob[at + 1] as number;
      if (first >= 0xe0) return this.string(at + 2, ((first & 0x0f) << 8) | low, 2);
      this.setInteger(((((first & 0x1f) << 8) | low) << 19) >> 19);
      return 2;
    }
    switch (first) {
      case 0xf0:
        this.demand(at, 5);
        return this.string(at + 5, blob.readUInt32LE(at + 1), 5);
      case 0xf1:
      case 0xf2:
      case 0xf3: {
        const width = first - 0xef;
        this.demand(at, 1 + width);
        this.setInteger(blob.readIntLE(at + 1, width));
        return 1 + width;
      }
      case 0xf4:
        this.demand(at, 9);
        this.setWide(blob.readBigInt64LE(at + 1));
        return 9;
      default:
        throw this.corrupt(`encoding 0x${first.toString(16)} does not exist`);
    }
  }

  private string(from: number, length: number, head: number): number {
    this.setString(from, from + length);
    return head + length;
  }
}

/** Bytes of the length that stands behind an element of that size: seven bits each (lpEncodeBacklen). */
const backLength = (size: number): number => (size <= 127 ? 1 : size < 16_383 ? 2 : size < 2_097_151 ? 3 : size < 268_435_455 ? 4 : 5);
