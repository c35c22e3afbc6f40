import { DomainError } from '../../domain/errors.js';
import { isId } from '../../domain/ids.js';

/** Byte layout of archive format v1; `FORMAT.md` explains it. All numbers are little-endian. */
export const FORMAT_VERSION = 1;
/** The second has manifests without `storedSha256`, which readers of the first would call damaged; its objects are those of the first. */
export const MANIFEST_VERSIONS = [1, 2] as const;
export type ManifestVersion = (typeof MANIFEST_VERSIONS)[number];
export const HEADER_BYTES = 64;
export const BLOCK_HEADER_BYTES = 16;
export const TAG_BYTES = 16;
export const FRAME_OVERHEAD = BLOCK_HEADER_BYTES + TAG_BYTES;
export const FOOTER_BYTES = 24;
export const SALT_BYTES = 16;
export const SALT_AT = HEADER_BYTES - SALT_BYTES;
const INDEX_FIXED_BYTES = 12;
const HEADER_MAGIC = Buffer.from('SNAPBACK', 'latin1');
const FOOTER_MAGIC = Buffer.from('SNAPEND1', 'latin1');

export const BLOCK_SIZES = [256 * 1024, 512 * 1024, 1024 * 1024] as const;
/** Bytes of plain data in every block but the last. */
export type BlockSize = (typeof BLOCK_SIZES)[number];
/**
 * Each block costs calls between threads, of the codec, the cipher and the store: with 1 MiB a backup takes some 5 % less CPU than with 512 KiB. What a block costs is memory in flight
 * and bytes that are read for a small range.
 */
export const DEFAULT_BLOCK_SIZE: BlockSize = 1024 * 1024;

export const CODEC_IDS = { none: 0, brotli: 1, zstd: 2, lz4: 3 } as const;
export type CodecName = keyof typeof CODEC_IDS;
export const CIPHER_IDS = { none: 0, 'aes-256-gcm': 1 } as const;
export type CipherName = keyof typeof CIPHER_IDS;
export const ARTIFACT_KIND_IDS = { RDB: 1, STREAM: 2 } as const;
export type ArtifactKind = keyof typeof ARTIFACT_KIND_IDS;

export const BACKUPS_PREFIX = 'backups/';
const MANIFEST_OBJECT = 'manifest';
/**
 * Name of the RDB artifact's object. Each attempt at a backup writes one of its own: an attempt that lost its job and does not know it
 * yet can then neither mix its bytes with those of the next one nor remove them.
 */
export const rdbObject = (attempt: number): string => (attempt === 1 ? 'rdb' : `rdb.${attempt}`);
/** Which attempt wrote an object, from 1. Undefined for objects of no attempt. */
export const attemptOf = (object: string): number | undefined => {
  const suffix = attemptSuffix(object);
  return suffix === undefined ? undefined : Number(suffix.slice(1) || 1);
};
/** `key.<master key id>`: the backup's key, wrapped by that master key; of a later attempt `key.<master key id>.<n>`. */
export const KEY_OBJECT_PREFIX = 'key.';
/** What tells the objects of one attempt from those of another: empty, or `.<n>`. Undefined for objects of no attempt. */
export const attemptSuffix = (object: string): string | undefined => {
  const name = /^(?:rdb|key\.[0-9a-f]{8})(\.\d+)?$/.exec(object);
  return name ? (name[1] ?? '') : undefined;
};

/** Prefix of all objects of one archive. Refuses anything but a backup id, since it becomes part of keys. */
export const archivePrefix = (backupId: string): string => {
  if (!isId('backup', backupId)) throw new DomainError('BAD_INPUT', `Not a backup id: ${JSON.stringify(backupId.slice(0, 64))}.`);
  return `${BACKUPS_PREFIX}${backupId}/`;
};
export const manifestKey = (backupId: string): string => `${archivePrefix(backupId)}${MANIFEST_OBJECT}`;
export const objectKey = (backupId: string, object: string): string => `${archivePrefix(backupId)}${object}`;

/** The backup an object belongs to and its name within, or undefined for keys of other things. */
export const parseArchiveKey = (key: string): { backupId: string; object: string } | undefined => {
  const [top, backupId, object, ...rest] = key.split('/');
  if (`${top ?? ''}/` !== BACKUPS_PREFIX || backupId === undefined || object === undefined || rest.length > 0) return undefined;
  return isId('backup', backupId) ? { backupId, object } : undefined;
};
export const isManifestObject = (object: string): boolean => object === MANIFEST_OBJECT;

export interface ObjectHeader {
  backupId: string;
  kind: ArtifactKind;
  codec: CodecName;
  cipher: CipherName;
  blockSize: BlockSize;
  /** 16 random bytes: no two objects have the same header, so no block of one fits into another. */
  salt: Uint8Array;
}

export const encodeHeader = ({ backupId, kind, codec, cipher, blockSize, salt }: ObjectHeader): Buffer => {
  const out = Buffer.alloc(HEADER_BYTES);
  HEADER_MAGIC.copy(out, 0);
  out.writeUInt16LE(FORMAT_VERSION, 8);
  out[10] = CODEC_IDS[codec];
  out[11] = CIPHER_IDS[cipher];
  out[12] = Math.log2(blockSize);
  out[13] = ARTIFACT_KIND_IDS[kind];
  out.write(backupId, 16, 32, 'latin1');
  out.set(salt.subarray(0, SALT_BYTES), SALT_AT);
  return out;
};

export interface BlockHeader {
  kind: 'data' | 'index';
  /** Bytes between this header and the tag. */
  storedLength: number;
  plainLength: number;
  counter: number;
  last: boolean;
  /** Stored as it is, because compression would not have made it smaller. */
  raw: boolean;
}

export const encodeBlockHeader = (block: BlockHeader, into: Buffer = Buffer.alloc(BLOCK_HEADER_BYTES)): Buffer => {
  into.writeUInt32LE(block.storedLength, 0);
  into.writeUInt32LE(block.plainLength, 4);
  into.writeUInt32LE(block.counter, 8);
  into[12] = (block.last ? 1 : 0) | (block.raw ? 2 : 0);
  into[13] = block.kind === 'index' ? 1 : 0;
  into[14] = 0;
  into[15] = 0;
  return into;
};

export const indexPlainBytes = (blockCount: number): number => INDEX_FIXED_BYTES + 4 * blockCount;

export const encodeIndex = (plainSize: bigint, storedLengths: readonly number[]): Buffer => {
  const out = Buffer.alloc(indexPlainBytes(storedLengths.length));
  out.writeBigUInt64LE(plainSize, 0);
  out.writeUInt32LE(storedLengths.length, 8);
  storedLengths.forEach((length, i) => out.writeUInt32LE(length, INDEX_FIXED_BYTES + 4 * i));
  return out;
};

export const decodeIndex = (index: Buffer): { plainSize: bigint; storedLengths: Uint32Array } => {
  const storedLengths = new Uint32Array((index.length - INDEX_FIXED_BYTES) / 4);
  for (let i = 0; i < storedLengths.length; i += 1) storedLengths[i] = index.readUInt32LE(INDEX_FIXED_BYTES + 4 * i);
  return { plainSize: index.readBigUInt64LE(0), storedLengths };
};

export const encodeFooter = (indexOffset: bigint, storedSize: bigint): Buffer => {
  const out = Buffer.alloc(FOOTER_BYTES);
  out.writeBigUInt64LE(indexOffset, 0);
  out.writeBigUInt64LE(storedSize, 8);
  FOOTER_MAGIC.copy(out, 16);
  return out;
};

/** Blocks of a plain length: even nothing has one block, which carries the last-block mark. */
export const blocksOf = (plainSize: number, blockSize: number): number => Math.max(1, Math.ceil(plainSize / blockSize));
