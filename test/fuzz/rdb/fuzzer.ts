import { closeSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './check.js';
import { nextFile } from './mutations.js';
import { type FuzzOrder, type FuzzReport } from './order.js';
import { randomOf } from './random.js';
import { seedFile } from './seed-file.js';

/** A file takes milliseconds; whatever takes so long will one day take for ever. */
const SLOWEST_MS = 2_000;
/** What the reader may hold, whatever files declare. */
const MOST_GROWTH_MIB = 96;

const mib = (bytes: number): number => Math.round(bytes / 1024 ** 2);

export const fuzz = async ({ corpus, seed, milliseconds, from, progressFile, faultFile }: FuzzOrder): Promise<FuzzReport> => {
  const seeds = readdirSync(corpus).sort().map((name) => seedFile(name, readFileSync(join(corpus, name))));
  const report: FuzzReport = { inputs: 0, outcomes: {}, slowestMs: 0, rssMiB: 0, peakRssMiB: 0, fault: null };
  const progress = openSync(progressFile, 'w');
  const until = performance.now() + milliseconds;
  try {
    for (const { name, bytes } of seeds) {
      const { problem } = await check(bytes, randomOf(seed, 0));
      if (problem !== undefined) return { ...report, fault: { input: -1, from: name, problem } };
    }
    report.rssMiB = mib(process.memoryUsage.rss());
    for (let input = from; performance.now() < until; input += 1) {
      writeSync(progress, String(input).padStart(15), 0);
      const random = randomOf(seed, input);
      const { from: name, bytes } = nextFile(seeds, random);
      const begun = performance.now();
      let problem: string | undefined;
      try {
        const checked = await check(bytes, random);
        problem = checked.problem;
        const kind = 'summary' in checked.walk ? checked.walk.summary.integrity : checked.walk.code;
        report.outcomes[kind] = (report.outcomes[kind] ?? 0) + 1;
      } catch (error) {
        problem = `broke: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
      }
      const took = performance.now() - begun;
      report.inputs += 1;
      report.slowestMs = Math.max(report.slowestMs, Math.round(took));
      if (took > SLOWEST_MS) problem ??= `took ${Math.round(took)} ms`;
      if (input % 64 === 0) {
        report.peakRssMiB = Math.max(report.peakRssMiB, mib(process.memoryUsage.rss()));
        if (report.peakRssMiB > report.rssMiB + MOST_GROWTH_MIB) problem ??= `memory has grown from ${report.rssMiB} to ${report.peakRssMiB} MiB`;
      }
      if (problem !== undefined) {
        writeFileSync(faultFile, bytes);
        return { ...report, fault: { input, from: name, problem } };
      }
    }
    return report;
  } finally {
    closeSync(progress);
  }
};
