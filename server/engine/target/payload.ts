import { createHash } from 'node:crypto';
import { DomainError } from '../../domain/errors.js';
import { type RdbHeader } from '../rdb/summary.js';
import { HeaderPatch } from './header-patch.js';
import { type ReplicaLink } from './link.js';
import { ReadAhead } from './read-ahead.js';
import { type RdbSource } from './source.js';
import { pause, within } from './waiting.js';

/**
 * The RDB's end mark and checksum are its last nine bytes. No server loads a payload without them: until they leave, every cut
 * leaves the target with its old data (received files are renamed, and swapped-in databases taken over, only after them).
 */
const HELD_BACK = 16;

/**
 * So much is ready before the target is told to follow: it takes no writes from then on, and takes bytes faster than they can be read, decrypted
 * and expanded.
 */
const READ_AHEAD = 64 * 1024 * 1024;
const READY_MS = 1_000;

/** A source that has been opened and has given its first piece: whatever cannot be read at all shows before the target is touched. */
export class OpenPayload {
  private readonly stop = new AbortController();
  private readonly digest: Digest;
  private readonly ahead: ReadAhead;
  private first: Uint8Array | undefined;

  private constructor(private readonly source: RdbSource, private readonly stallMs: number, readAheadBytes: number) {
    this.digest = new Digest(source.facts);
    this.ahead = new ReadAhead(source.read({ signal: this.stop.signal }), readAheadBytes, (piece) => this.digest.update(piece));
  }

  /** Fails with what the source fails with, or STORAGE_IO when it gives nothing for `stallMs`. */
  static async open(source: RdbSource, options: { stallMs: number; readAheadBytes?: number | undefined; signal: AbortSignal }): Promise<OpenPayload> {
    const payload = new OpenPayload(source, options.stallMs, options.readAheadBytes ?? READ_AHEAD);
    try {
      payload.first = await payload.next(options.signal);
    } catch (error) {
      payload.close();
      throw error;
    }
    return payload;
  }

  /**
   * Resolves when as much as is kept ready has been read, and after a second at the latest: writers may be held back meanwhile. Fails when some of
   * it could not be read, or when all of it was and is not the RDB of the manifest.
   */
  async ready(signal: AbortSignal): Promise<void> {
    const waited = new AbortController();
    try {
      await Promise.race([this.ahead.filled(), pause(READY_MS, AbortSignal.any([signal, waited.signal]))]);
    } finally {
      waited.abort();
    }
    this.ahead.assertWhole();
    if (this.ahead.isComplete) this.digest.finish();
  }

  /**
   * Sends everything but the last bytes, checks that what was read is the RDB of the manifest, awaits `commit`, and sends the
   * rest. Fails with the source's error, TRUNCATED or CORRUPT (the source is not what it should be), the link's error, the
   * signal's reason, or what `commit` rejects with; in all these cases the target has not got the whole payload.
   *
   * @param options.header what the file begins with on its way; null: what it begins with in the archive, whose digest is the one that counts
   */
  async sendTo(link: ReplicaLink, options: { header: RdbHeader | null; signal: AbortSignal; onSent: () => void; commit: () => Promise<void> }): Promise<void> {
    const patch = options.header === null ? undefined : new HeaderPatch(options.header);
    const send = (bytes: Uint8Array, gone?: () => void): Promise<void> => link.send(patch === undefined ? bytes : patch.pass(bytes), options.signal, gone);
    const sendAllButLast = async (bytes: Uint8Array): Promise<Uint8Array> => {
      const cut = Math.max(0, bytes.length - HELD_BACK);
      await send(bytes.subarray(0, cut));
      return bytes.subarray(cut);
    };
    // The newest piece stays until the next one has come, so that nothing is copied to keep the last bytes.
    let held: Uint8Array = new Uint8Array(0);
    for (let piece = await this.next(options.signal); piece !== undefined; piece = await this.next(options.signal)) {
      if (piece.length < HELD_BACK) {
        held = await sendAllButLast(Buffer.concat([held, piece]));
      } else {
        const sent = held;
        await send(sent, () => this.source.release?.(sent));
        held = piece;
      }
      options.onSent();
    }
    this.digest.finish();
    held = await sendAllButLast(held);
    options.onSent();
    await options.commit();
    await link.send(patch === undefined ? held : patch.end(held));
    options.onSent();
  }

  close(): void {
    this.stop.abort(new DomainError('INTERRUPTED', 'The archive is not read any further.'));
    this.ahead.close();
  }

  /** Reads everything and compares it with the manifest. */
  async check(signal: AbortSignal, onRead: (read: bigint, total: bigint) => void): Promise<void> {
    let read = 0n;
    for (let piece = await this.next(signal); piece !== undefined; piece = await this.next(signal)) {
      read += BigInt(piece.length);
      onRead(read, this.source.facts.summary.bytes);
      this.source.release?.(piece);
    }
    this.digest.finish();
  }

  private next(signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { first } = this;
    this.first = undefined;
    return first === undefined ? this.unstalled(this.ahead.next(), signal) : Promise.resolve(first);
  }

  private unstalled<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
    return within(promise, {
      ms: this.stallMs,
      signal,
      late: () => new DomainError('STORAGE_IO', `The archive gave no data for ${this.stallMs} ms.`, {
        hint: 'Check the store: its disk or network is too slow or gone.',
        retryable: true,
      }),
    });
  }
}

/**
 * Reads a source once, to the end, and sends it nowhere. Fails with TRUNCATED or CORRUPT when it is not what its manifest says, with the
 * source's own error, STORAGE_IO when it stalls, or the signal's reason.
 */
export const checkSource = async (
  source: RdbSource, options: { stallMs: number; signal: AbortSignal; onRead: (read: bigint, total: bigint) => void },
): Promise<void> => {
  const payload = await OpenPayload.open(source, options);
  try {
    await payload.check(options.signal, options.onRead);
  } finally {
    payload.close();
  }
};

/** Length and SHA-256 of what is read, held against the manifest's. */
export class Digest {
  read = 0n;
  private readonly hash = createHash('sha256');
  private right = false;

  constructor(private readonly facts: RdbSource['facts']) {}

  update(piece: Uint8Array): void {
    const total = this.facts.summary.bytes;
    this.hash.update(piece);
    this.read += BigInt(piece.length);
    if (this.read > total) throw corrupt(`has more than the ${total} bytes of its manifest`);
  }

  /** May be called again. */
  finish(): void {
    if (this.right) return;
    const total = this.facts.summary.bytes;
    if (this.read < total) {
      throw new DomainError('TRUNCATED', `The archive ended after ${this.read} of ${total} bytes.`, { hint: 'Verify this backup; restore another one.' });
    }
    if (this.hash.digest('hex') !== this.facts.sha256) throw corrupt('does not have the SHA-256 of its manifest');
    this.right = true;
  }
}

const corrupt = (what: string): DomainError =>
  new DomainError('CORRUPT', `What was read from the archive ${what}.`, { hint: 'Verify this backup; restore another one.' });
