import { Packed } from './packed.js';

const HEADER = 10;
const END = 0xff;
const UNCOUNTED = 0xffff;

/** Source: ziplist.c of Redis 2.8 to 6.2; newer servers turn these into listpacks when they load them. */
export class Ziplist extends Packed {
  private pos = HEADER;
  private readonly declared: number;
  private passed = 0;

  constructor(blob: Buffer, corrupt: (what: string) => Error) {
    super(blob, (what) => corrupt(`a ziplist is damaged: ${what}`));
    if (blob.length <= HEADER || blob.readUInt32LE(0) !== blob.length) throw this.corrupt(`it does not have the length ${blob.length} that it is stored with`);
    this.declared = blob.readUInt16LE(8);
  }

  next(): boolean {
    const { blob } = this;
    const first = blob[this.pos];
    if (first === undefined) throw this.corrupt('it has no end');
    if (first === END) {
      if (this.pos !== blob.length - 1) throw this.corrupt('it ends before its length');
      if (this.declared !== UNCOUNTED && this.declared !== this.passed) throw this.corrupt(`it has ${this.passed} elements and says ${this.declared}`);
      return false;
    }
    // The length of the element before, in one byte or in four behind a mark.
    const at = this.pos + (first === 0xfe ? 5 : 1);
    this.demand(at, 1);
    this.pos = this.element(at, blob[at] as number);
    this.passed += 1;
    return true;
  }

  /** Reads the element whose encoding stands at `at` and returns where it ends. */
  private element(at: number, first: number): number {
    const { blob } = this;
    if (first < 0x40) return this.string(at + 1, first);
    if (first < 0x80) {
      this.demand(at, 2);
      return this.string(at + 2, ((first & 0x3f) << 8) | (blob[at + 1] as number));
    }
    if (first < 0xc0) {
      this.demand(at, 5);
      return this.string(at + 5, blob.readUInt32BE(at + 1));
    }
    switch (first) {
      case 0xc0: return this.int(at, 2);
      case 0xd0: return this.int(at, 4);
      case 0xf0: return this.int(at, 3);
      case 0xfe: return this.int(at, 1);
      case 0xe0:
        this.demand(at, 9);
        this.setWide(blob.readBigInt64LE(at + 1));
        return at + 9;
      default:
        if (first < 0xf1 || first > 0xfd) throw this.corrupt(`encoding 0x${first.toString(16)} does not exist`);
        this.setInteger(first - 0xf1);
        return at + 1;
    }
  }

  private int(at: number, width: number): number {
    this.demand(at, 1 + width);
    this.setInteger(this.blob.readIntLE(at + 1, width));
    return at + 1 + width;
  }

  private string(from: number, length: number): number {
    this.setString(from, from + length);
    return from + length;
  }
}
