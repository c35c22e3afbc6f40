import { type VerificationLevel } from '../domain/backup.js';
import { DomainError } from '../domain/errors.js';
import { corrupt } from './archive/archive-errors.js';
import { openArchive, type ArchiveReader, type KeyRing, type KnownArchive, type Manifest } from './archive/archive.js';
import { canonicalJson } from './archive/canonical-json.js';
import { objectKey } from './archive/layout.js';
import { rdbJson } from './archive/manifest.js';
import { type OnProgress } from './ports.js';
import { RdbReader } from './rdb/reader.js';
import { type RdbSummary } from './rdb/summary.js';
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
  const walk = new Walk(manifest);
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

/** How far two walks of the same bytes can be compared when one knew more of them than the other, being of a newer version. */
const ALWAYS_EQUAL = ['magic', 'version', 'bytes', 'checksum'];

const difference = (stored: RdbSummary, walked: RdbSummary): string | undefined => {
  const [before, now] = [rdbJson(stored), rdbJson(walked)];
  const sameEnd = canonicalJson(before['unknown'] ?? null) === canonicalJson(now['unknown'] ?? null);
  return (sameEnd ? Object.keys(before) : ALWAYS_EQUAL).find((name) => canonicalJson(before[name] ?? null) !== canonicalJson(now[name] ?? null));
};

/** The RDB inside, walked anew. What it finds is told at the end: when the digests are wrong, they say better where the damage is. */
class Walk {
  private readonly reader = new RdbReader();
  private fault: DomainError | undefined;

  constructor(private readonly manifest: Manifest) {}

  get keys(): bigint {
    return this.reader.keys;
  }

  push(plain: Uint8Array): void {
    if (this.fault) return;
    this.noting(() => {
      const taken = this.reader.push(plain);
      if (taken < plain.length) throw this.damage(Number(this.reader.bytes), 'bytes follow the end of the RDB');
    });
  }

  /** CORRUPT when these bytes are not the RDB that the manifest describes. */
  end(): void {
    const { rdb } = this.manifest.artifacts[0];
    this.noting(() => {
      const other = this.fault ? undefined : difference(rdb, this.reader.finish());
      if (other !== undefined) throw this.damage(0, `the manifest describes another RDB: they differ in "${other}"`);
    });
    if (this.fault) throw this.fault;
  }

  private noting(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      this.fault = error.details['part'] === undefined ? this.damage(Number(error.details['offset'] ?? 0), error.message, error) : error;
    }
  }

  /** @param offset in the plain bytes */
  private damage(offset: number, what: string, cause?: unknown): DomainError {
    const { backup, artifacts: [artifact] } = this.manifest;
    return corrupt(objectKey(backup.id, artifact.object), 'content', offset, what.replace(/\.$/, ''), cause);
  }
}
