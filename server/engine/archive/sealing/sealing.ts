import { type RdbSummary } from '../../rdb/summary.js';
import { type ObjectWriter } from '../../store/store.js';
import { type CodecChoice } from '../codec/codec.js';
import { type BlockSize, type CipherName } from '../layout.js';
import { BlockPipeline } from './block-pipeline.js';
import { type Frame } from './frame.js';
import { type Receive } from './receiving.js';
import { RemoteSealing } from './remote-sealing.js';
import { type SealingThreads } from './threads.js';

/** What turns plain blocks into stored ones. */
export interface SealingPlan {
  codec: CodecChoice;
  cipher: CipherName;
  /** The object's 64 header bytes. */
  header: Uint8Array;
  /** 32 bytes; null with cipher none. */
  backupKey: Uint8Array | null;
  blockSize: BlockSize;
  /** Blocks compressed or written at once. Memory: about three times the block size for each. */
  depth: number;
  /** Whether the plain bytes are an RDB, to be walked. */
  walk: boolean;
}

/**
 * Walks, compresses and seals several blocks at once, and writes them strictly in order. A fault of any block ends it: every later call
 * fails with that fault, and `faulted` says so to whoever waits for something else.
 */
export interface Sealing {
  /** Of the blocks written so far. */
  readonly storedLengths: readonly number[];
  readonly storedSize: bigint;
  /** How far the walk is; lags behind a little. */
  readonly walked: { bytes: bigint; keys: bigint };
  readonly faulted: AbortSignal;
  /** Bytes of what it has received by itself. */
  readonly taken: bigint;
  /** Takes what a server sends right where the blocks are sealed; null where that is on this thread. Nothing is pushed before it has settled, and after something was received only `end` ends it. */
  readonly receive: Receive | null;
  /** Hands over the last block of what it has received by itself. */
  end(): Promise<void>;
  /** An empty frame, a used one where there is one. */
  take(): Frame;
  /** Lets the walk go on with what the frame holds by now, soon: a source may stop sending after bytes that are wrong. */
  look(frame: Frame): void;
  /** Hands a filled frame over. Resolves when another may be taken: this is the back-pressure. */
  push(frame: Frame, last: boolean): Promise<void>;
  /** Resolves when everything handed over has been written. */
  drain(): Promise<void>;
  /** Resolves when nothing is under way any more, however it ended. No more can be handed over. */
  settle(): Promise<void>;
  /** Writes bytes that are part of the object but of no block. Only while drained. */
  writeThrough(bytes: Uint8Array): Promise<void>;
  /** What the RDB holds that was walked. Only while drained, after the last block. Fails as the walk did, or with TRUNCATED. */
  summary(): Promise<RdbSummary>;
  /** Hex digests of all that was written. Ends it. With a cipher, each tag vouches for what is stored, and a digest of that would cost a twentieth of all work. */
  digests(): Promise<{ plainSha256: string; storedSha256: string | null }>;
}

/** On a thread of its own where there are any. */
export const createSealing = (plan: SealingPlan, output: ObjectWriter, threads: SealingThreads | undefined): Sealing =>
  threads === undefined ? new BlockPipeline(plan, output) : new RemoteSealing(plan, output, threads);
