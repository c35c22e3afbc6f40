import { type Clock, type Log } from '../engine/ports.js';

/** Compared this often. */
const COMPARE_MS = 10_000;
/** Of an answer that took longer nobody knows when the database read its clock. */
const PROMPT_MS = 500;
/** A node whose own clock is off by more than this is told about. */
const WORTH_TELLING_MS = 2_000;
/** Time does not go back by less than this: small corrections are waited out. */
const STEP_MS = 1_000;

export interface DatabaseClock extends Clock {
  stop(): void;
}

/**
 * The database's time, without asking it each time: what nodes write down and compare (ends of jobs, lives of links, plans and keys) must not
 * depend on whose machine it was. Goes on by the monotonic clock while the database is away. The answer's arrival counts as the moment at
 * which the database read its clock: never ahead of it, and behind by the answer's way only.
 * @param ask the database's clock
 */
export const startDatabaseClock = async (ask: () => Promise<Date>, log: Log): Promise<DatabaseClock> => {
  let base = { at: Date.now(), since: performance.now() };
  let last = -Infinity;
  let told = false;

  const compare = async (mustTake: boolean): Promise<void> => {
    const asked = performance.now();
    const theirs = (await ask()).getTime();
    const since = performance.now();
    if (since - asked > PROMPT_MS && !mustTake) return;
    base = { at: theirs, since };
    const skewMs = Date.now() - theirs;
    const off = Math.abs(skewMs) > WORTH_TELLING_MS;
    if (off && !told) log.warn('This machine\'s clock differs from the database\'s, which is used.', { skewMs });
    told = off;
  };

  await compare(true);
  const timer = setInterval(() => {
    compare(false).catch((error: unknown) => log.debug('The database could not be asked for the time.', { error: String(error) }));
  }, COMPARE_MS);
  return {
    now() {
      const time = base.at + performance.now() - base.since;
      last = time < last && last - time < STEP_MS ? last : time;
      return new Date(last);
    },
    stop: () => clearInterval(timer),
  };
};
