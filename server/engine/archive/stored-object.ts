import { type Store } from '../store/store.js';
import { corrupt } from './archive-errors.js';
import {
  BLOCK_HEADER_BYTES, FOOTER_BYTES, FRAME_OVERHEAD, HEADER_BYTES, TAG_BYTES, decodeIndex, encodeBlockHeader, encodeFooter, encodeHeader,
  indexPlainBytes, objectKey,
} from './layout.js';
import { type Artifact } from './manifest.js';
import { ObjectCursor } from './object-cursor.js';
import { BlockDamage } from './opening/block.js';
import { type Opening, type OpeningPlan } from './opening/opening.js';
import { sealFor } from './seal.js';

interface BlockPlace {
  storedLength: number;
  plainLength: number;
  last: boolean;
}

/**
 * One stored artifact whose header, index and footer have been checked against the manifest. Every length is known from then
 * on: block headers are compared with what they must be, never believed.
 */
export class StoredObject {
  readonly plainSize: number;
  /** Object offset of each block's header; one more for the index. */
  private readonly offsets: Float64Array;

  private constructor(
    readonly key: string,
    private readonly store: Store,
    readonly artifact: Artifact,
    private readonly header: Buffer,
    private readonly trailer: Buffer,
    private readonly backupKey: Uint8Array | null,
    private readonly storedLengths: Uint32Array,
  ) {
    this.plainSize = Number(artifact.plainSize);
    this.offsets = new Float64Array(storedLengths.length + 1);
    let at = HEADER_BYTES;
    storedLengths.forEach((length, i) => {
      this.offsets[i] = at;
      at += length + FRAME_OVERHEAD;
    });
    this.offsets[storedLengths.length] = at;
    if (at !== this.storedSize - trailer.length) throw corrupt(key, 'index', this.storedSize - trailer.length, 'its lengths do not add up');
  }

  /** Fails with CORRUPT, with UNSUPPORTED_FORMAT for versions, codecs and ciphers this version lacks, or as the store does. */
  static async open(store: Store, backupId: string, artifact: Artifact, backupKey: Uint8Array | null, signal?: AbortSignal): Promise<StoredObject> {
    const key = objectKey(backupId, artifact.object);
    const found = await store.stat(key);
    if (found === null) throw corrupt(key, 'object', 0, 'it is missing');
    if (found.size !== artifact.storedSize) {
      throw corrupt(key, 'object', Number(found.size), `it has ${String(found.size)} bytes instead of ${String(artifact.storedSize)}`);
    }
    const { blockCount } = artifact;
    const size = Number(artifact.storedSize);
    const indexBytes = indexPlainBytes(blockCount);
    const trailerAt = size - indexBytes - FRAME_OVERHEAD - FOOTER_BYTES;
    if (trailerAt < HEADER_BYTES) throw corrupt(key, 'object', size, 'it is too short for its blocks');

    const header = await readPart(store, key, 'header', 0, HEADER_BYTES, signal);
    // Its version too: manifests of versions 1 and 2 have objects of version 1.
    if (!header.equals(encodeHeader({ ...artifact, backupId, salt: Buffer.from(artifact.salt, 'hex') }))) {
      throw corrupt(key, 'header', 0, 'it does not belong to the manifest');
    }
    const seal = sealFor(artifact.cipher, header, backupKey);

    const trailer = await readPart(store, key, 'index', trailerAt, size - trailerAt, signal);
    const footerAt = trailer.length - FOOTER_BYTES;
    if (!trailer.subarray(footerAt).equals(encodeFooter(BigInt(trailerAt), artifact.storedSize))) {
      throw corrupt(key, 'footer', trailerAt + footerAt, 'it does not point at the index');
    }
    const indexHeader = encodeBlockHeader({
      kind: 'index', storedLength: indexBytes, plainLength: indexBytes, counter: blockCount, last: true, raw: true,
    });
    if (!trailer.subarray(0, BLOCK_HEADER_BYTES).equals(indexHeader)) throw corrupt(key, 'index', trailerAt, 'its header is wrong');
    const index = seal.open(indexHeader, trailer.subarray(BLOCK_HEADER_BYTES, footerAt - TAG_BYTES), trailer.subarray(footerAt - TAG_BYTES, footerAt));
    if (index === null) throw corrupt(key, 'index', trailerAt, 'its tag is wrong');
    const { plainSize, storedLengths } = decodeIndex(index);
    if (plainSize !== artifact.plainSize || index.readUInt32LE(8) !== blockCount) {
      throw corrupt(key, 'index', trailerAt, 'it does not agree with the manifest');
    }
    return new StoredObject(key, store, artifact, header, trailer, backupKey, storedLengths);
  }

  get blockCount(): number {
    return this.storedLengths.length;
  }

  get storedSize(): number {
    return Number(this.artifact.storedSize);
  }

  /** A cursor at the header of block `first`, over the blocks up to and including `last`. */
  blocks(first: number, last: number, signal?: AbortSignal): ObjectCursor {
    const from = this.offsetOf(first);
    const length = this.offsetOf(last + 1) - from;
    return new ObjectCursor(this.key, this.store.read(this.key, { offset: BigInt(from), length: BigInt(length), signal }), from);
  }

  /** A cursor over the whole object, header and trailer too, not bounded by the size it should have. */
  whole(onChunk: (chunk: Uint8Array) => void, signal?: AbortSignal): ObjectCursor {
    return new ObjectCursor(this.key, this.store.read(this.key, { signal }), 0, onChunk);
  }

  async checkHeader(cursor: ObjectCursor): Promise<void> {
    if (!(await cursor.take(HEADER_BYTES, 'header')).equals(this.header)) throw corrupt(this.key, 'header', 0, 'it changed while being read');
  }

  async checkTrailer(cursor: ObjectCursor): Promise<void> {
    const at = cursor.position;
    if (!(await cursor.take(this.trailer.length, 'index')).equals(this.trailer)) throw corrupt(this.key, 'index', at, 'it changed while being read');
    await cursor.expectEnd();
  }

  /** What opens its blocks. */
  get openingPlan(): OpeningPlan {
    const { codec, cipher, blockSize } = this.artifact;
    return { codec, cipher, blockSize, header: this.header, backupKey: this.backupKey };
  }

  /**
   * Reads block `number` from the cursor and checks it; what is returned expands it. Nothing of a block is released before its
   * tag has been checked.
   */
  async nextBlock(cursor: ObjectCursor, number: number, opening: Opening): Promise<() => Promise<Uint8Array>> {
    const { storedLength, plainLength, last } = this.placeOf(number);
    const at = cursor.position;
    const part = `block ${String(number)}`;
    const raw = storedLength === plainLength;
    if (storedLength > plainLength) throw corrupt(this.key, 'index', this.offsetOf(this.blockCount), `${part} is longer than its content`);
    const header = encodeBlockHeader({ kind: 'data', storedLength, plainLength, counter: number, last, raw });
    if (!(await cursor.borrow(BLOCK_HEADER_BYTES, part)).equals(header)) throw corrupt(this.key, part, at, 'its header is not the one expected here');
    const located = (error: unknown): never => {
      if (error instanceof BlockDamage) throw corrupt(this.key, part, at, error.message, error.cause);
      throw error;
    };
    const opened = await opening.take(cursor, { header, storedLength, plainLength, raw }, part).catch(located);
    return () => opened().catch(located);
  }

  private offsetOf(block: number): number {
    return this.offsets[block] ?? this.storedSize - this.trailer.length;
  }

  private placeOf(block: number): BlockPlace {
    const last = block === this.blockCount - 1;
    const { blockSize } = this.artifact;
    return { storedLength: this.storedLengths[block] ?? 0, plainLength: last ? this.plainSize - block * blockSize : blockSize, last };
  }
}

const readPart = async (store: Store, key: string, part: string, offset: number, length: number, signal: AbortSignal | undefined): Promise<Buffer> => {
  const cursor = new ObjectCursor(key, store.read(key, { offset: BigInt(offset), length: BigInt(length), signal }), offset);
  try {
    return await cursor.take(length, part);
  } finally {
    await cursor.close();
  }
};
