import { type RdbSummary } from '../rdb/summary.js';
import { type ServerVersion } from '../rdb/versions.js';

/** What a restore has to know of the RDB it sends; an archive's manifest holds all of it. */
export interface RdbFacts {
  /** What the backup's walk found. `bytes` is the length of the plain RDB; `databases` count expired keys, as replicas do. */
  summary: RdbSummary;
  /** Of the plain RDB, hexadecimal. The last bytes are sent only when everything read before has this digest. */
  sha256: string;
  /** Who wrote it; null when only the file's own notes tell. */
  source: ServerVersion | null;
}

/** The bytes of one RDB and what is known of them. */
export interface RdbSource {
  readonly facts: RdbFacts;
  /**
   * All bytes, or those of `[start, end)`, in order, in pieces of any size, each the caller's until given to `release`. Rejects with a DomainError
   * (STORAGE_IO, CORRUPT, …) where they cannot be had.
   */
  read(options: { signal: AbortSignal; start?: bigint | undefined; end?: bigint | undefined }): AsyncIterable<Uint8Array>;
  /** Told of pieces that are not looked at any more, by those who know; their memory may be used again. */
  release?(piece: Uint8Array): void;
}
