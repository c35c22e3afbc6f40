import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const repository = fileURLToPath(new URL('../../../', import.meta.url));
const sdkEntry = join(repository, 'sdk/src/index.ts');
const FENCE = /^```ts run=([\w-]+)\n([\s\S]*?)^```$/gm;

export interface Snippet {
  /** What follows `run=` on the fence. */
  name: string;
  code: string;
}

/** Those of sdk/README.md that are run apart, by test/sdk/recipes.test.ts: they take servers, time or packages of their own. */
export const RECIPES = ['nightly', 'clone', 'terminal', 'react-hook'];

/** The snippets of a Markdown file that are to be run, in their order. */
export const readSnippets = (path = 'sdk/README.md'): Snippet[] =>
  [...readFileSync(join(repository, path), 'utf8').matchAll(FENCE)].map(([, name = '', code = '']) => ({ name, code }));

/** Writes a snippet as a module that imports the SDK's source instead of the package. @returns its path; the caller removes it */
export const writeSnippet = ({ name, code }: Snippet, folder = join(repository, '.cache/readme-snippets')): string => {
  const path = join(folder, `${name}-${randomUUID()}.ts`);
  mkdirSync(folder, { recursive: true });
  const entry = relative(dirname(path), sdkEntry).replace(/\.ts$/, '.js');
  writeFileSync(path, code.replaceAll("'@snapback/sdk'", `'${entry}'`));
  return path;
};

/**
 * Runs a snippet to its end, in this process, and gives what it exports. It reads SNAPBACK_URL, SNAPBACK_KEY, REDIS_HOST, REDIS_PORT and BACKUP_FILE from the
 * environment (`vi.stubEnv`), prints to the console and may set `process.exitCode`, as it would for a reader who copies it.
 */
export const runSnippet = async (snippet: Snippet): Promise<Record<string, unknown>> => {
  const path = writeSnippet(snippet);
  try {
    return (await import(/* @vite-ignore */ pathToFileURL(path).href)) as Record<string, unknown>;
  } finally {
    rmSync(path, { force: true });
  }
};
