import { describe, expect, it } from 'vitest';
import { offsetInWindow, runsAfter, nextRun, type SchedulePolicy, type Weekday, WEEKDAYS } from '../../../server/domain/schedule.js';

const QUARTER = 15 * 60_000;
const DAY = 24 * 60 * 60_000;

/** Zones with a year in which each does something unusual (or, the last ones, nothing at all). */
const YEARS: [string, number][] = [
  ['Europe/Berlin', 2024], ['America/New_York', 2025], ['Australia/Lord_Howe', 2024], ['Africa/Cairo', 2023], ['Africa/Cairo', 2024],
  ['America/Sao_Paulo', 2018], ['Pacific/Apia', 2011], ['Africa/Casablanca', 2024], ['America/Santiago', 2024],
  ['Antarctica/Troll', 2024], ['America/Nuuk', 2024], ['Pacific/Kwajalein', 1993], ['Pacific/Kiritimati', 1994], ['Pacific/Fakaofo', 2011],
  ['Antarctica/Casey', 2023], ['Asia/Gaza', 2024], ['America/Havana', 2024], ['Asia/Beirut', 2023], ['Asia/Pyongyang', 2018],
  ['America/Caracas', 2016], ['Atlantic/Azores', 2024], ['America/Asuncion', 2024], ['Asia/Tehran', 2022], ['Asia/Almaty', 2024],
  ['Asia/Kathmandu', 2024], ['Asia/Shanghai', 2024], ['UTC', 2024], ['+08:00', 2024], ['-03:30', 2023], ['+14:00', 2024],
];

/** The local clock of a zone in quarters of an hour, read straight from Intl: the oracle shares no code with the arithmetic. */
const wallClock = (zone: string, year: number): { instant: number; wall: number }[] => {
  const fixed = /^([+-])(\d\d):(\d\d)$/.exec(zone);
  const shift = fixed ? (Number(fixed[2]) * 60 + Number(fixed[3])) * (fixed[1] === '-' ? -60_000 : 60_000) : 0;
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: fixed ? 'UTC' : zone, dateStyle: 'short', timeStyle: 'medium' });
  const wallAt = (instant: number): number => Date.parse(`${format.format(instant + shift).replace(' ', 'T')}Z`);
  const clock: { instant: number; wall: number }[] = [];
  const end = Date.UTC(year + 1, 0, 1) + 3 * DAY;
  for (let hour = Date.UTC(year, 0, 1) - 2 * DAY, wall = wallAt(hour); hour < end; hour += 4 * QUARTER) {
    const next = wallAt(hour + 4 * QUARTER);
    const steady = next - wall === 4 * QUARTER;
    for (let quarter = 0; quarter < 4; quarter += 1) {
      const instant = hour + quarter * QUARTER;
      clock.push({ instant, wall: steady ? wall + quarter * QUARTER : wallAt(instant) });
    }
    wall = next;
  }
  return clock;
};

/** The first instant at which the local clock shows `wall` or more: the gap and the repeated hour in one rule. */
const firstReaching = (clock: { instant: number; wall: number }[], wall: number, hint: number): number => {
  let i = hint;
  while ((clock[i]?.wall ?? Infinity) < wall) i += 1;
  return i;
};

const dateOf = (wall: number): string => new Date(wall).toISOString().slice(0, 10);
const weekdayOf = (date: string): Weekday => WEEKDAYS[(new Date(`${date}T00:00:00Z`).getUTCDay() + 6) % 7]!;

describe('a year in every zone', () => {
  const started = process.cpuUsage();

  it.each(YEARS)('%s %i: no local day missed, none doubled', (timeZone, year) => {
    const clock = wallClock(timeZone, year);
    const existing = new Set(clock.map(({ wall }) => dateOf(wall)));
    for (const startTime of ['00:00', '00:30', '01:45', '02:30', '23:30']) {
      for (const weekdays of [WEEKDAYS, ['SUNDAY', 'FRIDAY'] as const]) {
        const policy: SchedulePolicy = { weekdays, startTime, windowMinutes: 60, timeZone, enabled: true };
        const instance = `ins_${timeZone}${startTime}`;
        const offset = offsetInWindow(instance, 60) * 1000;

        const expected: string[] = [];
        let hint = 0;
        for (let day = Date.UTC(year, 0, 1); day < Date.UTC(year + 1, 0, 1); day += DAY) {
          const date = dateOf(day);
          if (!existing.has(date) || !(weekdays as readonly Weekday[]).includes(weekdayOf(date))) continue;
          hint = firstReaching(clock, day + Date.parse(`1970-01-01T${startTime}:00Z`), hint);
          expected.push(`${weekdayOf(date)} ${date} ${new Date(clock[hint]!.instant + offset).toISOString()}`);
        }

        // The clock of a service that asks for the next run after each one, as it does in life.
        const seen: string[] = [];
        for (const run of runsAfter(policy, instance, new Date(Date.UTC(year, 0, 1) - 2 * DAY))) {
          if (run.localDate >= `${year + 1}-01-01`) break;
          if (run.localDate >= `${year}-01-01`) seen.push(`${run.weekday} ${run.localDate} ${run.plannedAt.toISOString()}`);
        }
        expect(seen.join('\n')).toBe(expected.join('\n'));
      }
    }
  });

  it('gives the same runs whenever it is asked', () => {
    const wrong: string[] = [];
    for (const [timeZone, year] of YEARS) {
      const policy: SchedulePolicy = { weekdays: WEEKDAYS, startTime: '23:30', windowMinutes: 1440, timeZone, enabled: true };
      const planned: number[] = [];
      for (let now = nextRun(policy, timeZone, new Date(Date.UTC(year, 0, 1)))!; now.getTime() < Date.UTC(year + 1, 0, 1);) {
        planned.push(now.getTime());
        now = nextRun(policy, timeZone, now)!;
      }
      let at = 0;
      for (let ask = planned[0]!; ask < planned.at(-1)!; ask += 17 * 60 * 60_000 + 1234) {
        while (planned[at]! <= ask) at += 1;
        if (nextRun(policy, timeZone, new Date(ask))!.getTime() !== planned[at]) wrong.push(`${timeZone} ${new Date(ask).toISOString()}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('took less than 10 seconds of processor time', () => {
    const { user, system } = process.cpuUsage(started);
    expect((user + system) / 1e6).toBeLessThan(10);
  });
});
