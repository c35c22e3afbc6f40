import { corrupt } from './archive-errors.js';

/** Takes exact amounts out of a stream of chunks, each of which is ours until we ask for the next. Owns the stream: `close` ends it. */
export class ObjectCursor {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private held: Buffer = Buffer.alloc(0);
  private joined: Buffer = Buffer.alloc(0);

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
    await this.takeInto(out, part);
    return out;
  }

  /** The next `length` bytes in one piece, which is gone with the next call of anything. CORRUPT when the stream ends before. */
  async borrow(length: number, part: string): Promise<Buffer> {
    if (this.held.length >= length) return this.advance(length);
    if (this.joined.length < length) this.joined = Buffer.allocUnsafeSlow(length);
    const out = this.joined.subarray(0, length);
    await this.takeInto(out, part);
    return out;
  }

  /** Fills `out` with the next bytes. CORRUPT when the stream ends before. */
  async takeInto(out: Buffer, part: string): Promise<void> {
    for (let filled = 0; filled < out.length; ) {
      if (this.held.length === 0 && !(await this.pull())) throw corrupt(this.key, part, this.position, 'the object ends here');
      filled += this.advance(Math.min(this.held.length, out.length - filled)).copy(out, filled);
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

  private advance(length: number): Buffer {
    const slice = this.held.subarray(0, length);
    this.held = this.held.subarray(length);
    this.position += length;
    return slice;
  }

  private async pull(): Promise<boolean> {
    const next = await this.chunks.next();
    if (next.done === true) return false;
    this.onChunk?.(next.value);
    this.held = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length);
    return true;
  }
}
