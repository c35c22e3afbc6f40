import { describe, expect, it } from 'vitest';
import { nextRun, offsetInWindow, runsAfter, type SchedulePolicy, type Weekday, WEEKDAYS } from '../../../server/domain/schedule.js';
import { DispatchWorld } from '../../kit/dispatch-world.js';

const MINUTE = 60_000;
const QUARTER = 15 * MINUTE;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Zones with a year in which each does something unusual, and some that never do. */
const YEARS: [string, number][] = [
  ['Europe/Berlin', 2024], ['America/New_York', 2025], ['Australia/Lord_Howe', 2024], ['Africa/Cairo', 2023], ['Africa/Cairo', 2024],
  ['America/Sao_Paulo', 2018], ['Pacific/Apia', 2011], ['Africa/Casablanca', 2024], ['America/Santiago', 2024],
  ['Antarctica/Troll', 2024], ['America/Nuuk', 2024], ['Asia/Kathmandu', 2024], ['+08:00', 2024], ['-03:30', 2023],
];

/** More of them, with fewer policies each. */
const MORE_YEARS: [string, number][] = [
  ['Pacific/Kwajalein', 1993], ['Pacific/Kiritimati', 1994], ['Pacific/Fakaofo', 2011], ['Antarctica/Casey', 2023], ['Asia/Gaza', 2024],
  ['America/Havana', 2024], ['Asia/Beirut', 2023], ['Asia/Pyongyang', 2018], ['America/Caracas', 2016], ['Atlantic/Azores', 2024],
  ['America/Asuncion', 2024], ['Asia/Tehran', 2022], ['Asia/Almaty', 2024], ['Asia/Shanghai', 2024], ['UTC', 2024], ['+14:00', 2024],
];

/** Twenty policies: around midnight, in every gap and repeated hour there is, into the next day, and not on every day. */
const SCHEDULES: Pick<SchedulePolicy, 'startTime' | 'windowMinutes' | 'weekdays'>[] = [
  ...['00:00', '00:15', '00:30', '01:00', '01:30', '01:45', '02:00', '02:15', '02:30', '03:00', '12:00', '23:00', '23:30', '23:45']
    .map((startTime) => ({ startTime, windowMinutes: 60, weekdays: WEEKDAYS })),
  { startTime: '02:30', windowMinutes: 1, weekdays: WEEKDAYS },
  { startTime: '23:45', windowMinutes: 1440, weekdays: WEEKDAYS },
  { startTime: '00:00', windowMinutes: 1440, weekdays: WEEKDAYS },
  { startTime: '02:30', windowMinutes: 60, weekdays: ['FRIDAY', 'SUNDAY'] },
  { startTime: '00:00', windowMinutes: 60, weekdays: ['FRIDAY', 'SUNDAY'] },
  { startTime: '23:45', windowMinutes: 60, weekdays: ['SATURDAY'] },
];

/** The local clock of a zone in quarters of an hour, read straight from Intl: the oracle shares no code with the arithmetic. */
const wallClock = (zone: string, year: number): { instant: number; wall: number }[] => {
  const fixed = /^([+-])(\d\d):(\d\d)$/.exec(zone);
  const shift = fixed ? (Number(fixed[2]) * 60 + Number(fixed[3])) * (fixed[1] === '-' ? -MINUTE : MINUTE) : 0;
  const format = new Intl.DateTimeFormat('sv-SE', { timeZone: fixed ? 'UTC' : zone, dateStyle: 'short', timeStyle: 'medium' });
  const wallAt = (instant: number): number => Date.parse(`${format.format(instant + shift).replace(' ', 'T')}Z`);
  const clock: { instant: number; wall: number }[] = [];
  const end = Date.UTC(year + 1, 0, 1) + 3 * DAY;
  for (let hour = Date.UTC(year, 0, 1) - 2 * DAY, wall = wallAt(hour); hour < end; hour += HOUR) {
    const next = wallAt(hour + HOUR);
    const steady = next - wall === HOUR;
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

/** One line for each local day that exists and is chosen: its weekday and the instant of its run. */
const expectedRuns = (clock: { instant: number; wall: number }[], existing: ReadonlySet<string>, year: number, { startTime, windowMinutes, weekdays }: (typeof SCHEDULES)[number], instanceId: string): string[] => {
  const offset = offsetInWindow(instanceId, windowMinutes) * 1000;
  const expected: string[] = [];
  let hint = 0;
  for (let day = Date.UTC(year, 0, 1); day < Date.UTC(year + 1, 0, 1); day += DAY) {
    const date = dateOf(day);
    if (!existing.has(date) || !weekdays.includes(weekdayOf(date))) continue;
    hint = firstReaching(clock, day + Date.parse(`1970-01-01T${startTime}:00Z`), hint);
    expected.push(`${weekdayOf(date)} ${new Date(clock[hint]!.instant + offset).toISOString()}`);
  }
  return expected;
};

/** The same numbers for the same seed, everywhere. */
const random = (seed: number) => () => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed / 2 ** 32;
};

describe('a year in every zone', () => {
  const ALL = [...YEARS.map((at) => [...at, 20] as const), ...MORE_YEARS.map((at) => [...at, 5] as const)];
  // Every other one; `npm run test:years` goes through all of them.
  const CASES = ALL.filter((_case, at) => process.env['YEARS'] === 'ALL' || at % 2 === 0);

  it.each(CASES)('%s %i: the dispatcher starts %i policies on each local day that exists, exactly once', async (timeZone, year, count) => {
    const clock = wallClock(timeZone, year);
    const chance = random(year);
    const world = new DispatchWorld({ catchUpMs: 6 * HOUR });
    const policies = SCHEDULES.filter((_schedule, at) => at % (SCHEDULES.length / count) === 0).map((schedule, at) => ({ schedule, instanceId: `ins_${timeZone} ${at}` }));
    // From just before the first run of the year: what the first local day has begins up to a day before the year of UTC does.
    world.now = Date.UTC(year, 0, 1) - 2 * DAY;
    for (const { schedule, instanceId } of policies) world.add(instanceId, { ...schedule, timeZone, enabled: true });
    await world.live(Date.UTC(year + 1, 0, 1) + 2 * DAY, async (policyId) => {
      // The net, the queue's second thoughts and wake-ups that come twice or too early pass at any time, and change nothing.
      const luck = chance();
      if (luck < 0.02) await world.dispatcher.dispatchDue();
      else if (luck < 0.04) await world.dispatcher.remind();
      else if (luck < 0.2) await world.dispatcher.policyDue(policyId);
    });
    const existing = new Set(clock.map(({ wall }) => Math.floor(wall / DAY) * DAY).filter((day, at, days) => day !== days[at - 1]).map(dateOf));
    for (const { schedule, instanceId } of policies) {
      const slots = world.slotsOf(instanceId);
      expect(slots.filter(({ state }) => state !== 'STARTED')).toEqual([]);
      const expected = expectedRuns(clock, existing, year, schedule, instanceId);
      const [first, last] = [Date.parse(expected[0]!.split(' ')[1]!), Date.parse(expected.at(-1)!.split(' ')[1]!)];
      const seen = slots.map(({ weekday, plannedAt }) => ({ weekday, at: plannedAt.getTime() })).filter(({ at }) => at >= first && at <= last);
      expect(seen.map(({ weekday, at }) => `${weekday} ${new Date(at).toISOString()}`).join('\n')).toBe(expected.join('\n'));
    }
    // One job for each slot, at its instant, and none besides.
    expect(world.started).toHaveLength(world.slots.size);
    const jobs = new Set([...world.slots.values()].map(({ jobId, plannedAt }) => `${jobId} ${plannedAt.getTime()}`));
    expect(world.started.filter(({ jobId, at }) => !jobs.has(`${jobId} ${at.getTime()}`))).toEqual([]);
  });

  it('gives the same runs whenever it is asked', () => {
    const wrong: string[] = [];
    for (const [timeZone, year] of CASES) {
      const policy: SchedulePolicy = { weekdays: WEEKDAYS, startTime: '23:30', windowMinutes: 1440, timeZone, enabled: true };
      const planned: number[] = [];
      for (let now = nextRun(policy, timeZone, new Date(Date.UTC(year, 0, 1)))!; now.getTime() < Date.UTC(year + 1, 0, 1);) {
        planned.push(now.getTime());
        now = nextRun(policy, timeZone, now)!;
      }
      let at = 0;
      for (let ask = planned[0]!; ask < planned.at(-1)!; ask += 17 * HOUR + 1234) {
        while (planned[at]! <= ask) at += 1;
        if (nextRun(policy, timeZone, new Date(ask))!.getTime() !== planned[at]) wrong.push(`${timeZone} ${new Date(ask).toISOString()}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

it('every zone that there is gives one run for each local day of a year, in their order', () => {
  const wrong: string[] = [];
  for (const timeZone of Intl.supportedValuesOf('timeZone')) {
    const policy: SchedulePolicy = { weekdays: WEEKDAYS, startTime: '02:30', windowMinutes: 60, timeZone, enabled: true };
    let before = '';
    for (const { localDate, plannedAt } of runsAfter(policy, timeZone, new Date('2025-01-01T00:00:00Z'))) {
      // No zone skips a day in this year, so each is the day after the one before.
      if (before !== '' && dateOf(Date.parse(before) + DAY) !== localDate) wrong.push(`${timeZone} ${before} ${localDate}`);
      before = localDate;
      if (plannedAt.getTime() > Date.UTC(2026, 0, 1)) break;
    }
  }
  expect(wrong).toEqual([]);
});
