import { DomainError } from '../../domain/errors.js';
import { ServerReplyError } from '../control.js';
import { type TargetConnection } from './connection.js';

/**
 * Holds back the target's writers (`CLIENT PAUSE … WRITE`, from 6.2) by short pauses that are renewed: whatever happens to us, the
 * last one ends by itself. Replication passes through it.
 */
export class WritePause {
  private timer: NodeJS.Timeout | undefined;
  private renewal: Promise<void> = Promise.resolve();
  private failed = false;
  /** The server's last pause is over by then, by the monotonic clock. */
  private overAt = 0;

  private constructor(private readonly target: TargetConnection, private readonly pauseMs: number) {}

  /** Fails as the command does; writers are then not held back. */
  static async start(target: TargetConnection, times: { pauseMs: number; pauseRenewMs: number }): Promise<WritePause> {
    const held = new WritePause(target, times.pauseMs);
    await held.renew();
    held.timer = setInterval(() => {
      held.renewal = held.renew().catch(() => {
        held.failed = true;
      });
    }, times.pauseRenewMs);
    return held;
  }

  /** Whether every renewal went through. Where one did not, writes may have passed; they show in `unsavedWriteBytes`. */
  get unbroken(): boolean {
    return !this.failed;
  }

  /** Lets the writers go. False when the target would not take it: then they go within the length of one pause. May be called twice. */
  async end(): Promise<boolean> {
    if (this.timer === undefined) return true;
    clearInterval(this.timer);
    this.timer = undefined;
    // A renewal still on its way would be carried out after the UNPAUSE.
    await this.renewal;
    // One that ran out by itself, while this process slept say, is not ended: another restore may have begun its own.
    if (performance.now() > this.overAt) return true;
    try {
      await this.target.tell('CLIENT', 'UNPAUSE');
      return true;
    } catch (error) {
      if (error instanceof DomainError || error instanceof ServerReplyError) return false;
      throw error;
    }
  }

  private async renew(): Promise<void> {
    await this.target.tell('CLIENT', 'PAUSE', this.pauseMs, 'WRITE');
    this.overAt = performance.now() + this.pauseMs;
  }
}
