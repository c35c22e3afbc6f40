import { Packed } from './packed.js';

const END = 0xff;
const LONG = 0xfe;

/** Fields and values alternately. Source: zipmap.c of Redis 2.4, which wrote it last; later servers load it. Behind each value is room that it once took. */
export class Zipmap extends Packed {
  /** The first byte counts the fields, up to 253; it is not needed. */
  private pos = 1;
  private value = false;

  constructor(blob: Buffer, corrupt: (what: string) => Error) {
    super(blob, (what) => corrupt(`a zipmap is damaged: ${what}`));
  }

  next(): boolean {
    const { blob } = this;
    let at = this.pos;
    let length = blob[at];
    if (length === undefined) throw this.corrupt('it has no end');
    if (length === END) {
      if (this.value || at !== blob.length - 1) throw this.corrupt(this.value ? 'its last field has no value' : 'it ends before its length');
      return false;
    }
    at += 1;
    if (length === LONG) {
      this.demand(at, 4);
      length = blob.readUInt32LE(at);
      at += 4;
    }
    let free = 0;
    if (this.value) {
      this.demand(at, 1);
      free = blob[at] as number;
      at += 1;
    }
    this.setString(at, at + length);
    this.pos = at + length + free;
    this.value = !this.value;
    return true;
  }
}
