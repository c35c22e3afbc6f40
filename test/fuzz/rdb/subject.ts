import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './check.js';
import { type Subject } from './fuzzer.js';
import { nextFile } from './mutations.js';
import { seedFile } from './seed-file.js';

/** The reader of RDB files. @param corpus folder of sound ones */
export const rdbSubject = (corpus: string): Subject<Buffer> => {
  const seeds = readdirSync(corpus).sort().map((name) => seedFile(name, readFileSync(join(corpus, name))));
  return {
    sound: seeds.map(({ name, bytes }) => ({ name, input: bytes })),
    next: (random) => {
      const { from, bytes } = nextFile(seeds, random);
      return { from, input: bytes };
    },
    check: async (file, random) => {
      const { walk, problem } = await check(file, random);
      return { kind: 'summary' in walk ? walk.summary.integrity : walk.code, problem };
    },
    bytesOf: (file) => file,
  };
};
