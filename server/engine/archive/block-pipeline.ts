import { createHash } from 'node:crypto';
import { type ObjectWriter } from '../store/store.js';
import { type Codec } from './codec/codec.js';
import { BLOCK_HEADER_BYTES, FRAME_OVERHEAD, TAG_BYTES, encodeBlockHeader, type BlockSize } from './layout.js';
import { type Seal } from './seal.js';

/** A block being filled: room for its header, its plain bytes and its tag, so that it is stored with one write and no copy. */
export class Frame {
  readonly bytes: Buffer;
  filled = 0;

  constructor(private readonly blockSize: BlockSize) {
    this.bytes = Buffer.allocUnsafeSlow(blockSize + FRAME_OVERHEAD);
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

export interface BlockPipelineOptions {
  output: ObjectWriter;
  codec: Codec;
  seal: Seal;
  blockSize: BlockSize;
  /** Blocks compressed or written at once. Memory: about three times the block size for each. */
  depth: number;
}

/**
 * Compresses several blocks at once, seals and writes them strictly in order. A fault of any block ends it: every later call
 * fails with that fault.
 */
export class BlockPipeline {
  readonly storedLengths: number[] = [];
  storedSize = 0n;
  private readonly plainHash = createHash('sha256');
  private readonly storedHash = createHash('sha256');
  private readonly free: Frame[] = [];
  private readonly inFlight: Promise<void>[] = [];
  private counter = 0;
  private tail: Promise<void> = Promise.resolve();
  private fault: { error: unknown } | undefined;

  constructor(private readonly options: BlockPipelineOptions) {}

  /** Hands a filled frame over. Resolves when another may be taken: this is the back-pressure. */
  async push(frame: Frame, last: boolean): Promise<void> {
    this.assertWhole();
    const counter = this.counter++;
    const compressing = this.options.codec.compress(frame.plain);
    this.plainHash.update(frame.plain);
    const mine = Promise.all([compressing, this.tail]).then(([compressed]) => this.emit(frame, compressed, counter, last));
    this.tail = mine;
    // Whoever calls next learns of the fault; until then nobody may be waiting for it.
    mine.catch((error: unknown) => { this.fault ??= { error }; });
    this.inFlight.push(mine);
    while (this.inFlight.length >= this.options.depth) await this.inFlight.shift();
  }

  /** An empty frame, a used one where there is one. */
  take(): Frame {
    const frame = this.free.pop() ?? new Frame(this.options.blockSize);
    frame.filled = 0;
    return frame;
  }

  /** Resolves when everything handed over has been written. */
  async drain(): Promise<void> {
    await this.tail;
    this.assertWhole();
  }

  /** Resolves when nothing is under way any more, however it ended. */
  async settle(): Promise<void> {
    await Promise.allSettled([this.tail, ...this.inFlight]);
  }

  /** Writes bytes that are part of the object but of no block. Only while drained. */
  async writeThrough(bytes: Uint8Array): Promise<void> {
    this.storedHash.update(bytes);
    this.storedSize += BigInt(bytes.length);
    await this.options.output.write(bytes);
  }

  /** Hex digests of all that was written. Ends the pipeline. */
  digests(): { plainSha256: string; storedSha256: string } {
    return { plainSha256: this.plainHash.digest('hex'), storedSha256: this.storedHash.digest('hex') };
  }

  private assertWhole(): void {
    if (this.fault !== undefined) throw this.fault.error;
  }

  private async emit(frame: Frame, compressed: Uint8Array | null, counter: number, last: boolean): Promise<void> {
    const plainLength = frame.filled;
    const raw = compressed === null || compressed.length >= plainLength;
    const content = raw ? frame.plain : compressed;
    const storedLength = content.length;
    const header = encodeBlockHeader(
      { kind: 'data', storedLength, plainLength, counter, last, raw }, frame.bytes.subarray(0, BLOCK_HEADER_BYTES),
    );
    const tagAt = BLOCK_HEADER_BYTES + storedLength;
    const { bytes, tag } = this.options.seal.seal(header, content);
    frame.bytes.set(bytes, BLOCK_HEADER_BYTES);
    frame.bytes.set(tag, tagAt);
    this.storedLengths.push(storedLength);
    await this.writeThrough(frame.bytes.subarray(0, tagAt + TAG_BYTES));
    this.free.push(frame);
  }
}
