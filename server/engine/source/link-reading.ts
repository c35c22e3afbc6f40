import { type ReusedReading } from '../ports.js';

/** At most read at once. Over TLS, Node chooses. */
const READ_BYTES = 512 * 1024;

/** What it is given is overwritten when it has returned. False: nothing more is read until the socket is resumed. */
type OnChunk = (chunk: Buffer) => boolean;

/** What arrives on a connection, from its first byte on: also what comes before somebody takes it. */
export class LinkReading implements ReusedReading {
  readonly memory = Buffer.allocUnsafeSlow(READ_BYTES);
  private readonly early: Buffer[] = [];
  private onChunk: OnChunk | undefined;

  readonly take = (bytes: number): boolean => {
    const chunk = this.memory.subarray(0, bytes);
    if (this.onChunk) return this.onChunk(chunk);
    this.early.push(Buffer.from(chunk));
    return true;
  };

  deliverTo(onChunk: OnChunk): void {
    this.onChunk = onChunk;
    for (const chunk of this.early.splice(0)) onChunk(chunk);
  }
}
