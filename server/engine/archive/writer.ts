import { randomBytes } from 'node:crypto';
import { DomainError, abortReason } from '../../domain/errors.js';
import { type ObjectWriter, type Store } from '../store/store.js';
import { removeManifestOf } from './attempts.js';
import { DEFAULT_CODEC, codecFor, type CodecChoice } from './codec/codec.js';
import {
  BLOCK_SIZES, DEFAULT_BLOCK_SIZE, FOOTER_BYTES, SALT_BYTES, archivePrefix, attemptOf, encodeBlockHeader, encodeFooter, encodeHeader, encodeIndex,
  manifestKey, objectKey, parseArchiveKey, rdbObject, type BlockSize, type CipherName,
} from './layout.js';
import { makeBackupKey, manifestKeyFrom, removeBackupKey, storeBackupKey, type KeyRing } from './keys.js';
import { encodeManifest, type Manifest, type ManifestFacts, type StoredArtifact } from './manifest.js';
import { type RdbSummary } from '../rdb/summary.js';
import { sealFor, type Seal } from './seal.js';
import { Filling } from './sealing/filling.js';
import { type Receive } from './sealing/receiving.js';
import { createSealing, type Sealing } from './sealing/sealing.js';
import { type SealingThreads } from './sealing/threads.js';
import { readWhole, writeWhole } from './whole-object.js';

export interface CreateArchiveOptions {
  backupId: string;
  /** Which attempt at this backup writes it, from 1. Default 1. Only attempts of different numbers may be under way at once. */
  attempt?: number | undefined;
  /** Encrypts under a key of the backup's own, wrapped by the current master key. Without a ring the archive is not encrypted. */
  keys?: KeyRing | undefined;
  codec?: CodecChoice | undefined;
  /** Plain bytes per block; 256 KiB, 512 KiB or 1 MiB (default). */
  blockSize?: BlockSize | undefined;
  /** Blocks under way at once, default 4, about 12 MiB with the default block size. */
  depth?: number | undefined;
  signal?: AbortSignal | undefined;
  /** The bytes are an RDB, to be walked as they come: see `content`. Default false. */
  walk?: boolean | undefined;
  /** Where blocks are walked, compressed and sealed. Default: here. */
  threads?: SealingThreads | undefined;
  /** Source of the object's salt, of the backup's key, and of the nonce it is wrapped with, for reproducible archives. Default: the system's. */
  random?: ((bytes: number) => Uint8Array) | undefined;
}

export interface ArchiveWriter {
  /** Bytes taken so far. */
  readonly plainBytes: bigint;
  /** Bytes written to the store so far; lags behind by the blocks under way. */
  readonly storedBytes: bigint;
  /** How far the walk is; lags behind by a tenth of a second, or the blocks under way. */
  readonly walked: { bytes: bigint; keys: bigint };
  /** Aborted with the first fault of the walk or of a block, which may show when nobody calls. */
  readonly faulted: AbortSignal;
  /**
   * Appends bytes of the RDB file. The chunk may be of any size and is free again when the promise has resolved; a promise
   * that takes its time is the back-pressure. One call at a time.
   */
  write(chunk: Uint8Array): Promise<void>;
  /** Takes the whole RDB of a server on the thread that seals it, in the place of `write`; null where that is this one. Fails as `receiveRdb`, and then `write` may follow as long as there are no bytes. */
  readonly receive: Receive | null;
  /** Says that all bytes are here; gives what the RDB holds that was walked. Fails as `RdbReader`, or with CORRUPT when bytes follow its end. */
  content(): Promise<RdbSummary>;
  /**
   * Last block, index, footer, fsync; then the manifest. Only when this resolves does the archive exist.
   * @param assertOwned rejects when this attempt is not the one that counts any more; awaited right before the manifest. While it
   * resolves, a manifest that an earlier attempt has put there meanwhile is replaced; without it that is CONFLICT.
   */
  seal(facts: ManifestFacts, assertOwned?: () => Promise<void>): Promise<Manifest>;
  /** Gives up and leaves nothing behind. Without effect after `seal` has resolved, or a second time. */
  abort(): Promise<void>;
}

const DEPTH = 4;
/** An earlier attempt seals once at most, so this many turns are enough for all that a job has. */
const SEAL_ATTEMPTS = 5;

/**
 * Begins an archive under `backups/<backupId>/`. A key left over from the same attempt is CONFLICT: `removeArchive` first.
 * After a fault of any call the object is gone from the store or an unsealed temporary; `abort` makes sure.
 */
export const createArchive = async (store: Store, options: CreateArchiveOptions): Promise<ArchiveWriter> => {
  const { backupId, signal, attempt = 1, blockSize = DEFAULT_BLOCK_SIZE, depth = DEPTH, walk = false, threads } = options;
  if (!BLOCK_SIZES.includes(blockSize)) throw new DomainError('BAD_INPUT', `Block size ${String(blockSize)} is not one of ${BLOCK_SIZES.join(', ')}.`);
  const choice = options.codec ?? DEFAULT_CODEC;
  const codec = codecFor(choice);
  const object = rdbObject(attempt);
  const key = objectKey(backupId, object);
  if (await store.stat(manifestKey(backupId)) !== null) {
    throw new DomainError('CONFLICT', `Archive ${backupId} is sealed already.`, { hint: 'Remove it before writing it anew.' });
  }
  const { keys, random = randomBytes } = options;
  const salt = random(SALT_BYTES);
  const backupKey = keys ? makeBackupKey(random) : null;
  const cipher: CipherName = keys ? 'aes-256-gcm' : 'none';
  const header = encodeHeader({ backupId, kind: 'RDB', codec: codec.name, cipher, blockSize, salt });
  const seal = sealFor(cipher, header, backupKey);
  const output = await store.create(key, { signal });
  const pipeline = createSealing({ codec: choice, cipher, header, backupKey, blockSize, depth, walk }, output, threads);
  try {
    await pipeline.writeThrough(header);
  } catch (error) {
    await pipeline.settle();
    await output.abort();
    throw error;
  }
  const artifact = {
    object, kind: 'RDB', codec: codec.name, cipher, blockSize, salt: Buffer.from(salt).toString('hex'),
  } as const;
  return new StoreArchiveWriter({ store, backupId, signal, output, pipeline, seal, artifact, encryption: keys && backupKey ? { keys, backupKey, random } : null });
};

interface Parts {
  store: Store;
  backupId: string;
  signal: AbortSignal | undefined;
  output: ObjectWriter;
  pipeline: Sealing;
  seal: Seal;
  encryption: { keys: KeyRing; backupKey: Uint8Array; random: NonNullable<CreateArchiveOptions['random']> } | null;
  artifact: Pick<StoredArtifact, 'object' | 'kind' | 'codec' | 'cipher' | 'blockSize' | 'salt'>;
}

class StoreArchiveWriter implements ArchiveWriter {
  private state: 'open' | 'committed' | 'sealed' | 'aborted' = 'open';
  private readonly filling: Filling;
  private complete = false;
  private manifest: Buffer | undefined;
  /** Removes what this writer has put under its own name. */
  private readonly undo: (() => Promise<void>)[] = [];

  constructor(private readonly parts: Parts) {
    this.filling = new Filling(parts.pipeline, () => this.assertOpen());
  }

  private get attempt(): number {
    return attemptOf(this.parts.artifact.object) ?? 1;
  }

  get plainBytes(): bigint {
    return this.filling.bytes + this.parts.pipeline.taken;
  }

  get receive(): Receive | null {
    const { receive } = this.parts.pipeline;
    return receive && (async (...args) => {
      this.assertOpen();
      if (this.plainBytes > 0n) throw new DomainError('CONFLICT', `Archive ${this.parts.backupId} has begun already.`);
      return receive(...args);
    });
  }

  get storedBytes(): bigint {
    return this.parts.pipeline.storedSize;
  }

  get walked(): { bytes: bigint; keys: bigint } {
    return this.parts.pipeline.walked;
  }

  get faulted(): AbortSignal {
    return this.parts.pipeline.faulted;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.assertOpen();
    if (this.complete || this.parts.pipeline.taken > 0n) throw new DomainError('CONFLICT', `Archive ${this.parts.backupId} is complete; it takes no more bytes.`);
    await this.filling.write(chunk);
  }

  async content(): Promise<RdbSummary> {
    this.assertOpen();
    await this.end();
    return this.parts.pipeline.summary();
  }

  async seal(facts: ManifestFacts, assertOwned?: () => Promise<void>): Promise<Manifest> {
    this.assertOpen();
    const { backupId, pipeline, artifact, encryption } = this.parts;
    await this.end();
    const blockCount = pipeline.storedLengths.length;
    await this.writeIndex();
    this.assertOpen();
    await this.commit();
    const stored: StoredArtifact = {
      ...artifact, blockCount, plainSize: this.plainBytes, storedSize: pipeline.storedSize, ...(await pipeline.digests()),
    };
    const { manifest, bytes } = encodeManifest(backupId, stored, facts, encryption && manifestKeyFrom(encryption.backupKey));
    this.manifest = bytes;
    await this.publish(bytes, assertOwned);
    this.state = 'sealed';
    if (assertOwned !== undefined) await this.removeOtherAttempts();
    return manifest;
  }

  async abort(): Promise<void> {
    if (this.state === 'sealed' || this.state === 'aborted') return;
    const { store, backupId, output, pipeline } = this.parts;
    const committed = this.state === 'committed';
    this.state = 'aborted';
    await pipeline.settle();
    await output.abort();
    // A manifest that lies there may be another attempt's, of the archive that counts.
    if (committed && this.manifest !== undefined && (await this.liesThere(this.manifest))) await store.remove(manifestKey(backupId));
    for (const undo of this.undo) await undo();
  }

  /** The last block. */
  private async end(): Promise<void> {
    const { pipeline } = this.parts;
    if (!this.complete) {
      this.complete = true;
      await (pipeline.taken > 0n ? pipeline.end() : this.filling.end());
    }
    await pipeline.drain();
  }

  /** The data and its wrapped key, which both have to be durable before the manifest. */
  private async commit(): Promise<void> {
    const { store, backupId, signal, output, artifact, encryption } = this.parts;
    this.state = 'committed';
    const data = output.commit().then(() => this.undo.push(() => store.remove(objectKey(backupId, artifact.object))));
    const of = { backupId, artifact: artifact.object };
    const key = encryption && storeBackupKey(store, encryption.keys.current, { ...of, key: encryption.backupKey }, signal, encryption.random)
      .then(() => this.undo.push(() => removeBackupKey(store, encryption.keys.current, of)));
    // Neither is left under way when the other fails.
    for (const outcome of await Promise.allSettled([data, key])) if (outcome.status === 'rejected') throw outcome.reason;
  }

  private async publish(bytes: Buffer, assertOwned: (() => Promise<void>) | undefined): Promise<void> {
    const { store, backupId, signal } = this.parts;
    for (let turn = 1; ; turn += 1) {
      await assertOwned?.();
      try {
        await writeWhole(store, manifestKey(backupId), bytes, signal);
        return;
      } catch (error) {
        if (!(error instanceof DomainError && error.code === 'CONFLICT') || assertOwned === undefined || turn === SEAL_ATTEMPTS) throw error;
      }
      // The archive of an attempt that was taken for dead and woke up; its data may be gone already.
      await assertOwned();
      if (!(await removeManifestOf(store, backupId, this.attempt))) throw new DomainError('INTERRUPTED', `A later attempt has sealed archive ${backupId}.`, { retryable: true });
    }
  }

  private async liesThere(manifest: Buffer): Promise<boolean> {
    const { store, backupId } = this.parts;
    const found = await readWhole(store, manifestKey(backupId), manifest.length);
    return found !== null && found.equals(manifest);
  }

  /** Data of earlier attempts that nothing names any more. What cannot be removed goes with the archive, at the latest. */
  private async removeOtherAttempts(): Promise<void> {
    const { store, backupId } = this.parts;
    const left: string[] = [];
    try {
      for await (const { key } of store.list(archivePrefix(backupId))) {
        const attempt = attemptOf(parseArchiveKey(key)?.object ?? '');
        if (attempt !== undefined && attempt < this.attempt) left.push(key);
      }
      for (const key of left) await store.remove(key);
    } catch (error) {
      // The archive is sealed: it must not fail for what lies beside it.
      if (!(error instanceof DomainError)) throw error;
    }
  }

  /** The index is sealed like a block, under the counter behind the last one; the footer says where it begins. */
  private async writeIndex(): Promise<void> {
    const { pipeline, seal } = this.parts;
    const { storedLengths } = pipeline;
    const indexOffset = pipeline.storedSize;
    const index = encodeIndex(this.plainBytes, storedLengths);
    const header = encodeBlockHeader({
      kind: 'index', storedLength: index.length, plainLength: index.length, counter: storedLengths.length, last: true, raw: true,
    });
    const bytes = Buffer.alloc(index.length);
    const tag = seal.seal(header, index, bytes);
    const storedSize = indexOffset + BigInt(header.length + bytes.length + tag.length + FOOTER_BYTES);
    await pipeline.writeThrough(Buffer.concat([header, bytes, tag, encodeFooter(indexOffset, storedSize)]));
  }

  private assertOpen(): void {
    if (this.parts.signal?.aborted === true) throw abortReason(this.parts.signal);
    if (this.state !== 'open') throw new DomainError('CONFLICT', `Archive ${this.parts.backupId} is ${this.state}; it takes no more bytes.`);
  }
}
