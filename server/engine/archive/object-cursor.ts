import { corrupt } from './archive-errors.js';

/** Takes exact amounts out of a stream of chunks. Owns the stream: `close` ends it. */
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

  /** The next `length` bytes; the caller may change them. CORRUPT when the stream ends before. */
  async take(length: number, part: string): Promise<Buffer> {
    const at = this.position;
    if (this.held.length < length) {
      const out = Buffer.allocUnsafeSlow(length);
      let filled = this.held.copy(out);
      this.held = this.held.subarray(filled);
      while (filled < length) {
        if (!(await this.pull())) throw corrupt(this.key, part, at + filled, 'the object ends here');
        const copied = this.held.copy(out, filled, 0, length - filled);
        filled += copied;
        this.held = this.held.subarray(copied);
      }
      this.position += length;
      return out;
    }
    const out = this.held.subarray(0, length);
    this.held = this.held.subarray(length);
    this.position += length;
    return out;
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
