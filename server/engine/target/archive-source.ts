import { type ArchiveReader } from '../archive/reader.js';
import { type RdbFacts, type RdbSource } from './source.js';
import { writerOf, type Manifest } from '../archive/manifest.js';

/** What a manifest says of the RDB that a restore sends. */
export const rdbFactsOf = (manifest: Manifest): RdbFacts => {
  const [{ rdb, plainSha256 }] = manifest.artifacts;
  return { summary: rdb, sha256: plainSha256, source: writerOf(manifest.source) };
};

/** An open archive as the source of a restore. Closing the archive stays with whoever opened it. */
export const archiveSource = (reader: Pick<ArchiveReader, 'manifest' | 'read' | 'release'>): RdbSource => ({
  facts: rdbFactsOf(reader.manifest),
  read: (range) => reader.read(range),
  release: (piece) => reader.release(piece),
});
