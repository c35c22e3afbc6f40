import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { type FuzzOrder, type FuzzReport } from './order.js';
import { randomOf, type Random } from './random.js';

/** Of processor time, which a busy machine does not add to. An input takes milliseconds; whatever takes so long will one day take for ever. */
const SLOWEST_MS = 2_000;
/** What may be held, whatever inputs declare. */
const MOST_GROWTH_MIB = 96;

const processorMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

const mib = (bytes: number): number => Math.round(bytes / 1024 ** 2);

/** What is fuzzed. */
export interface Subject<Input> {
  /** Sound inputs, which must be found so. */
  sound: readonly { name: string; input: Input }[];
  /** The next input, a pure function of what `random` gives. */
  next(random: Random): { from: string; input: Input };
  /** `kind` is counted; a problem is a fault. Throws what the subject breaks with. */
  check(input: Input, random: Random): Promise<{ kind: string; problem: string | undefined }> | { kind: string; problem: string | undefined };
  /** For the file that shows a fault. */
  bytesOf(input: Input): Uint8Array;
}

export const fuzz = async <Input>({ seed, amount, from, progressFile, faultFile }: FuzzOrder, subject: Subject<Input>): Promise<FuzzReport> => {
  const report: FuzzReport = { inputs: 0, outcomes: {}, slowestMs: 0, rssMiB: 0, peakRssMiB: 0, fault: null };
  const progress = openSync(progressFile, 'w');
  try {
    for (const { name, input } of subject.sound) {
      const { problem } = await subject.check(input, randomOf(seed, 0));
      if (problem !== undefined) return { ...report, fault: { input: -1, from: name, problem } };
    }
    report.rssMiB = mib(process.memoryUsage.rss());
    const began = performance.now();
    const isOver = 'inputs' in amount ? () => report.inputs >= amount.inputs : () => performance.now() - began >= amount.milliseconds;
    for (let number = from; !isOver(); number += 1) {
      writeSync(progress, String(number).padStart(15), 0);
      const random = randomOf(seed, number);
      const { from: name, input } = subject.next(random);
      const before = processorMs();
      let problem: string | undefined;
      try {
        const checked = await subject.check(input, random);
        problem = checked.problem;
        report.outcomes[checked.kind] = (report.outcomes[checked.kind] ?? 0) + 1;
      } catch (error) {
        problem = `broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
      }
      const took = processorMs() - before;
      report.inputs += 1;
      report.slowestMs = Math.max(report.slowestMs, Math.round(took));
      if (took > SLOWEST_MS) problem ??= `took ${Math.round(took)} ms of processor time`;
      if (number % 64 === 0) {
        report.peakRssMiB = Math.max(report.peakRssMiB, mib(process.memoryUsage.rss()));
        if (report.peakRssMiB > report.rssMiB + MOST_GROWTH_MIB) problem ??= `memory has grown from ${report.rssMiB} to ${report.peakRssMiB} MiB`;
      }
      if (problem !== undefined) {
        writeFileSync(faultFile, subject.bytesOf(input));
        return { ...report, fault: { input: number, from: name, problem } };
      }
    }
    return report;
  } finally {
    closeSync(progress);
  }
};
