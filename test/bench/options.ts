import { parseArgs } from 'node:util';
import { type FillUnit } from '../kit/fill.js';
import { EVERYDAY_DATA } from './everyday-data.js';
import { LARGE_HASHES, SMALL_KEYS } from './plain-data.js';

export interface BenchOptions {
  /** A megabyte, on a server with its default settings. */
  small: boolean;
  /** RDB bytes of the data, in MiB. */
  mib: number;
  /** `everyday`: what an application keeps; `small-keys`, `large-hashes`; `blobs`: most of it incompressible, 770 bytes a key. */
  data: keyof typeof DATA;
  /** What makes it. */
  unit: FillUnit | undefined;
  /** Where archives go: a folder, or an S3 server in a process of its own on this machine. */
  store: 'folder' | 's3';
  /** So many servers at once; 1: the comparison of one backup with one redis-cli. */
  parallel: number;
  /** Comparisons with redis-cli, of which the first is dropped. */
  pairs: number;
  /** What targets of restores have for `repl-diskless-load`, which is left so; undefined: their default, and the restore sets it for its time. */
  disklessLoad: string | undefined;
  /** Folder for a CPU profile of the service; undefined: none is taken. */
  profileDirectory: string | undefined;
}

const DATA = { everyday: EVERYDAY_DATA, 'small-keys': SMALL_KEYS, 'large-hashes': LARGE_HASHES, blobs: undefined } satisfies Readonly<Record<string, FillUnit | undefined>>;
const isData = (name: string): name is keyof typeof DATA => Object.hasOwn(DATA, name);

const UNITS: Readonly<Record<string, number>> = { m: 1, g: 1024 };
/** A million small keys are 27 MiB. */
const SMALLEST_MIB = 25;

/** `--json` is accepted and changes nothing: the last line of standard output is always the result. */
export const readOptions = (args: readonly string[] = process.argv.slice(2)): BenchOptions => {
  const { values } = parseArgs({
    args: [...args],
    options: { json: { type: 'boolean' }, small: { type: 'boolean', default: false }, size: { type: 'string', default: '100m' }, data: { type: 'string', default: 'everyday' }, store: { type: 'string', default: 'folder' }, parallel: { type: 'string', default: '1' }, pairs: { type: 'string', default: '5' }, 'diskless-load': { type: 'string' }, 'cpu-prof': { type: 'string' } },
  });
  const match = /^(\d+)([mg])$/i.exec(values.size);
  const mib = Number(match?.[1]) * (UNITS[match?.[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  if (!(mib >= SMALLEST_MIB)) throw new Error(`--size takes ${SMALLEST_MIB}m or more, such as 500m or 1g, not "${values.size}"`);
  if (!isData(values.data)) throw new Error(`--data takes ${Object.keys(DATA).join(', ')}, not "${values.data}"`);
  if (values.store !== 'folder' && values.store !== 's3') throw new Error(`--store takes folder or s3, not "${values.store}"`);
  const parallel = Number(values.parallel);
  if (!(Number.isInteger(parallel) && parallel >= 1 && parallel <= 16)) throw new Error(`--parallel takes 1 to 16, not "${values.parallel}"`);
  const pairs = Number(values.pairs);
  if (!(Number.isInteger(pairs) && pairs >= 2)) throw new Error(`--pairs takes 2 or more, not "${values.pairs}"`);
  return { small: values.small, mib, parallel, pairs, store: values.store, data: values.data, unit: DATA[values.data], disklessLoad: values['diskless-load'], profileDirectory: values['cpu-prof'] };
};
