import { createHash } from 'node:crypto';
import { DomainError, abortReason } from '../../domain/errors.js';
import { type Store } from '../store/store.js';
import { corrupt } from './archive-errors.js';
import { type Manifest } from './manifest.js';
import { openManifest, type ReadManifestOptions } from './manifest-reader.js';
import { type ObjectCursor } from './object-cursor.js';
import { BlockMemory } from './opening/block-memory.js';
import { createOpening } from './opening/opening.js';
import { type SealingThreads } from './sealing/threads.js';
import { StoredObject } from './stored-object.js';

export interface ReadRange {
  /** First plain byte, default 0. */
  start?: bigint | undefined;
  /** First plain byte not wanted, default: the size. */
  end?: bigint | undefined;
  signal?: AbortSignal | undefined;
}

export interface VerifyProgress {
  /** Plain bytes. */
  bytesDone: bigint;
  bytesTotal: bigint;
}

export interface ArchiveReader {
  readonly manifest: Manifest;
  /**
   * Plain bytes of the RDB, a block or part of one at a time, each checked before it is handed out: damage ends the stream
   * with CORRUPT after the last good byte. Reads at the consumer's speed, a few blocks ahead. BAD_INPUT for a range outside.
   */
  read(range?: ReadRange): AsyncIterable<Uint8Array>;
  /** Says that a piece of `read` will not be looked at any more: its memory holds another one then. Need not be called. */
  release(piece: Uint8Array): void;
  /**
   * Reads every byte of the archive and compares it with the manifest: header, blocks, index, sizes, SHA-256 of the plain bytes
   * and, where the manifest has it, of the stored ones. CORRUPT says which part, at which offset of which object.
   * @param onPlain sees all plain bytes in order, for checks of their content
   */
  verify(options?: {
    signal?: AbortSignal | undefined;
    onProgress?: ((progress: VerifyProgress) => void) | undefined;
    onPlain?: ((plain: Uint8Array) => void | Promise<void>) | undefined;
  }): Promise<void>;
  /** Ends it; reads that are under way fail at their next block. */
  close(): Promise<void>;
}

export interface OpenArchiveOptions extends ReadManifestOptions {
  /** Where blocks are decrypted and expanded. Default: here. */
  threads?: SealingThreads | undefined;
}

/** Blocks being expanded ahead of the consumer. */
const AHEAD = 3;

type Outcome = { plain: Uint8Array } | { error: unknown };

/**
 * Opens a sealed archive and checks manifest, header, index and sizes. NOT_FOUND without manifest; CORRUPT; UNSUPPORTED_FORMAT
 * for versions, codecs and ciphers this version does not know; KEY_UNAVAILABLE; else the store's errors.
 */
export const openArchive = async (store: Store, backupId: string, options: OpenArchiveOptions = {}): Promise<ArchiveReader> => {
  const { manifest, backupKey } = await openManifest(store, backupId, options);
  const object = await StoredObject.open(store, backupId, manifest.artifacts[0], backupKey, options.signal);
  return new StoreArchiveReader(manifest, object, options.threads);
};

class StoreArchiveReader implements ArchiveReader {
  private closed = false;
  private readonly memory: BlockMemory;

  constructor(readonly manifest: Manifest, private readonly object: StoredObject, private readonly threads: SealingThreads | undefined) {
    this.memory = new BlockMemory(object.artifact.blockSize);
  }

  async *read({ start = 0n, end, signal }: ReadRange = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { object } = this;
    const to = end ?? BigInt(object.plainSize);
    if (start < 0n || start > to || to > BigInt(object.plainSize)) {
      throw new DomainError('BAD_INPUT', `Range ${String(start)}-${String(to)} lies outside of ${String(object.plainSize)} bytes.`);
    }
    this.assertUsable(signal);
    const { blockSize } = object.artifact;
    const [from, until] = [Number(start), Number(to)];
    // An empty archive's only block is checked too, although it yields nothing.
    if (from === until && object.plainSize > 0) return;
    const first = Math.floor(from / blockSize);
    const last = Math.max(first, Math.ceil(until / blockSize) - 1);
    const cursor = object.blocks(first, last, signal);
    try {
      let at = first * blockSize;
      for await (const plain of this.expanded(cursor, first, last, signal)) {
        const piece = plain.subarray(Math.max(0, from - at), Math.max(0, Math.min(plain.length, until - at)));
        at += plain.length;
        if (piece.length > 0) yield piece;
      }
    } finally {
      await cursor.close();
    }
  }

  async verify({ signal, onProgress, onPlain }: Parameters<ArchiveReader['verify']>[0] = {}): Promise<void> {
    const { object } = this;
    const { artifact, key } = object;
    const storedHash = artifact.storedSha256 === null ? undefined : createHash('sha256');
    const plainHash = createHash('sha256');
    let bytesDone = 0n;
    const cursor = object.whole((chunk) => storedHash?.update(chunk), signal);
    try {
      this.assertUsable(signal);
      await object.checkHeader(cursor);
      for await (const plain of this.expanded(cursor, 0, object.blockCount - 1, signal)) {
        plainHash.update(plain);
        await onPlain?.(plain);
        bytesDone += BigInt(plain.length);
        onProgress?.({ bytesDone, bytesTotal: artifact.plainSize });
      }
      await object.checkTrailer(cursor);
    } finally {
      await cursor.close();
    }
    if (storedHash !== undefined && storedHash.digest('hex') !== artifact.storedSha256) throw corrupt(key, 'object', 0, 'the SHA-256 of the stored bytes is wrong');
    if (plainHash.digest('hex') !== artifact.plainSha256) throw corrupt(key, 'object', 0, 'the SHA-256 of the plain bytes is wrong');
  }

  release(piece: Uint8Array): void {
    this.memory.giveBack(piece);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  /** Blocks in order, some of them expanded ahead. Reading is sequential, expanding is parallel. */
  private async *expanded(cursor: ObjectCursor, first: number, last: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    const opening = createOpening(this.object.openingPlan, this.memory, this.threads);
    const ahead: Promise<Outcome>[] = [];
    let next = first;
    let failed = false;
    try {
      while (next <= last || ahead.length > 0) {
        while (next <= last && ahead.length < AHEAD && !failed) {
          // A bad block is reported in its turn, after the good ones before it.
          const number = next++;
          try {
            const expand = await this.object.nextBlock(cursor, number, opening);
            ahead.push(expand().then((plain) => ({ plain }), (error: unknown) => ({ error })));
          } catch (error) {
            failed = true;
            ahead.push(Promise.resolve({ error }));
          }
        }
        const outcome = await ahead.shift();
        if (outcome === undefined) return;
        this.assertUsable(signal);
        if ('error' in outcome) throw outcome.error;
        yield outcome.plain;
        this.assertUsable(signal);
      }
    } finally {
      opening.end();
    }
  }

  private assertUsable(signal: AbortSignal | undefined): void {
    if (signal?.aborted === true) throw abortReason(signal);
    if (this.closed) throw new DomainError('INTERRUPTED', `The reader of ${this.object.key} was closed.`);
  }
}
