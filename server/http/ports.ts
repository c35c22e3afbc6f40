import { type Principal } from '../domain/principal.js';

/** The bytes behind one download link. Given by `open`, and released exactly once by whoever opened it. */
export interface DownloadFile {
  readonly fileName: string;
  readonly sizeBytes: bigint;
  /** SHA-256 of the whole file, hexadecimal. */
  readonly sha256: string;
  /** Strong entity tag without its quotes: the same tag means the same bytes. */
  readonly etag: string;
  readonly modifiedAt: Date;
  /**
   * The bytes from `start` up to, not including, `end`; exactly `end - start` of them, in pieces of any size. Rejects when they cannot be
   * read or do not verify, and when the signal is aborted.
   */
  read(range: { start: bigint; end: bigint }, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Gives the reader's lease back. Called once, after the last read has ended. */
  release(): Promise<void>;
}

export interface DownloadSource {
  /**
   * Checks the token and takes a reader's lease on its backup. A link for a single use is used by GET, and by HEAD it is not.
   * @throws DomainError for a token that is forged, expired, revoked or used, and for a backup that cannot be read (any more)
   */
  open(token: string, method: 'GET' | 'HEAD', from?: string): Promise<DownloadFile>;
}

/** One thing that must be well for this process to serve. */
export interface ReadinessCheck {
  name: string;
  ok: boolean;
  /** What is wrong, in words for the operator; never a secret: the answer is public. */
  reason?: string | undefined;
  /** false: an operator should see to it, but this process serves as well as any other, so nothing is to be taken from it. Default true. */
  blocking?: boolean | undefined;
}

/** Told about every finished request. `route` is a fixed word, not the path, so that it can be a metric's label. */
export type ObserveRequest = (request: { route: string; method: string; status: number; seconds: number }) => void;

/**
 * Keeps an eye on a caller that stays.
 * @param onLost called at most once, within seconds, when its credential has been revoked, has expired, or grants something else
 */
export type WatchAccess = (caller: Principal, onLost: () => void) => {
  /** Whether it is still what it was; known to a second, and mostly at once. */
  holds(): boolean | Promise<boolean>;
  end(): void;
};
