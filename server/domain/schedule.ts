import { DAY_MS, HOUR_MS, instantOf, isTimeZone, MINUTE_MS, wallAt } from './schedule-zone.js';

/** In the order of ISO 8601. */
export const WEEKDAYS = ['MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY', 'SUNDAY'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** When automatic backups of one instance run. */
export interface SchedulePolicy {
  /** Days on which a window starts, in the policy's zone. At least one. */
  weekdays: readonly Weekday[];
  /** `HH:mm`, 00:00 to 23:59, on the local clock: the start of the window. */
  startTime: string;
  /** Length of the window in minutes, 1 to 1440. The run is planned somewhere inside, always at the same place. */
  windowMinutes: number;
  /** An IANA zone, `UTC`, or a fixed offset from -14:00 to +14:00. */
  timeZone: string;
  enabled: boolean;
}

/** What an instance gets at registration, but for the zone, which is the service's. */
export const DEFAULT_POLICY: Omit<SchedulePolicy, 'timeZone'> = {
  weekdays: WEEKDAYS, startTime: '02:00', windowMinutes: 60, enabled: true,
};

export const WINDOW_MINUTES = { min: 1, max: 1440 } as const;

/** One planned run. `windowStart <= plannedAt < windowEnd`. */
export interface Run {
  plannedAt: Date;
  windowStart: Date;
  windowEnd: Date;
  /** The weekday of `localDate`: the one the run belongs to, also when `plannedAt` falls on the next day. */
  weekday: Weekday;
  /** `YYYY-MM-DD` of the local day whose run this is. */
  localDate: string;
}

export interface PolicyIssue {
  /** Path into the policy. */
  field: readonly string[];
  message: string;
}

const START_TIME = /^([01]\d|2[0-3]):([0-5]\d)$/;

/** Everything that is wrong with a policy, one entry per field. Empty when it can be used. Never throws. */
export const validatePolicy = (policy: SchedulePolicy): PolicyIssue[] => {
  const issues: PolicyIssue[] = [];
  if (policy.weekdays.length === 0) {
    issues.push({ field: ['weekdays'], message: 'At least one weekday must remain. To stop automatic backups, set enabled to false.' });
  } else if (!policy.weekdays.every((day) => WEEKDAYS.includes(day))) {
    issues.push({ field: ['weekdays'], message: `Each weekday must be one of ${WEEKDAYS.join(', ')}.` });
  }
  if (!START_TIME.test(policy.startTime)) {
    issues.push({ field: ['startTime'], message: 'The start time must be HH:mm from 00:00 to 23:59, for example "02:00".' });
  }
  if (!Number.isInteger(policy.windowMinutes) || policy.windowMinutes < WINDOW_MINUTES.min || policy.windowMinutes > WINDOW_MINUTES.max) {
    issues.push({ field: ['windowMinutes'], message: `The window must be a whole number of minutes from ${WINDOW_MINUTES.min} to ${WINDOW_MINUTES.max}.` });
  }
  if (!isTimeZone(policy.timeZone)) {
    issues.push({
      field: ['timeZone'],
      message: 'The time zone must be an IANA name such as "Europe/Berlin", "UTC", or a fixed offset from "-14:00" to "+14:00".',
    });
  }
  return issues;
};

/**
 * Where inside the window an instance's runs lie: whole seconds from 0 up to, not including, the window's end.
 * FNV-1a over the id's code units with the finaliser of MurmurHash3. The result is part of what users see as `nextRunAt`:
 * it must not change between releases.
 */
export const offsetInWindow = (instanceId: string, windowMinutes: number): number => {
  let hash = 0x811c9dc5;
  for (let i = 0; i < instanceId.length; i += 1) hash = Math.imul(hash ^ instanceId.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  return (hash >>> 0) % (windowMinutes * 60);
};

const weekdayOf = (dayStart: number): Weekday => WEEKDAYS[(new Date(dayStart).getUTCDay() + 6) % 7] ?? 'MONDAY';

const timeOfDay = (startTime: string): number => {
  const match = START_TIME.exec(startTime);
  if (!match) throw new RangeError(`startTime ${JSON.stringify(startTime)} is not HH:mm`);
  return Number(match[1]) * HOUR_MS + Number(match[2]) * MINUTE_MS;
};

/** More consecutive days than any policy can be without a run: a single weekday, and that one swallowed by the date line. */
const LONGEST_PAUSE_DAYS = 22;

/**
 * The planned runs after an instant, soonest first, without end while the policy is enabled: exactly one for each local day that
 * exists and whose weekday is chosen. A policy that is disabled or has no weekday gives none.
 * Throws RangeError for a policy that `validatePolicy` refuses.
 */
export function* runsAfter(policy: SchedulePolicy, instanceId: string, after: Date): Generator<Run, void, undefined> {
  if (!policy.enabled) return;
  const days = new Set(policy.weekdays);
  const time = timeOfDay(policy.startTime);
  const offset = offsetInWindow(instanceId, policy.windowMinutes) * 1000;
  // A window may begin a day before its run, and a skipped hour may push it over midnight: two days back are enough.
  let day = Math.floor(wallAt(policy.timeZone, after.getTime()) / DAY_MS) * DAY_MS - 2 * DAY_MS;
  for (let pause = 0; pause < LONGEST_PAUSE_DAYS; pause += 1, day += DAY_MS) {
    const weekday = weekdayOf(day);
    if (!days.has(weekday)) continue;
    const start = instantOf(policy.timeZone, day, time);
    if (start === null || start + offset <= after.getTime()) continue;
    pause = 0;
    yield {
      plannedAt: new Date(start + offset),
      windowStart: new Date(start),
      windowEnd: new Date(start + policy.windowMinutes * MINUTE_MS),
      weekday,
      localDate: new Date(day).toISOString().slice(0, 10),
    };
  }
}

/** The first `count` planned runs after an instant. */
export const upcomingRuns = (policy: SchedulePolicy, instanceId: string, after: Date, count: number): Run[] => {
  const runs: Run[] = [];
  if (count <= 0) return runs;
  for (const run of runsAfter(policy, instanceId, after)) {
    runs.push(run);
    if (runs.length >= count) break;
  }
  return runs;
};

/** The first planned instant strictly after `after`, or null when the policy is disabled. */
export const nextRun = (policy: SchedulePolicy, instanceId: string, after: Date): Date | null =>
  upcomingRuns(policy, instanceId, after, 1)[0]?.plannedAt ?? null;
