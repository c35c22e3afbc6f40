import { DomainError } from '../domain/errors.js';
import { corrupt } from './archive/archive-errors.js';
import { type Manifest } from './archive/archive.js';
import { canonicalJson } from './archive/canonical-json.js';
import { objectKey } from './archive/layout.js';
import { rdbJson } from './archive/manifest.js';
import { RdbReader, type RdbReaderOptions } from './rdb/reader.js';
import { type RdbSummary } from './rdb/summary.js';

/** How far two walks of the same bytes can be compared when one knew more of them than the other, being of a newer version. */
const ALWAYS_EQUAL = ['magic', 'version', 'bytes', 'checksum'];

const difference = (stored: RdbSummary, walked: RdbSummary): string | undefined => {
  const [before, now] = [rdbJson(stored), rdbJson(walked)];
  const sameEnd = canonicalJson(before['unknown'] ?? null) === canonicalJson(now['unknown'] ?? null);
  return (sameEnd ? Object.keys(before) : ALWAYS_EQUAL).find((name) => canonicalJson(before[name] ?? null) !== canonicalJson(now[name] ?? null));
};

/**
 * The RDB inside an archive, walked anew. What it finds wrong is told at the end: when the digests are wrong, they say better where the damage
 * is.
 */
export class ContentWalk {
  private readonly reader: RdbReader;
  private fault: DomainError | undefined;

  constructor(private readonly manifest: Manifest, options?: RdbReaderOptions) {
    this.reader = new RdbReader(options);
  }

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

  /** What the walk found. CORRUPT when these bytes are not the RDB that the manifest describes. */
  end(): RdbSummary {
    const { rdb } = this.manifest.artifacts[0];
    let walked: RdbSummary | undefined;
    this.noting(() => {
      if (this.fault) return;
      walked = this.reader.finish();
      const other = difference(rdb, walked);
      if (other !== undefined) throw this.damage(0, `the manifest describes another RDB: they differ in "${other}"`);
    });
    if (this.fault || walked === undefined) throw this.fault ?? new RangeError('ContentWalk: neither a summary nor a fault.');
    return walked;
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
