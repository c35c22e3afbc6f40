import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Bytes after gzip of what a bundle's user loads: at once, and with the modules of the SDK that its first call asks for. */
const bundle = async (code: string): Promise<{ entry: number; with(...modules: string[]): number; text(...modules: string[]): string }> => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: root, sourcefile: 'consumer.ts', loader: 'ts' },
    alias: { '@snapback/sdk': `${root}sdk/src/index.ts` }, absWorkingDir: root, outdir: root, tsconfigRaw: {},
    bundle: true, minify: true, splitting: true, format: 'esm', write: false, metafile: true,
  });
  const chunkOf = (source: string): string => Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint?.endsWith(source))?.[0] ?? `no chunk of ${source}`;
  /** A chunk with all that it imports before it runs. */
  const closure = (name: string, found = new Set<string>()): Set<string> => {
    if (found.has(name)) return found;
    found.add(name);
    for (const { kind, path } of metafile.outputs[name]?.imports ?? []) if (kind === 'import-statement') closure(path, found);
    return found;
  };
  const files = (modules: string[]): Uint8Array[] => {
    const names = new Set(['consumer.ts', ...modules.map((module) => `sdk/src/${module}.ts`)].flatMap((source) => [...closure(chunkOf(source))]));
    return [...names].map((name) => outputFiles.find(({ path }) => path === `${root}${name}`)?.contents ?? new Uint8Array());
  };
  const weigh = (...modules: string[]): number => files(modules).reduce((sum, contents) => sum + gzipSync(contents).length, 0);
  return { entry: weigh(), with: weigh, text: (...modules) => files(modules).map((contents) => Buffer.from(contents).toString()).join('\n') };
};

const client = "import { createClient } from '@snapback/sdk'; const client = createClient({ url: location.origin, token: prompt() });";

describe('a bundle', () => {
  it('with one list has at most 4 kB in its entry and all that it imports, and at most 11 kB with what its first call loads', async () => {
    const { entry, with: loaded, text } = await bundle(`${client} for await (const { name } of client.backups.list({ states: ['AVAILABLE'] })) console.log(name);`);
    expect(entry).toBeGreaterThan(1_000);
    expect(entry).toBeLessThanOrEqual(4_096);
    expect(loaded('connection', 'backups')).toBeLessThanOrEqual(11 * 1024);
    // Neither documents nor the socket, before they are asked for.
    expect(text()).not.toContain('query ');
    expect(text()).not.toContain('graphql-transport-ws');
    expect(text('connection', 'backups')).not.toContain('graphql-transport-ws');
    expect(text('connection', 'backups')).not.toContain('mutation RegisterInstance');
  });

  it('with watch has at most 9 kB in its entry, and at most 15 kB with all that watching loads', async () => {
    const { entry, with: loaded, text } = await bundle(`${client} for await (const { job } of client.backups.watch('bak_1')) console.log(job.state);`);
    expect(entry).toBeLessThanOrEqual(9 * 1024);
    expect(loaded('connection', 'backups', 'jobs', 'socket')).toBeLessThanOrEqual(15 * 1024);
    expect(text('connection', 'backups', 'jobs', 'socket')).toContain('graphql-transport-ws');
  });

  it('with one document and nothing else of the SDK is that document', async () => {
    const { entry } = await bundle("import { ListProjectsDocument } from './sdk/src/generated/operations.ts'; console.log(String(ListProjectsDocument));");
    expect(entry).toBeLessThanOrEqual(600);
  });
});
