import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** RDB bytes of the data, in MiB. */
  mib: number;
  /** Folder for a CPU profile of the service; undefined: none is taken. */
  profileDirectory: string | undefined;
}

const UNITS: Readonly<Record<string, number>> = { m: 1, g: 1024 };
const SMALLEST_MIB = 100;

/** `--json` is accepted and changes nothing: the last line of standard output is always the result. */
export const readOptions = (args: readonly string[] = process.argv.slice(2)): BenchOptions => {
  const { values } = parseArgs({
    args: [...args],
    options: { json: { type: 'boolean' }, size: { type: 'string', default: '100m' }, 'cpu-prof': { type: 'string' } },
  });
  const match = /^(\d+)([mg])$/i.exec(values.size);
  const mib = Number(match?.[1]) * (UNITS[match?.[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  if (!(mib >= SMALLEST_MIB)) throw new Error(`--size takes ${SMALLEST_MIB}m or more, such as 500m or 1g, not "${values.size}"`);
  return { mib, profileDirectory: values['cpu-prof'] };
};
