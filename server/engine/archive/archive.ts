/** The archive: how a backup lies in a store. `FORMAT.md` beside this file is the specification. */
export { createArchive, type ArchiveWriter, type CreateArchiveOptions } from './writer.js';
export { openArchive, type ArchiveReader, type OpenArchiveOptions, type ReadRange, type VerifyProgress } from './reader.js';
export { removeAttempts } from './attempts.js';
export { listArchives, removeArchive, removeUnsealed, type ArchiveEntry } from './catalogue.js';
export { readManifest, readManifestUnproven, type ReadManifestOptions } from './manifest-reader.js';
export { writerOf, type Artifact, type Manifest, type ManifestFacts, type SourceIdentity } from './manifest.js';
export { type CodecChoice } from './codec/codec.js';
export { SealingThreads } from './sealing/threads.js';
export { type KnownArchive } from './known-archive.js';
export { masterKeysAmong, rotateBackupKey, type KeyRing, type WrappingKey } from './keys.js';
export { DEFAULT_BLOCK_SIZE, parseArchiveKey, type BlockSize } from './layout.js';
