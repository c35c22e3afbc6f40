import { parseArgs } from 'node:util';
import { seeded } from '../../unit/archive/archive-kit.js';
import { runMutations } from './detect.js';
import { makeScene } from './scene.js';

const USAGE = `Usage: npm run mutate:archive -- [--count N] [--seed N]

Damages an encrypted archive in N ways (10,000 by default) and shows that every one is found before a wrong byte is released. The last line is the
result, as JSON; ends with 1 when one was missed. The same seed gives the same mutations.
`;

const number = (text: string, what: string): number => {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value > 0)) throw new TypeError(`${what} takes a number above 0, not "${text}"`);
  return value;
};

const readArguments = (): { count: number; seed: number } => {
  const { values } = parseArgs({ options: { count: { type: 'string', default: '10000' }, seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 2 ** 31)) } } });
  return { count: number(values.count, '--count'), seed: number(values.seed, '--seed') };
};

const main = async (): Promise<number> => {
  let wish: ReturnType<typeof readArguments>;
  try {
    wish = readArguments();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  const { count, seed } = wish;
  process.stderr.write(`${count} mutations with seed ${seed}\n`);
  const begunAt = performance.now();
  const { missed, ...report } = await runMutations(await makeScene(), count, seeded(seed), (done) => {
    if (done % 1000 === 0) process.stderr.write(`${done} done\n`);
  });
  for (const line of missed) process.stderr.write(`MISSED ${line}\n`);
  process.stdout.write(`${JSON.stringify({ fuzz: 'archive', seed, seconds: Math.round((performance.now() - begunAt) / 1000), ...report, missed: missed.length })}\n`);
  return missed.length === 0 ? 0 : 1;
};

process.exitCode = await main();
