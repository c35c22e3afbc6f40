import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { runChild } from './child.js';
import { makeCorpus } from './corpus.js';
import { type Subject } from './fuzzer.js';
import { fuzzRdb } from './watch.js';

/** A fuzzer as a command. */
export interface FuzzCommand<Input> {
  /** Of the npm script, behind `fuzz:`. */
  name: string;
  /** What it feeds to what, for how it is used. */
  about: string;
  subjectOf: (corpus: string) => Subject<Input>;
  /** The command as JavaScript: it starts itself as the process that is watched. */
  program: string;
}

const usage = ({ name, about }: Pick<FuzzCommand<unknown>, 'name' | 'about'>): string => `Usage: npm run fuzz:${name} -- [--minutes N] [--seed N] [--from N]

${about} The last line is the result, as JSON; ends with 1 when there was a fault, and says which input it was.
The same seed, number and corpus give the same input.
`;

const number = (text: string, what: string, least: number): number => {
  const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least)) throw new TypeError(`${what} takes a number from ${least}, not "${text}"`);
  return value;
};

const readArguments = (): { minutes: number; seed: number; from: number } => {
  const { values } = parseArgs({
    options: { minutes: { type: 'string', default: '1' }, seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) }, from: { type: 'string', default: '1' } },
  });
  return { minutes: number(values.minutes, '--minutes', 0.01), seed: number(values.seed, '--seed', 0), from: number(values.from, '--from', 1) };
};

const main = async <Input>(command: FuzzCommand<Input>): Promise<number> => {
  const { name, program } = command;
  let wish: ReturnType<typeof readArguments>;
  try {
    wish = readArguments();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage(command)}`);
    return 2;
  }
  const { minutes, seed, from } = wish;
  const corpus = makeTempDir('corpus');
  try {
    const servers = await makeCorpus(corpus);
    process.stderr.write(`seed ${seed}, files of ${servers.join(', ')} and of the builder\n`);
    const faults = fileURLToPath(new URL('../fuzz-faults', pathToFileURL(program)));
    mkdirSync(faults, { recursive: true });
    const faultFile = join(faults, `${name}-${seed}.rdb`);
    const { fault, ...report } = await fuzzRdb({ corpus, seed, from, amount: { milliseconds: minutes * 60_000 }, faultFile, program });
    if (fault) process.stderr.write(`Input ${fault.input} (from ${fault.from}) is in ${faultFile}: ${fault.problem}\nTo see it again: --seed ${seed} --from ${fault.input}\n`);
    process.stdout.write(`${JSON.stringify({ fuzz: name, minutes, seed, servers, ...report, faults: fault ? 1 : 0 })}\n`);
    return fault ? 1 : 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.stdout.write(`${JSON.stringify({ fuzz: name, minutes, seed, faults: 1 })}\n`);
    return 1;
  } finally {
    await removeTempDir(corpus);
  }
};

/** One program for both, so that it is built once: what begins like JSON is the order of the process that is watched. */
export const runCommand = async <Input>(command: FuzzCommand<Input>): Promise<void> => {
  const order = process.argv[2];
  if (order?.startsWith('{')) await runChild(order, command.subjectOf);
  else process.exitCode = await main(command);
};
