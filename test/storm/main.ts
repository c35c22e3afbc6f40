/*
 * `npm run storm -- --kills 200 --seed N`: kills workers in the middle of their work and looks whether anything was lost, doubled or broken.
 * Prints one line of JSON; exit code 1 when something was. The seed is printed at the start: another one each time unless it is given.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { runStorm } from './storm.js';

const { values } = parseArgs({ options: { kills: { type: 'string', default: '200' }, seed: { type: 'string' } } });
const whole = (name: string, text: string): number => {
  if (/^\d{1,9}$/.test(text) && Number(text) > 0) return Number(text);
  process.stderr.write(`storm: --${name} must be a whole number above 0\n`);
  process.exit(2);
};
const kills = whole('kills', values.kills);
const seed = values.seed === undefined ? randomInt(1, 1_000_000) : whole('seed', values.seed);
const log = (line: string): void => void process.stderr.write(`storm: ${line}\n`);

log(`seed ${seed}, ${kills} kills`);
const report = await runStorm({ kills, seed, log });
for (const breach of report.breaches) log(`BREACH: ${breach}`);
process.stdout.write(`${JSON.stringify({ bench: 'storm', ...report, breaches: report.breaches.length })}\n`);
process.exit(report.breaches.length === 0 ? 0 : 1);
