import { corrupt } from './archive-errors.js';
import { sha256Of, type Manifest } from './manifest.js';

/**
 * What a catalogue has written down of an archive. Whoever can write to the store can put another archive in its place, one of an earlier attempt
 * or one that is not encrypted, which is sound in itself: only this tells. Null: never known.
 */
export interface KnownArchive {
  /** Of the manifest as it was sealed, hexadecimal. It covers everything else here. */
  manifestSha256: string | null;
  projectId: string | null;
  /** Of the plain bytes, hexadecimal. */
  sha256: string | null;
  /** Plain bytes. */
  sizeBytes: bigint | null;
}

/** CORRUPT when these are not the bytes that were sealed. @param key of the manifest, for messages */
export const assertKnownManifest = (key: string, bytes: Uint8Array, { manifestSha256 }: KnownArchive): void => {
  if (manifestSha256 !== null && sha256Of(bytes) !== manifestSha256) throw corrupt(key, 'manifest', 0, 'it is not the one that was sealed for this backup');
};

/** CORRUPT when the manifest describes something else. */
export const assertAsKnown = (key: string, { backup, artifacts: [artifact] }: Manifest, known: KnownArchive): void => {
  const other = (what: string, found: string, expected: string): Error =>
    corrupt(key, 'manifest', 0, `it describes another archive than the one that was sealed: its ${what} is ${found} instead of ${expected}`);
  if (known.projectId !== null && backup.projectId !== known.projectId) throw other('project', backup.projectId, known.projectId);
  if (known.sizeBytes !== null && artifact.plainSize !== known.sizeBytes) throw other('plain size', String(artifact.plainSize), String(known.sizeBytes));
  if (known.sha256 !== null && artifact.plainSha256 !== known.sha256) throw other('plain SHA-256', artifact.plainSha256, known.sha256);
};
