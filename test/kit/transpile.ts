import { mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { makeTempDir } from './processes.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Turns sources (files or folders, relative to the repository) into JavaScript in a temporary folder of the same layout and returns it:
 * for tests that need our code in a process of its own, to kill it. Types are not checked.
 */
export const transpile = (...sources: string[]): string => {
  const out = makeTempDir('js');
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  symlinkSync(join(repository, 'node_modules'), join(out, 'node_modules'));
  const compilerOptions: ts.CompilerOptions = { ...ts.readConfigFile(join(repository, 'tsconfig.json'), (path) => ts.sys.readFile(path)).config.compilerOptions, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, sourceMap: false };
  const visit = (path: string): void => {
    const full = join(repository, path);
    if (statSync(full).isDirectory()) {
      for (const name of readdirSync(full)) visit(join(path, name));
    } else if (path.endsWith('.ts')) {
      const target = join(out, path.replace(/\.ts$/, '.js'));
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, ts.transpileModule(readFileSync(full, 'utf8'), { compilerOptions, fileName: full }).outputText);
    }
  };
  for (const source of sources) visit(source);
  return out;
};
