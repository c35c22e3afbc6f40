import { expect, it } from 'vitest';
import { runStorm } from '../storm/storm.js';

/** The short form of `npm run storm -- --kills 200 --seed N`, which the long tests run with another seed each time. */
it('fifteen workers killed in the middle of their work: nothing is lost, nothing doubled, nothing left behind', { timeout: 900_000 }, async () => {
  const said: string[] = [];
  const report = await runStorm({ kills: 15, seed: 20, log: (line) => void said.push(line) });
  expect(report.breaches, said.join('\n')).toEqual([]);
  expect(Object.values(report.at).reduce((sum, count) => sum + count, 0)).toBe(15);
  // That there was something to break. On a quiet machine the kills follow each other fast.
  expect(Math.min(report.backups, report.restores, report.slots)).toBeGreaterThan(5);
});
