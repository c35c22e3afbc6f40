import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** Reads what a process uses from Linux's /proc, all its threads together. */
export class ProcessMeter {
  static readonly ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

  constructor(private readonly pid: number) {}

  /** Resident bytes now. */
  get rss(): number {
    return this.status('VmRSS');
  }

  /** Highest resident size since `resetPeak`, or since the process began. */
  get peakRss(): number {
    return this.status('VmHWM');
  }

  resetPeak(): void {
    writeFileSync(`/proc/${this.pid}/clear_refs`, '5');
  }

  /** User and system time used so far. */
  get cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; utime and stime are the 14th and 15th fields of the whole line.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / ProcessMeter.ticksPerSecond;
  }

  private status(name: string): number {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'));
    if (!match) throw new Error(`/proc/${this.pid}/status has no ${name}`);
    return Number(match[1]) * 1024;
  }
}
