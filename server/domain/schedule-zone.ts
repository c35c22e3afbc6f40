/**
 * Time-zone arithmetic over the zone data that Node carries (ICU). A zone is an IANA name, `UTC`, or a fixed offset `±HH:mm`.
 * Instants are milliseconds since the epoch; "wall" times are milliseconds of a local clock read as if it were UTC.
 */

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

const FIXED_OFFSET = /^([+-])(\d{2}):(\d{2})$/;
const MAX_OFFSET_MS = 14 * HOUR_MS;

/** Milliseconds east of UTC for `UTC` and `±HH:mm` (at most 14:00), else undefined. */
const fixedOffset = (zone: string): number | undefined => {
  if (zone === 'UTC') return 0;
  const match = FIXED_OFFSET.exec(zone);
  if (!match) return undefined;
  const minutes = Number(match[3]);
  const offset = Number(match[2]) * HOUR_MS + minutes * MINUTE_MS;
  if (minutes > 59 || offset > MAX_OFFSET_MS) return undefined;
  return match[1] === '-' ? -offset : offset;
};

/** One formatter per zone: making one costs about 50 µs, using it 1 µs. Only valid zones are kept, so the map is bounded. */
const formatters = new Map<string, Intl.DateTimeFormat>();

const formatterOf = (zone: string): Intl.DateTimeFormat => {
  const known = formatters.get(zone);
  if (known) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: zone, calendar: 'gregory', numberingSystem: 'latn', hourCycle: 'h23',
    year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric',
  });
  formatters.set(zone, made);
  return made;
};

/** Whether `zone` is `UTC`, a fixed offset between -14:00 and +14:00, or a zone that the platform's zone data knows. */
export const isTimeZone = (zone: string): boolean => {
  if (fixedOffset(zone) !== undefined) return true;
  // Newer runtimes take further offset spellings as zones; ours is the only one that works everywhere.
  if (!/^[A-Za-z]/.test(zone)) return false;
  try {
    formatterOf(zone);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
};

/** What the clock on the wall of `zone` shows at `instant`, to the second. Throws RangeError for an unknown zone. */
export const wallAt = (zone: string, instant: number): number => {
  const fixed = fixedOffset(zone);
  if (fixed !== undefined) return instant + fixed;
  // en-US with these fields is always "M/D/YYYY, HH:mm:ss".
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] =
    (formatterOf(zone).format(instant).match(/\d+/g) ?? []).map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second);
};

/** Milliseconds east of UTC in `zone` at `instant`, whole seconds. */
export const offsetAt = (zone: string, instant: number): number => {
  const second = Math.floor(instant / 1000) * 1000;
  return wallAt(zone, second) - second;
};

const GRID_MS = 12 * HOUR_MS;
const GRID_CACHE_LIMIT = 20_000;
/** Offsets at multiples of 12 hours. Emptied when full, so that no caller can make it grow. */
const gridOffsets = new Map<string, number>();

const gridOffset = (zone: string, instant: number): number => {
  const key = `${zone} ${instant}`;
  const known = gridOffsets.get(key);
  if (known !== undefined) return known;
  if (gridOffsets.size >= GRID_CACHE_LIMIT) gridOffsets.clear();
  const offset = offsetAt(zone, instant);
  gridOffsets.set(key, offset);
  return offset;
};

/** The first whole second in `(from, to]` whose offset is not `before`, the one at `from`; `to` has another one. */
const transitionBetween = (zone: string, from: number, to: number, before: number): number => {
  let low = from / 1000;
  let high = to / 1000;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetAt(zone, middle * 1000) === before) low = middle;
    else high = middle;
  }
  return high * 1000;
};

/**
 * The instant at which the local day `dayStart` (wall time of its midnight) reaches the time of day `timeMs`.
 * In a repeated hour: its first occurrence. In a gap: the first instant after the gap, even when that carries the next date.
 * Null when the whole local day does not exist (a zone that crossed the date line).
 * Zones change at most once in any 54 hours (true of the zone data since 1970).
 */
export const instantOf = (zone: string, dayStart: number, timeMs: number): number | null => {
  const wall = dayStart + timeMs;
  // Offsets lie between -14 and +14 hours, so the instant looked for lies strictly between these two.
  const from = Math.floor((wall - 15 * HOUR_MS) / GRID_MS) * GRID_MS;
  const to = Math.ceil((wall + 15 * HOUR_MS) / GRID_MS) * GRID_MS;
  const before = gridOffset(zone, from);
  const after = gridOffset(zone, to);
  if (before === after) return wall - before;
  const transition = transitionBetween(zone, from, to, before);
  if (wall - before < transition) return wall - before;
  if (wall - after >= transition) return wall - after;
  // Wall times from `transition + before` up to `transition + after` never happened.
  const dayExists = dayStart < transition + before || dayStart + DAY_MS > transition + after;
  return dayExists ? transition : null;
};
