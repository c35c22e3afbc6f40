import { type Frame } from './frame.js';
import { type Sealing } from './sealing.js';

/** Cuts what comes into frames, and hands each over when it is full. */
export class Filling {
  /** Taken so far. */
  bytes = 0n;
  private frame: Frame | undefined;

  /** @param assertOpen what it throws ends a `write` that has waited meanwhile */
  constructor(private readonly sealing: Pick<Sealing, 'take' | 'look' | 'push'>, private readonly assertOpen: () => void = () => undefined) {}

  async write(chunk: Uint8Array): Promise<void> {
    let frame = this.frame ??= this.sealing.take();
    for (let done = 0; done < chunk.length; ) {
      // A full block leaves only when another byte follows, so that the last one can carry its mark.
      if (frame.isFull) {
        await this.sealing.push(frame, false);
        this.assertOpen();
        this.frame = frame = this.sealing.take();
      }
      const taken = frame.fill(done === 0 ? chunk : chunk.subarray(done));
      done += taken;
      this.bytes += BigInt(taken);
    }
    this.sealing.look(frame);
  }

  /** As much of `chunk` as there is room for without a `push`; returns how much. What was taken so is looked at when `look` is called. Not while a `write` is under way. */
  take(chunk: Uint8Array): number {
    const frame = this.frame ??= this.sealing.take();
    const taken = frame.fill(chunk);
    this.bytes += BigInt(taken);
    return taken;
  }

  look(): void {
    if (this.frame !== undefined) this.sealing.look(this.frame);
  }

  /** Hands the last one over. */
  end(): Promise<void> {
    return this.sealing.push(this.frame ?? this.sealing.take(), true);
  }
}
