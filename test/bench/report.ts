import { loadavg } from 'node:os';

/** One line of progress, with the machine's load, since ratios taken on a busy machine scatter. */
export const tell = (text: string): void => {
  process.stderr.write(`[load ${(loadavg()[0] ?? 0).toFixed(2)}] ${text}\n`);
};

/** The result: the last line of standard output. */
export const printResult = (result: Readonly<Record<string, unknown>>): void => {
  process.stdout.write(`${JSON.stringify(result)}\n`);
};

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new Error('A median of nothing');
  return (upper + lower) / 2;
};

export const round = (value: number, digits: number): number => Number(value.toFixed(digits));

export const toMiB = (bytes: number): number => bytes / 1_048_576;

/** Runs a benchmark; a wrong result is a failure like any other, and nothing that was started stays behind. */
export const runBench = async (bench: (defer: (undo: () => Promise<void>) => void) => Promise<Record<string, unknown>>): Promise<void> => {
  const undos: (() => Promise<void>)[] = [];
  try {
    printResult(await bench((undo) => undos.push(undo)));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  } finally {
    for (const undo of undos.reverse()) await undo();
  }
};
