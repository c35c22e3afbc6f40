import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RdbReader } from '../../../server/engine/rdb/reader.js';
import { type RdbMagic } from '../../../server/engine/rdb/summary.js';
import { isDecodable } from '../../../server/engine/rdb/values/decode.js';
import { ValueReader } from '../../../server/engine/rdb/values/value-reader.js';
import { type Subject } from '../rdb/fuzzer.js';
import { checkValue, type ValueInput } from './check.js';
import { nextValue } from './mutations.js';

export type SeedValue = ValueInput & { name: string };

/** Every value of a sound file that can be decoded. */
const valuesOf = (name: string, file: Buffer): SeedValue[] => {
  const magic: RdbMagic = file.toString('latin1', 0, 5) === 'REDIS' ? 'REDIS' : 'VALKEY';
  const found: SeedValue[] = [];
  const reader = new RdbReader({
    onKey: ({ rdbType, offset, bytes }) => {
      if (!isDecodable(rdbType, magic)) return;
      const key = new ValueReader(file.subarray(offset + 1, offset + bytes));
      key.skipString();
      found.push({ name: `${name} at ${String(offset)}`, rdbType, magic, bytes: file.subarray(offset + 1 + key.pos, offset + bytes) });
    },
  });
  reader.push(file);
  reader.finish();
  return found;
};

/** The decoder of values and the commands made of them. @param corpus folder of sound RDB files of real servers */
export const valueSubject = (corpus: string): Subject<ValueInput> => {
  const seeds = readdirSync(corpus).filter((name) => name.startsWith('server ')).sort().flatMap((name) => valuesOf(name, readFileSync(join(corpus, name))));
  return {
    sound: seeds.map((seed) => ({ name: seed.name, input: { ...seed, sound: true } })),
    next: (random) => nextValue(seeds, random),
    check: checkValue,
    bytesOf: ({ rdbType, magic, bytes }) => Buffer.concat([Buffer.from([magic === 'REDIS' ? 82 : 86, rdbType]), bytes]),
  };
};
