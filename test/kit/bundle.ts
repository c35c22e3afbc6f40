import { gzipSync } from 'node:zlib';
import { build, type BuildOptions } from 'esbuild';

/** What a page loads of a bundle. Modules are named by the end of their path, and bring all that they import before they run. */
export interface Bundle {
  /** Every file of the bundle: its path below the output folder, and its content. */
  files: ReadonlyMap<string, Uint8Array>;
  /** Name of the file that is loaded first. */
  entry: string;
  /** Bytes after gzip: of the entry, and with modules that are loaded later. */
  weigh(...modules: string[]): number;
  /** The same as text. */
  text(...modules: string[]): string;
}

/** Bundles as a user of the SDK would (`esbuild --bundle --minify --splitting --format=esm`). */
export const bundle = async (folder: string, code: string, options: BuildOptions = {}): Promise<Bundle> => {
  const { outputFiles = [], metafile } = await build({
    stdin: { contents: code, resolveDir: folder, sourcefile: 'consumer.ts', loader: 'ts' },
    absWorkingDir: folder, outdir: `${folder}/out`, tsconfigRaw: {}, platform: 'browser',
    bundle: true, minify: true, splitting: true, format: 'esm', write: false, metafile: true, ...options,
  });
  const outputs = metafile?.outputs ?? {};
  const chunkOf = (source: string): string => {
    const found = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint?.endsWith(source))?.[0];
    if (found === undefined) throw new Error(`No chunk begins with ${source}.`);
    return found;
  };
  const closure = (name: string, found = new Set<string>()): Set<string> => {
    if (found.has(name)) return found;
    found.add(name);
    for (const { kind, path } of outputs[name]?.imports ?? []) if (kind === 'import-statement') closure(path, found);
    return found;
  };
  const files = new Map(outputFiles.map(({ path, contents }) => [path.slice(`${folder}/out/`.length), contents]));
  const loaded = (modules: string[]): Uint8Array[] => {
    const names = new Set(['consumer.ts', ...modules].flatMap((source) => [...closure(chunkOf(source))]));
    return [...names].map((name) => files.get(name.slice('out/'.length)) ?? new Uint8Array());
  };
  return {
    files,
    entry: chunkOf('consumer.ts').slice('out/'.length),
    weigh: (...modules) => loaded(modules).reduce((sum, contents) => sum + gzipSync(contents).length, 0),
    text: (...modules) => loaded(modules).map((contents) => Buffer.from(contents).toString()).join('\n'),
  };
};
