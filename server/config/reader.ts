/** Reads settings one by one and gathers every mistake, so that a start with three wrong variables names all three. */
export class SettingsReader {
  readonly mistakes: string[] = [];

  constructor(private readonly env: Readonly<Record<string, string | undefined>>) {}

  /** The trimmed value; undefined when unset or empty. */
  text(name: string): string | undefined {
    const value = this.env[name]?.trim();
    return value === undefined || value === '' ? undefined : value;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const number = /^-?\d+$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    return this.wrong(name, `must be a whole number from ${min} to ${max}, not "${value}"`, fallback);
  }

  /** Seconds, to the thousandth; the answer is in milliseconds. */
  seconds(name: string, fallbackMs: number, min: number, max: number): number {
    const value = this.text(name);
    if (value === undefined) return fallbackMs;
    const number = /^\d+(?:\.\d{1,3})?$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return Math.round(number * 1000);
    return this.wrong(name, `must be seconds from ${min} to ${max}, not "${value}"`, fallbackMs);
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.text(name)?.toLowerCase();
    if (value === undefined) return fallback;
    if (['1', 'true', 'yes', 'on'].includes(value)) return true;
    if (['0', 'false', 'no', 'off'].includes(value)) return false;
    return this.wrong(name, `must be true or false, not "${value}"`, fallback);
  }

  choice<const T extends string>(name: string, choices: readonly T[], fallback: T): T {
    const value = this.text(name);
    if (value === undefined) return fallback;
    const found = choices.find((choice) => choice === value);
    return found ?? this.wrong(name, `must be one of ${choices.join(', ')}, not "${value}"`, fallback);
  }

  /** Comma-separated; blanks around items are dropped. */
  list(name: string): string[] {
    return (this.text(name) ?? '').split(',').map((item) => item.trim()).filter((item) => item !== '');
  }

  wrong<T>(name: string, problem: string, fallback: T): T {
    this.mistakes.push(`${name} ${problem}.`);
    return fallback;
  }
}
