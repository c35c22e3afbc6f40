import { type BlockSize } from '../layout.js';
import { Frame } from '../sealing/frame.js';

/**
 * Frames that blocks are opened in, used again when their reader gives them back: megabytes a second outside of the heap would otherwise
 * wait for the service's garbage collection.
 */
export class BlockMemory {
  private readonly free: Frame<SharedArrayBuffer>[] = [];
  private readonly lent = new WeakMap<ArrayBufferLike, Frame<SharedArrayBuffer>>();

  constructor(private readonly blockSize: BlockSize) {}

  take(): Frame<SharedArrayBuffer> {
    const frame = this.free.pop() ?? Frame.makeShared(this.blockSize);
    this.lent.set(frame.memory, frame);
    return frame;
  }

  /** Of a piece of anything else, nothing. */
  giveBack(piece: Uint8Array): void {
    const frame = this.lent.get(piece.buffer);
    if (frame === undefined) return;
    this.lent.delete(frame.memory);
    this.free.push(frame);
  }
}
