import { corrupt } from './archive-errors.js';

/** Takes exact amounts out of a stream of chunks, each of which is ours until we ask for the next. Owns the stream: `close` ends it. */
export class ObjectCursor {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private held: Buffer = Buffer.alloc(0);

  /**
   * @param position where the stream begins in the object, for messages
   * @param onChunk sees every byte once, in order, before it is handed out
   */
  constructor(
    private readonly key: string,
    stream: AsyncIterable<Uint8Array>,
    public position: number,
    private readonly onChunk?: (chunk: Uint8Array) => void,
  ) {
    this.chunks = stream[Symbol.asyncIterator]();
  }

  /** A copy of the next `length` bytes. CORRUPT when the stream ends before. */
  async take(length: number, part: string): Promise<Buffer> {
    const out = Buffer.allocUnsafeSlow(length);
    let filled = 0;
    await this.pass(length, part, (slice) => {
      filled += slice.copy(out, filled);
    });
    return out;
  }

  /** Hands over the next `length` bytes in slices, which are gone when `onSlice` has returned. CORRUPT when the stream ends before. */
  async pass(length: number, part: string, onSlice: (slice: Buffer) => void): Promise<void> {
    for (let left = length; left > 0; ) {
      if (this.held.length === 0 && !(await this.pull())) throw corrupt(this.key, part, this.position, 'the object ends here');
      const slice = this.held.subarray(0, left);
      onSlice(slice);
      this.held = this.held.subarray(slice.length);
      this.position += slice.length;
      left -= slice.length;
    }
  }

  /** CORRUPT when anything follows. */
  async expectEnd(): Promise<void> {
    while (this.held.length === 0) if (!(await this.pull())) return;
    throw corrupt(this.key, 'end', this.position, 'bytes follow where the object should end');
  }

  async close(): Promise<void> {
    await this.chunks.return?.();
  }

  private async pull(): Promise<boolean> {
    const next = await this.chunks.next();
    if (next.done === true) return false;
    this.onChunk?.(next.value);
    this.held = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length);
    return true;
  }
}
