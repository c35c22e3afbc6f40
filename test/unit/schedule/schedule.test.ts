import { describe, expect, it } from 'vitest';
import {
  DEFAULT_POLICY, nextRun, offsetInWindow, type SchedulePolicy, upcomingRuns, validatePolicy, type Weekday, WEEKDAYS,
} from '../../../server/domain/schedule.js';

const policy = (over: Partial<SchedulePolicy> = {}): SchedulePolicy => ({ ...DEFAULT_POLICY, timeZone: 'UTC', ...over });
const INSTANCE = 'ins_01jd0000000000000000000000';

describe('validatePolicy', () => {
  it('accepts the default and the edges', () => {
    expect(validatePolicy(policy())).toEqual([]);
    for (const startTime of ['00:00', '23:59']) expect(validatePolicy(policy({ startTime }))).toEqual([]);
    for (const windowMinutes of [1, 1440]) expect(validatePolicy(policy({ windowMinutes }))).toEqual([]);
    for (const timeZone of ['UTC', 'Asia/Shanghai', 'Etc/GMT-8', '+08:00', '-03:30', '+14:00', '-14:00', '+00:00']) {
      expect(validatePolicy(policy({ timeZone })), timeZone).toEqual([]);
    }
  });

  it.each<[keyof SchedulePolicy, unknown[]]>([
    ['weekdays', [[], ['FUNDAY'], ['monday']]],
    ['startTime', ['25:00', '24:00', '2:00', '02:60', '', '02:00:00', ' 02:00', '02:00\n', '٠٢:٠٠']],
    ['windowMinutes', [0, -1, 1441, 1.5, Number.NaN, Number.POSITIVE_INFINITY]],
    ['timeZone', ['', 'Mars/Olympus', '+8', '+0800', '+14:01', '+15:00', '-99:00', '+08:60', 'Europe/Berlin ', '../etc/passwd']],
  ])('names %s when it is wrong', (field, values) => {
    for (const value of values) {
      const issues = validatePolicy({ ...policy(), [field]: value } as SchedulePolicy);
      expect(issues.map((issue) => issue.field), JSON.stringify(value)).toEqual([[field]]);
    }
  });

  it('reports every field at once, also of a disabled policy', () => {
    const issues = validatePolicy({ weekdays: [], startTime: 'x', windowMinutes: 0, timeZone: 'x', enabled: false });
    expect(issues.map((issue) => issue.field[0])).toEqual(['weekdays', 'startTime', 'windowMinutes', 'timeZone']);
  });
});

describe('offsetInWindow', () => {
  it('is stable between releases', () => {
    expect(offsetInWindow('ins_01jd0000000000000000000000', 60)).toBe(1770);
    expect(offsetInWindow('ins_01jd0000000000000000000001', 60)).toBe(1778);
    expect(offsetInWindow('', 1440)).toBe(26123);
  });

  it('spreads a thousand instances over the window', () => {
    const perMinute = new Array<number>(60).fill(0);
    for (let i = 0; i < 1000; i += 1) {
      const offset = offsetInWindow(`ins_01jd00000000000000000${String(i).padStart(5, '0')}`, 60);
      expect(Number.isInteger(offset) && offset >= 0 && offset < 3600).toBe(true);
      perMinute[Math.floor(offset / 60)]! += 1;
    }
    // 16.7 a minute are expected; a Poisson spread leaves 3 to 36 with a chance of one in a million.
    expect(Math.min(...perMinute)).toBeGreaterThanOrEqual(3);
    expect(Math.max(...perMinute)).toBeLessThanOrEqual(36);
  });
});

describe('planned runs', () => {
  it('gives none for a disabled policy or one without weekdays', () => {
    expect(nextRun(policy({ enabled: false }), INSTANCE, new Date())).toBeNull();
    expect(nextRun(policy({ weekdays: [] }), INSTANCE, new Date())).toBeNull();
    expect(upcomingRuns(policy(), INSTANCE, new Date(), 0)).toEqual([]);
  });

  it('is strictly after the given instant', () => {
    const first = nextRun(policy(), INSTANCE, new Date('2025-01-01T00:00:00Z'))!;
    expect(first.toISOString()).toBe('2025-01-01T02:29:30.000Z');
    expect(nextRun(policy(), INSTANCE, new Date(first.getTime() - 1))).toEqual(first);
    expect(nextRun(policy(), INSTANCE, first)!.toISOString()).toBe('2025-01-02T02:29:30.000Z');
  });

  it('belongs to the weekday on which the window starts, also after midnight', () => {
    const late = policy({ weekdays: ['SUNDAY'], startTime: '23:45' });
    // Sunday 2025-01-05 23:45 plus 29:30 is Monday 00:14:30.
    expect(upcomingRuns(late, INSTANCE, new Date('2025-01-05T23:59:00Z'), 2)).toEqual([
      {
        plannedAt: new Date('2025-01-06T00:14:30Z'), windowStart: new Date('2025-01-05T23:45:00Z'),
        windowEnd: new Date('2025-01-06T00:45:00Z'), weekday: 'SUNDAY', localDate: '2025-01-05',
      },
      {
        plannedAt: new Date('2025-01-13T00:14:30Z'), windowStart: new Date('2025-01-12T23:45:00Z'),
        windowEnd: new Date('2025-01-13T00:45:00Z'), weekday: 'SUNDAY', localDate: '2025-01-12',
      },
    ]);
    expect(nextRun(late, INSTANCE, new Date('2025-01-06T00:14:30Z'))!.toISOString()).toBe('2025-01-13T00:14:30.000Z');
  });

  it('finds a run that a window of a whole day carries into the next day', () => {
    const all = policy({ weekdays: ['SATURDAY'], startTime: '23:59', windowMinutes: 1440, timeZone: '-14:00' });
    const [run] = upcomingRuns(all, INSTANCE, new Date('2025-01-01T00:00:00Z'), 1);
    expect(run!.localDate).toBe('2025-01-04');
    expect(nextRun(all, INSTANCE, new Date(run!.plannedAt.getTime() - 1))).toEqual(run!.plannedAt);
  });

  it('reads fixed offsets and named zones alike', () => {
    const at = (timeZone: string) => nextRun(policy({ startTime: '01:00', timeZone }), INSTANCE, new Date('2025-06-01T00:00:00Z'))!.toISOString();
    expect(at('+08:00')).toBe('2025-06-01T17:29:30.000Z');
    expect(at('Asia/Shanghai')).toBe(at('+08:00'));
    expect(at('Etc/GMT-8')).toBe(at('+08:00'));
    expect(at('-03:30')).toBe('2025-06-01T04:59:30.000Z');
  });
});

/** Zone, start time, weekdays, an instant just before, and the window starts that follow: worked out by hand from the zone rules. */
const TRICKY: [string, string, string, readonly Weekday[], string, string[]][] = [
  ['gap 02:00-03:00 moves to its end', 'Europe/Berlin', '02:30', WEEKDAYS, '2024-03-30T12:00:00Z',
    ['2024-03-31T01:00:00Z', '2024-04-01T00:30:00Z']],
  ['repeated 02:00-03:00 runs the first time', 'Europe/Berlin', '02:30', WEEKDAYS, '2024-10-26T12:00:00Z',
    ['2024-10-27T00:30:00Z', '2024-10-28T01:30:00Z']],
  ['the end of a gap itself', 'America/New_York', '03:00', WEEKDAYS, '2025-03-08T12:00:00Z',
    ['2025-03-09T07:00:00Z', '2025-03-10T07:00:00Z']],
  ['the last minute before a gap', 'America/New_York', '01:59', WEEKDAYS, '2025-03-08T12:00:00Z',
    ['2025-03-09T06:59:00Z', '2025-03-10T05:59:00Z']],
  ['half an hour of gap', 'Australia/Lord_Howe', '02:15', WEEKDAYS, '2024-10-05T00:00:00Z',
    ['2024-10-05T15:30:00Z', '2024-10-06T15:15:00Z']],
  ['half an hour repeated', 'Australia/Lord_Howe', '01:45', WEEKDAYS, '2024-04-06T00:00:00Z',
    ['2024-04-06T14:45:00Z', '2024-04-07T15:15:00Z']],
  ['two hours of gap', 'Antarctica/Troll', '01:30', WEEKDAYS, '2024-03-30T12:00:00Z',
    ['2024-03-31T01:00:00Z', '2024-03-31T23:30:00Z']],
  ['two hours repeated', 'Antarctica/Troll', '01:30', WEEKDAYS, '2024-10-26T12:00:00Z',
    ['2024-10-26T23:30:00Z', '2024-10-28T01:30:00Z']],
  ['a gap at midnight: the day begins at 01:00', 'America/Sao_Paulo', '00:00', WEEKDAYS, '2018-11-03T12:00:00Z',
    ['2018-11-04T03:00:00Z', '2018-11-05T02:00:00Z']],
  ['an hour before midnight repeated', 'America/Sao_Paulo', '23:30', WEEKDAYS, '2018-02-17T12:00:00Z',
    ['2018-02-18T01:30:00Z', '2018-02-19T02:30:00Z']],
  ['a gap at midnight', 'Africa/Cairo', '00:15', WEEKDAYS, '2023-04-27T12:00:00Z',
    ['2023-04-27T22:00:00Z', '2023-04-28T21:15:00Z']],
  ['a day that was skipped', 'Pacific/Apia', '02:00', WEEKDAYS, '2011-12-28T13:00:00Z',
    ['2011-12-29T12:00:00Z', '2011-12-30T12:00:00Z', '2011-12-31T12:00:00Z']],
  ['a weekly run on the skipped day', 'Pacific/Apia', '02:00', ['FRIDAY'], '2011-12-24T00:00:00Z',
    ['2012-01-05T12:00:00Z']],
  ['a gap that ends the day: the run keeps its Saturday', 'America/Nuuk', '23:30', ['SATURDAY'], '2024-03-30T12:00:00Z',
    ['2024-03-31T01:00:00Z', '2024-04-07T00:30:00Z']],
  ['a pause of summer time', 'Africa/Casablanca', '02:30', WEEKDAYS, '2024-04-13T12:00:00Z',
    ['2024-04-14T02:00:00Z', '2024-04-15T01:30:00Z']],
  ['a gap at midnight, far south', 'America/Santiago', '00:30', WEEKDAYS, '2024-09-07T12:00:00Z',
    ['2024-09-08T04:00:00Z', '2024-09-09T03:30:00Z']],
  ['quarter hours', 'Asia/Kathmandu', '00:00', WEEKDAYS, '2024-01-01T12:00:00Z', ['2024-01-01T18:15:00Z', '2024-01-02T18:15:00Z']],
];

it.each(TRICKY)('%s (%s %s)', (_name, timeZone, startTime, weekdays, after, expected) => {
  const runs = upcomingRuns(policy({ timeZone, startTime, weekdays, windowMinutes: 1 }), INSTANCE, new Date(after), expected.length);
  expect(runs.map((run) => run.windowStart.toISOString().replace('.000', ''))).toEqual(expected);
  for (const run of runs) expect(weekdays).toContain(run.weekday);
});
