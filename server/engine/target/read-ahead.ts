import { Changes } from '../changes.js';

/**
 * Reads a stream of bytes ahead of its consumer, up to `limit` bytes. Owns the stream. What has been read is handed out even when
 * a later read fails; the failure comes in its turn.
 */
export class ReadAhead {
  private readonly pieces: AsyncIterator<Uint8Array>;
  private readonly held: Uint8Array[] = [];
  private heldBytes = 0;
  private ended = false;
  private failure: { error: unknown } | undefined;
  private reading = false;
  private readonly changes = new Changes();

  /** @param onPiece sees every piece once, in order, when it has been read; what it throws ends the stream */
  constructor(stream: AsyncIterable<Uint8Array>, private readonly limit: number, private readonly onPiece: (piece: Uint8Array) => void) {
    this.pieces = stream[Symbol.asyncIterator]();
  }

  /** The next piece, undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      void this.fill();
      const piece = this.held.shift();
      if (piece !== undefined) {
        this.heldBytes -= piece.length;
        void this.fill();
        return piece;
      }
      if (this.failure !== undefined) throw this.failure.error;
      if (this.ended) return undefined;
      await this.changes.next();
    }
  }

  /** Resolves when there is nothing to gain by waiting: the limit is reached, or the stream has ended, however. */
  async filled(): Promise<void> {
    while (!this.ended && this.failure === undefined && this.heldBytes < this.limit) {
      void this.fill();
      await this.changes.next();
    }
  }

  /** Whether the stream has ended well. */
  get isComplete(): boolean {
    return this.ended && this.failure === undefined;
  }

  /** Fails with what a read has failed with, though its turn has not come. */
  assertWhole(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }

  /** A stream ends at its next step; nobody waits for a store that may hang, and what it still has to say changes nothing. */
  close(): void {
    this.ended = true;
    this.held.length = 0;
    void this.pieces.return?.()?.catch(() => undefined);
    this.changes.tell();
  }

  private async fill(): Promise<void> {
    if (this.reading) return;
    this.reading = true;
    try {
      while (!this.ended && this.failure === undefined && this.heldBytes < this.limit) {
        const piece = await this.pieces.next();
        if (this.ended) return;
        if (piece.done === true) this.ended = true;
        else {
          this.onPiece(piece.value);
          this.held.push(piece.value);
          this.heldBytes += piece.value.length;
        }
        this.changes.tell();
      }
    } catch (error) {
      this.failure = { error };
      this.changes.tell();
    } finally {
      this.reading = false;
    }
  }
}
