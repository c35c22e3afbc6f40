import { createHash } from 'node:crypto';
import { DomainError } from '../../domain/errors.js';
import { type ReplicaLink } from './link.js';
import { type RdbSource } from './source.js';
import { within } from './waiting.js';

/**
 * The RDB's end mark and checksum are its last nine bytes. No server loads a payload without them: until they leave, every cut
 * leaves the target with its old data (received files are renamed, and swapped-in databases taken over, only after them).
 */
const HELD_BACK = 16;

/** A source that has been opened and has given its first piece: whatever cannot be read at all shows before the target is touched. */
export class OpenPayload {
  private constructor(
    private readonly source: RdbSource,
    private readonly pieces: AsyncIterator<Uint8Array>,
    private first: IteratorResult<Uint8Array> | undefined,
    private readonly stop: AbortController,
    private readonly stallMs: number,
  ) {}

  /** Fails with what the source fails with, or STORAGE_IO when it gives nothing for `stallMs`. */
  static async open(source: RdbSource, options: { stallMs: number; signal: AbortSignal }): Promise<OpenPayload> {
    const stop = new AbortController();
    const pieces = source.read({ signal: stop.signal })[Symbol.asyncIterator]();
    const payload = new OpenPayload(source, pieces, undefined, stop, options.stallMs);
    try {
      payload.first = await payload.next(options.signal);
    } catch (error) {
      payload.close();
      throw error;
    }
    return payload;
  }

  /**
   * Sends everything but the last bytes, checks that what was read is the RDB of the manifest, awaits `commit`, and sends the
   * rest. Fails with the source's error, TRUNCATED or CORRUPT (the source is not what it should be), the link's error, the
   * signal's reason, or what `commit` rejects with; in all these cases the target has not got the whole payload.
   */
  async sendTo(link: ReplicaLink, options: { signal: AbortSignal; onSent: () => void; commit: () => Promise<void> }): Promise<void> {
    const digest = new Digest(this.source.facts);
    const sendAllButLast = async (bytes: Uint8Array): Promise<Uint8Array> => {
      const cut = Math.max(0, bytes.length - HELD_BACK);
      await link.send(bytes.subarray(0, cut), options.signal);
      return bytes.subarray(cut);
    };
    // The newest piece stays until the next one has come, so that nothing is copied to keep the last bytes.
    let held: Uint8Array = new Uint8Array(0);
    for (let piece = this.first ?? await this.next(options.signal); piece.done !== true; piece = await this.next(options.signal)) {
      this.first = undefined;
      digest.update(piece.value);
      if (piece.value.length < HELD_BACK) {
        held = await sendAllButLast(Buffer.concat([held, piece.value]));
      } else {
        await link.send(held, options.signal);
        held = piece.value;
      }
      options.onSent();
    }
    digest.finish();
    held = await sendAllButLast(held);
    options.onSent();
    await options.commit();
    await link.send(held);
    options.onSent();
  }

  close(): void {
    this.stop.abort(new DomainError('INTERRUPTED', 'The archive is not read any further.'));
    // A generator ends at its next step; nobody waits for a store that may hang, and what it still has to say changes nothing.
    void this.pieces.return?.()?.catch(() => undefined);
  }

  /** Reads everything and compares it with the manifest. */
  async check(signal: AbortSignal, onRead: (read: bigint, total: bigint) => void): Promise<void> {
    const digest = new Digest(this.source.facts);
    for (let piece = this.first ?? await this.next(signal); piece.done !== true; piece = await this.next(signal)) {
      this.first = undefined;
      digest.update(piece.value);
      onRead(digest.read, this.source.facts.summary.bytes);
    }
    digest.finish();
  }

  private next(signal: AbortSignal): Promise<IteratorResult<Uint8Array>> {
    return within(this.pieces.next(), {
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
class Digest {
  read = 0n;
  private readonly hash = createHash('sha256');

  constructor(private readonly facts: RdbSource['facts']) {}

  update(piece: Uint8Array): void {
    const total = this.facts.summary.bytes;
    this.hash.update(piece);
    this.read += BigInt(piece.length);
    if (this.read > total) throw corrupt(`has more than the ${total} bytes of its manifest`);
  }

  finish(): void {
    const total = this.facts.summary.bytes;
    if (this.read < total) {
      throw new DomainError('TRUNCATED', `The archive ended after ${this.read} of ${total} bytes.`, { hint: 'Verify this backup; restore another one.' });
    }
    if (this.hash.digest('hex') !== this.facts.sha256) throw corrupt('does not have the SHA-256 of its manifest');
  }
}

const corrupt = (what: string): DomainError =>
  new DomainError('CORRUPT', `What was read from the archive ${what}.`, { hint: 'Verify this backup; restore another one.' });
