import { type VerificationLevel } from '../domain/backup.js';
import { openArchive, type ArchiveReader, type KeyRing, type KnownArchive, type Manifest } from './archive/archive.js';
import { ContentWalk } from './content-walk.js';
import { type OnProgress } from './ports.js';
import { type Store } from './store/store.js';

export interface VerificationPlan {
  backupId: string;
  level: VerificationLevel;
  /** What the archive has to be, as far as that is written down elsewhere. */
  known?: KnownArchive | undefined;
}

export interface VerificationDeps {
  /** Only read. */
  store: Store;
  keys: KeyRing | undefined;
  /** Sees all plain bytes of a CONTENT verification in order, each once it has been authenticated. What it rejects with ends it. */
  onPlain?: ((plain: Uint8Array) => void | Promise<void>) | undefined;
}

/**
 * Checks the archive of a backup. STRUCTURE: it is the one that is known, its manifest, key, header, index and sizes are right; a handful of small
 * reads. CONTENT: every byte too, read back, decrypted, expanded and walked by the RDB reader, whose summary must be the manifest's; the server's
 * own checksum; SHA-256 of the stored and of the plain bytes. Reads at the speed of the store, holding a few blocks.
 *
 * Damage is CORRUPT, TRUNCATED or NOT_FOUND (no sealed archive); its message has the object, the part and the offset. KEY_UNAVAILABLE,
 * UNSUPPORTED_FORMAT, the store's errors and the signal's reason say nothing about the archive.
 */
export const verifyArchive = async (plan: VerificationPlan, deps: VerificationDeps, signal: AbortSignal, onProgress: OnProgress): Promise<Manifest> => {
  onProgress({ kind: 'phase', phase: 'VERIFYING' });
  const archive = await openArchive(deps.store, plan.backupId, { keys: deps.keys, known: plan.known, signal });
  try {
    if (plan.level === 'CONTENT') await verifyContent(archive, deps, signal, onProgress);
    return archive.manifest;
  } finally {
    await archive.close();
  }
};

const verifyContent = async (archive: ArchiveReader, { onPlain }: VerificationDeps, signal: AbortSignal, onProgress: OnProgress): Promise<void> => {
  const { manifest } = archive;
  const walk = new ContentWalk(manifest);
  await archive.verify({
    signal,
    onPlain: (plain) => {
      walk.push(plain);
      return onPlain?.(plain);
    },
    onProgress: ({ bytesDone, bytesTotal }) => {
      onProgress({ kind: 'amount', bytesDone, bytesTotal, keysDone: walk.keys, keysTotal: manifest.artifacts[0].rdb.keys });
    },
  });
  walk.end();
};
