import { AGREEING_LOOKS, type ClockLook, clocksDisagree } from '../../domain/clock-agreement.js';
import { type UpkeepStatus } from '../../services/ports.js';

export interface ClockVerdict {
  /** Of looks of all nodes, since the database's clock last did something strange. */
  agreed: number;
  /** Why nothing may be deleted by the clock now; null when it may. */
  heldBecause: string | null;
}

/**
 * Watches the clocks over the passes of one process. A node whose own clock is off holds back its own passes only: that the database's
 * clock is right, other nodes can vouch for.
 */
export class ClockWatch {
  private before: ClockLook | undefined;
  private ownAgreed = AGREEING_LOOKS;

  look(look: ClockLook, { lastPassAt, agreed }: UpkeepStatus): ClockVerdict {
    const database = clocksDisagree({ ...look, node: look.database }, this.before, lastPassAt);
    const own = clocksDisagree(look, undefined, null);
    this.before = look;
    this.ownAgreed = own === null ? this.ownAgreed + 1 : 0;
    const all = database === null ? agreed + 1 : 0;
    const reason = database ?? own;
    if (reason !== null) return { agreed: all, heldBecause: reason };
    const waits = Math.min(all, this.ownAgreed) <= AGREEING_LOOKS;
    return { agreed: Math.min(all, AGREEING_LOOKS + 1), heldBecause: waits ? `The clocks agree again; ${AGREEING_LOOKS} passes have to find it so.` : null };
  }
}
