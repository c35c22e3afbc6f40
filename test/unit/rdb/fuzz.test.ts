import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { makeCorpus } from '../../fuzz/rdb/corpus.js';
import { fuzzRdb } from '../../fuzz/rdb/watch.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { transpile } from '../../kit/transpile.js';

/** `npm run fuzz:rdb -- --minutes N` does the same for longer, with the files of every server at hand. */
/** Enough that every outcome comes whatever the seed: the rarest is one input in twenty. */
const INPUTS = 600;

let corpus: string;
let scripts: string;
beforeAll(async () => {
  corpus = makeTempDir('corpus');
  await makeCorpus(corpus, [undefined]);
  scripts = transpile('server/domain', 'server/engine', 'test/fuzz/rdb', 'test/kit/memory-store.ts', 'test/kit/rdb-builder.ts');
});
afterAll(async () => {
  await removeTempDir(corpus);
  await removeTempDir(scripts);
});

it('the reader reads or refuses whatever it is given, the same at every chunk size, in bounded time and memory', async ({ annotate }) => {
  // Another one each time: a fault names the input that shows it.
  const seed = Math.floor(Math.random() * 2 ** 31);
  const report = await fuzzRdb({ corpus, seed, amount: { inputs: INPUTS }, program: join(scripts, 'test/fuzz/rdb/child-main.js'), faultFile: join(scripts, 'fault.rdb') });
  await annotate(JSON.stringify({ seed, ...report }));
  expect(report.fault, `seed ${String(seed)}`).toBeNull();
  expect(report.inputs).toBe(INPUTS);
  expect(Object.keys(report.outcomes).sort()).toEqual(expect.arrayContaining(['CHECKSUM_ONLY', 'CORRUPT', 'STRUCTURE_AND_CHECKSUM', 'STRUCTURE_ONLY', 'TRUNCATED', 'UNSUPPORTED_FORMAT']));
});
