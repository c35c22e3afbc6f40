import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeCorpus } from '../../fuzz/rdb/corpus.js';
import { fuzzRdb } from '../../fuzz/rdb/watch.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { transpile } from '../../kit/transpile.js';

/** `npm run fuzz:values -- --minutes N` does the same for longer, with the values of every server at hand. */
/** Enough that both outcomes come whatever the seed: the rarer is more than one input in four. */
const INPUTS = 1_500;

let corpus: string;
let scripts: string;
beforeAll(async () => {
  corpus = makeTempDir('corpus');
  await makeCorpus(corpus, [undefined]);
  scripts = transpile('server/domain', 'server/engine', 'test/fuzz', 'test/kit/rdb-builder.ts', 'test/kit/value-builder.ts', 'test/kit/random-values.ts', 'test/kit/memory-store.ts');
});
afterAll(async () => {
  await removeTempDir(corpus);
  await removeTempDir(scripts);
});

it('values are decoded or refused whatever they are, in bounded time, memory and commands', async ({ annotate }) => {
  // Another one each time: a fault names the input that shows it.
  const seed = Math.floor(Math.random() * 2 ** 31);
  const report = await fuzzRdb({ corpus, seed, amount: { inputs: INPUTS }, program: join(scripts, 'test/fuzz/values/child-main.js'), faultFile: join(scripts, 'fault.rdb') });
  await annotate(JSON.stringify({ seed, ...report }));
  expect(report.fault, `seed ${String(seed)}`).toBeNull();
  expect(report.inputs).toBe(INPUTS);
  expect(Object.keys(report.outcomes).sort()).toEqual(['CORRUPT', 'MADE']);
});
