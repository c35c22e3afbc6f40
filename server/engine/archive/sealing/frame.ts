import { BLOCK_HEADER_BYTES, FRAME_OVERHEAD, type BlockSize } from '../layout.js';

/**
 * A block being filled: room for its header, its plain bytes and its tag, so that it is stored with one write and no copy. Its memory can be
 * seen by other threads; whoever fills it goes on behind what was handed over before.
 */
export class Frame {
  readonly bytes: Buffer;
  filled = 0;

  /** @param memory what another thread sees already; default: new */
  constructor(readonly blockSize: BlockSize, readonly memory: SharedArrayBuffer = new SharedArrayBuffer(blockSize + FRAME_OVERHEAD)) {
    this.bytes = Buffer.from(memory);
  }

  get isFull(): boolean {
    return this.filled === this.blockSize;
  }

  get plain(): Buffer {
    return this.bytes.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + this.filled);
  }

  /** Copies as much of `chunk` as fits; returns how much. */
  fill(chunk: Uint8Array): number {
    const part = Math.min(chunk.length, this.blockSize - this.filled);
    this.bytes.set(part === chunk.length ? chunk : chunk.subarray(0, part), BLOCK_HEADER_BYTES + this.filled);
    this.filled += part;
    return part;
  }
}
