import { type ReusedReading } from '../ports.js';

/** At most read at once. Over TLS, Node chooses. */
const READ_BYTES = 512 * 1024;

/** What arrives on a connection, from its first byte on: also what comes before somebody takes it. */
export class LinkReading implements ReusedReading {
  readonly memory = Buffer.allocUnsafeSlow(READ_BYTES);
  private readonly early: Buffer[] = [];
  private onChunk: ((chunk: Buffer) => void) | undefined;

  readonly take = (bytes: number): void => {
    const chunk = this.memory.subarray(0, bytes);
    if (this.onChunk) this.onChunk(chunk);
    else this.early.push(Buffer.from(chunk));
  };

  /** @param onChunk what it is given is overwritten when it has returned */
  deliverTo(onChunk: (chunk: Buffer) => void): void {
    this.onChunk = onChunk;
    for (const chunk of this.early.splice(0)) onChunk(chunk);
  }
}
