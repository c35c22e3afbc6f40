import { createHash, type Hash } from 'node:crypto';
import { type RdbSummary } from '../../rdb/summary.js';
import { codecFor, type Codec } from '../codec/codec.js';
import { BLOCK_HEADER_BYTES, TAG_BYTES, encodeBlockHeader } from '../layout.js';
import { sealFor, type Seal } from '../seal.js';
import { ContentWalk } from './content-walk.js';
import { Frame } from './frame.js';
import { type Sealing, type SealingPlan } from './sealing.js';

/** Where stored bytes go; they are free again when it has resolved. The frame is the one they lie in. */
export interface StoredOutput {
  write(bytes: Uint8Array, frame?: Frame): Promise<void>;
}

/** Sealing on the thread it is made on. */
export class BlockPipeline implements Sealing {
  readonly storedLengths: number[] = [];
  storedSize = 0n;
  readonly taken = 0n;
  readonly receive = null;
  private readonly codec: Codec;
  private readonly seal: Seal;
  private readonly content: ContentWalk | undefined;
  private readonly plainHash = createHash('sha256');
  private readonly storedHash: Hash | undefined;
  private readonly free: Frame[] = [];
  /** The one that is being filled where it is compressed: there is room for no other. */
  private onDesk: Frame | undefined;
  private readonly inFlight: Promise<void>[] = [];
  private readonly ending = new AbortController();
  private counter = 0;
  /** Of the frame that is being filled. */
  private hashed = 0;
  private tail: Promise<void> = Promise.resolve();
  private fault: { error: unknown } | undefined;

  constructor(private readonly plan: SealingPlan, private readonly output: StoredOutput) {
    this.codec = codecFor(plan.codec);
    this.seal = sealFor(plan.cipher, plan.header, plan.backupKey);
    this.storedHash = plan.cipher === 'none' ? createHash('sha256') : undefined;
    this.content = plan.walk ? new ContentWalk() : undefined;
  }

  get faulted(): AbortSignal {
    return this.ending.signal;
  }

  get walked(): { bytes: bigint; keys: bigint } {
    return { bytes: this.content?.bytes ?? 0n, keys: this.content?.keys ?? 0n };
  }

  look(frame: Frame): void {
    // While what has come is in the processor's caches.
    this.hash(frame);
    this.noting(() => this.content?.look(frame));
  }

  async push(frame: Frame, last: boolean): Promise<void> {
    this.assertWhole();
    this.noting(() => this.content?.end(frame));
    this.assertWhole();
    const counter = this.counter++;
    // Before the frame is made what is stored, which happens at once where the codec does.
    this.hash(frame);
    this.hashed = 0;
    const sealing = this.codec.compress(frame.plain, (packed) => this.sealIn(frame, packed, counter, last));
    if (frame === this.onDesk) this.onDesk = undefined;
    const mine = Promise.all([sealing, this.tail]).then(([storedLength]) => this.emit(frame, storedLength));
    this.tail = mine;
    // Whoever calls next learns of the fault; until then nobody may be waiting for it.
    mine.catch((error: unknown) => this.fail(error));
    this.inFlight.push(mine);
    while (this.inFlight.length >= this.plan.depth) await this.inFlight.shift();
  }

  end(): Promise<void> {
    return Promise.reject(new RangeError('Nothing is received here.'));
  }

  take(): Frame {
    if (this.onDesk !== undefined) return Frame.make(this.plan.blockSize);
    const desk = this.codec.lend?.();
    const frame = this.free.pop() ?? Frame.make(this.plan.blockSize, desk);
    frame.filled = 0;
    if (desk !== undefined) this.onDesk = frame;
    return frame;
  }

  async drain(): Promise<void> {
    await this.tail;
    this.assertWhole();
  }

  async settle(): Promise<void> {
    await Promise.allSettled([this.tail, ...this.inFlight]);
    this.codec.takeBack?.();
  }

  async writeThrough(bytes: Uint8Array): Promise<void> {
    this.pass(bytes);
    await this.output.write(bytes);
  }

  /** Counts bytes that are part of the object but of no block, and that somebody else writes. */
  pass(bytes: Uint8Array): void {
    this.storedHash?.update(bytes);
    this.storedSize += BigInt(bytes.length);
  }

  // Async, so that what it throws is a rejection.
  async summary(): Promise<RdbSummary> {
    await this.drain();
    if (this.content === undefined) throw new RangeError('What is not walked has no summary.');
    return this.content.finish();
  }

  digests(): Promise<{ plainSha256: string; storedSha256: string | null }> {
    this.codec.takeBack?.();
    return Promise.resolve({ plainSha256: this.plainHash.digest('hex'), storedSha256: this.storedHash?.digest('hex') ?? null });
  }

  private hash(frame: Frame): void {
    if (frame.filled === this.hashed) return;
    this.plainHash.update(frame.plain.subarray(this.hashed));
    this.hashed = frame.filled;
  }

  private noting(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (this.fault !== undefined) return;
    this.fault = { error };
    this.ending.abort(error);
  }

  private assertWhole(): void {
    if (this.fault !== undefined) throw this.fault.error;
  }

  /** Makes the frame hold the stored block: header, content, tag. Returns the content's length. */
  private sealIn(frame: Frame, packed: Uint8Array | null, counter: number, last: boolean): number {
    const plainLength = frame.filled;
    const raw = packed === null || packed.length >= plainLength;
    const content = raw ? frame.plain : packed;
    const storedLength = content.length;
    const header = encodeBlockHeader(
      { kind: 'data', storedLength, plainLength, counter, last, raw }, frame.bytes.subarray(0, BLOCK_HEADER_BYTES),
    );
    const tag = this.seal.seal(header, content, frame.bytes.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + storedLength));
    frame.bytes.set(tag, BLOCK_HEADER_BYTES + storedLength);
    return storedLength;
  }

  private async emit(frame: Frame, storedLength: number): Promise<void> {
    this.storedLengths.push(storedLength);
    const bytes = frame.bytes.subarray(0, BLOCK_HEADER_BYTES + storedLength + TAG_BYTES);
    this.pass(bytes);
    await this.output.write(bytes, frame);
    // One that somebody else fills comes again and again.
    if (!this.free.includes(frame)) this.free.push(frame);
  }
}
