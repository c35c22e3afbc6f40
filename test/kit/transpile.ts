import { readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { makeTempDir } from './processes.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));

const modulesIn = (path: string): string[] => {
  const full = join(repository, path);
  if (statSync(full).isDirectory()) return readdirSync(full).flatMap((name) => modulesIn(join(path, name)));
  return path.endsWith('.ts') ? [full] : [];
};

/**
 * Turns sources (files or folders, relative to the repository) into JavaScript in a temporary folder of the same layout and returns it:
 * for tests that need our code in a process of its own, to kill it. Types are not checked, and what decorators tell of them is lost.
 */
export const transpile = (...sources: string[]): string => {
  const out = makeTempDir('js');
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  symlinkSync(join(repository, 'node_modules'), join(out, 'node_modules'));
  buildSync({ entryPoints: sources.flatMap(modulesIn), outbase: repository, outdir: out, format: 'esm', target: 'node20', tsconfig: join(repository, 'tsconfig.json'), logLevel: 'warning' });
  return out;
};
