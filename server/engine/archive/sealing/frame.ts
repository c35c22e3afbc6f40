import { BLOCK_HEADER_BYTES, FRAME_OVERHEAD, type BlockSize } from '../layout.js';

/**
 * A block being filled: room for its header, its plain bytes and its tag, so that it is stored with one write and no copy. Whoever fills it goes on behind what
 * was handed over before. Memory that several threads see takes V8 twice as long to copy from and to; where it is not filled on two of them, it goes from one to the other instead.
 */
export class Frame<Memory extends ArrayBufferLike = ArrayBufferLike> {
  filled = 0;
  private own: Buffer;

  /** @param desk where its plain bytes are filled into instead, by whoever makes something of them that is stored */
  constructor(readonly blockSize: BlockSize, private held: Memory, private readonly desk?: Buffer) {
    this.own = Buffer.from(held);
  }

  static make(blockSize: BlockSize, desk?: Buffer): Frame<ArrayBuffer> {
    return new Frame(blockSize, new ArrayBuffer(blockSize + FRAME_OVERHEAD), desk);
  }

  /** One that another thread can see. */
  static makeShared(blockSize: BlockSize): Frame<SharedArrayBuffer> {
    return new Frame(blockSize, new SharedArrayBuffer(blockSize + FRAME_OVERHEAD));
  }

  get memory(): Memory {
    return this.held;
  }

  get bytes(): Buffer {
    return this.own;
  }

  /** In the place of memory that was given away. */
  giveMemory(memory: Memory): void {
    this.held = memory;
    this.own = Buffer.from(memory);
  }

  get isFull(): boolean {
    return this.filled === this.blockSize;
  }

  get plain(): Buffer {
    return this.desk?.subarray(0, this.filled) ?? this.bytes.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + this.filled);
  }

  /** Copies as much of `chunk` as fits; returns how much. */
  fill(chunk: Uint8Array): number {
    const part = Math.min(chunk.length, this.blockSize - this.filled);
    const whole = part === chunk.length ? chunk : chunk.subarray(0, part);
    if (this.desk === undefined) this.bytes.set(whole, BLOCK_HEADER_BYTES + this.filled);
    else this.desk.set(whole, this.filled);
    this.filled += part;
    return part;
  }
}
