/** Counts and sizes come as decimal texts of any length; to be shown, a number is exact enough. */
type Amount = string | number | null | undefined;

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export const bytes = (amount: Amount): string => {
  if (amount === null || amount === undefined) return '–';
  let value = Number(amount);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ''}`;
};

export const count = (amount: Amount): string => (amount === null || amount === undefined ? '–' : Number(amount).toLocaleString('en'));

/** Items in a list: the service counts no further than this. */
const COUNTED = 10_000;
export const total = (items: number): string => (items >= COUNTED ? `${count(COUNTED)} or more` : count(items));

export const plural = (amount: Amount, one: string, many = `${one}s`): string => `${count(amount)} ${Number(amount) === 1 ? one : many}`;

export const sum = (amounts: readonly Amount[]): number => amounts.reduce<number>((total, amount) => total + Number(amount ?? 0), 0);

const STEPS: readonly [seconds: number, word: string][] = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];

/** At most two units, the smaller one left out where it says nothing: `3 d 4 h`, `12 min`, `45 s`. */
export const duration = (seconds: number): string => {
  let rest = Math.max(0, Math.round(seconds));
  if (rest === 0) return seconds > 0 ? '< 1 s' : '0 s';
  const parts: string[] = [];
  for (const [size, word] of STEPS) {
    const amount = Math.floor(rest / size);
    if (amount > 0) parts.push(`${String(amount)} ${word}`);
    rest -= amount * size;
    if (parts.length === 2 || (parts.length === 1 && amount === 0)) break;
  }
  return parts.join(' ');
};

/** `just now`, `12 min ago`, `in 3 h`. One unit: it is read at a glance. */
export const relative = (at: number, now: number): string => {
  const seconds = Math.round((at - now) / 1000);
  const far = Math.abs(seconds);
  if (far < 5) return 'just now';
  const [size, word] = STEPS.find(([step]) => far >= step) ?? [1, 's'];
  const text = `${String(Math.floor(far / size))} ${word}`;
  return seconds < 0 ? `${text} ago` : `in ${text}`;
};

const WHEN: Intl.DateTimeFormatOptions = { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };

/** A fixed offset such as `+08:00` is a zone for the service, but not for every browser. */
const inZone = (options: Intl.DateTimeFormatOptions, timeZone: string | undefined): Intl.DateTimeFormat => {
  try {
    return new Intl.DateTimeFormat('en-GB', { ...options, timeZone });
  } catch {
    return new Intl.DateTimeFormat('en-GB', { ...options, timeZone: 'UTC' });
  }
};

export const dateTime = (at: string | number, timeZone?: string): string => inZone(WHEN, timeZone).format(new Date(at));

/** With seconds, year and zone: what a tooltip has room for. */
export const exactly = (at: string | number): string => inZone({ dateStyle: 'full', timeStyle: 'long' }, undefined).format(new Date(at));

export const ownZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;
