/** The clocks at one moment. */
export interface ClockLook {
  database: Date;
  node: Date;
  /** Of a clock that nobody sets, in milliseconds since some moment. */
  monotonicMs: number;
}

/** Clocks that differ by less agree: renewal of leases and planning bear as much, and NTP keeps within it. */
const TOLERANCE_MS = 60_000;
/** After a longer pause nobody can tell a clock that was set from time that has passed. */
const LONGEST_PAUSE_MS = 24 * 60 * 60_000;
/** So many looks must agree before what was stopped goes on. */
export const AGREEING_LOOKS = 2;

const seconds = (ms: number): string => `${Math.round(Math.abs(ms) / 1000)} s`;

/**
 * Why these clocks are not to be trusted with a deletion, or null when they agree.
 * @param before the look before, of this same process; undefined at its first
 * @param lastAt when the last look of any process was, by the database's clock; null when there was none
 */
export const clocksDisagree = (look: ClockLook, before: ClockLook | undefined, lastAt: Date | null): string | null => {
  const off = look.node.getTime() - look.database.getTime();
  if (Math.abs(off) > TOLERANCE_MS) return `The clock of this node is ${seconds(off)} ${off > 0 ? 'ahead of' : 'behind'} the database's.`;
  if (before) {
    const jump = look.database.getTime() - before.database.getTime() - (look.monotonicMs - before.monotonicMs);
    if (Math.abs(jump) > TOLERANCE_MS) return `The database's clock has jumped ${seconds(jump)} ${jump > 0 ? 'ahead' : 'back'}.`;
  }
  if (!lastAt) return null;
  const pause = look.database.getTime() - lastAt.getTime();
  if (pause < -TOLERANCE_MS) return `The database's clock is ${seconds(pause)} behind what it was at an earlier pass.`;
  if (!before && pause > LONGEST_PAUSE_MS) return `The last pass was ${Math.round(pause / 3_600_000)} hours ago, by the database's clock.`;
  return null;
};
