import { Packed } from './packed.js';

const HEADER = 8;

/** Source: intset.c. Integers of one width in rising order, least significant byte first. */
export class Intset extends Packed {
  private pos = HEADER;
  private readonly width: number;

  constructor(blob: Buffer, corrupt: (what: string) => Error) {
    super(blob, (what) => corrupt(`an intset is damaged: ${what}`));
    this.width = blob.length < HEADER ? 0 : blob.readUInt32LE(0);
    if (![2, 4, 8].includes(this.width)) throw this.corrupt(`its integers have ${this.width} bytes`);
    if (blob.length - HEADER !== this.width * blob.readUInt32LE(4)) throw this.corrupt(`it does not have the length ${blob.length} that it is stored with`);
  }

  next(): boolean {
    if (this.pos >= this.blob.length) return false;
    if (this.width === 8) this.setWide(this.blob.readBigInt64LE(this.pos));
    else this.setInteger(this.blob.readIntLE(this.pos, this.width));
    this.pos += this.width;
    return true;
  }
}
