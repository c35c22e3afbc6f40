import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { buildSchema } from 'graphql';
import { publint } from 'publint';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../kit/bundle.js';
import { makeTempDir, removeTempDir } from '../kit/processes.js';
import { startRedis, type RedisServer } from '../kit/redis.js';
import { startService, type TestService } from '../kit/service.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const fixtures = join(root, 'test/e2e/consumers');

let folder: string;
let tarball: string;
let service: TestService;
let redis: RedisServer;

/** A project of its own that has installed the packed package as any user would, and `ws` where it says so. */
const install = async (name: string, { ws = false } = {}): Promise<string> => {
  const place = join(folder, name);
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), JSON.stringify({ name, private: true, version: '1.0.0', type: 'module' }));
  await run('npm', ['install', '--offline', '--no-audit', '--no-fund', '--install-links', '--legacy-peer-deps', tarball, ...(ws ? [join(root, 'node_modules/ws')] : [])], { cwd: place });
  expect(readdirSync(join(place, 'node_modules')).filter((entry) => !entry.startsWith('.')).sort()).toEqual(ws ? ['@snapback', 'ws'] : ['@snapback']);
  return place;
};

const bring = (place: string, ...files: string[]): void => {
  for (const file of files) cpSync(join(fixtures, file), join(place, file.replace(/^[^/]*\//, '')));
};

const result = async (place: string, ...command: string[]): Promise<Record<string, unknown>> => {
  const { stdout } = await run(process.execPath, command, {
    cwd: place, env: { PATH: process.env['PATH'], SNAPBACK_URL: service.url, SNAPBACK_KEY: service.key, REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) },
  });
  return JSON.parse(stdout) as Record<string, unknown>;
};

const ARRIVED = { version: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string, state: 'AVAILABLE', ended: 'COMPLETED', watched: 'COMPLETED', whole: true, refused: 'user_input', wrong: 'UNAUTHENTICATED' };
const OVER_SOCKET = { ...ARRIVED, socket: true, fallbacks: [] };

beforeAll(async () => {
  folder = makeTempDir('consumers');
  const packed = run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: join(root, 'sdk') });
  [service, redis] = await Promise.all([startService(), startRedis()]);
  await redis.cli('MSET', 'a', '1', 'b', '2');
  const [{ filename }] = JSON.parse((await packed).stdout) as [{ filename: string }];
  tarball = join(folder, filename);
});
afterAll(async () => {
  await Promise.all([service?.stop(), redis?.stop()]);
  await removeTempDir(folder);
});

describe('the packed package', () => {
  it('holds what it should, and nothing else', async () => {
    const { stdout } = await run('tar', ['-tzf', tarball]);
    const files = stdout.trim().split('\n').map((file) => file.replace(/^package\//, ''));
    expect(files.filter((file) => !/^dist\/(?:generated\/)?[\w.-]+\.(?:js|d\.ts)$/.test(file)).sort()).toEqual(['LICENSE', 'README.md', 'package.json', 'schema.graphql']);
  });

  it('is clean to publint and, as a package of ES modules alone, to arethetypeswrong', async () => {
    const place = await install('lint');
    expect((await publint({ pkgDir: join(place, 'node_modules/@snapback/sdk'), level: 'suggestion', pack: false, strict: true })).messages).toEqual([]);
    const checked = await checkPackage(createPackageFromTarballData(new Uint8Array(readFileSync(tarball))), { excludeEntrypoints: ['./schema.graphql', './package.json'] });
    if (!checked.types) throw new Error('The package has no types.');
    expect(Object.keys(checked.entrypoints).sort()).toEqual(['.', './errors', './operations']);
    // That `require` finds an ES module is no fault from Node 20.19 on, which is what `engines` says; another test does it.
    expect(checked.problems.filter(({ kind }) => kind !== 'CJSResolvesToESM')).toEqual([]);
  });

  it('brings the contract', async () => {
    const place = await install('contract');
    const schema = buildSchema(readFileSync(join(place, 'node_modules/@snapback/sdk/schema.graphql'), 'utf8'));
    expect(schema.getQueryType()?.getFields()['backups']).toBeDefined();
  });
});

describe('a program', () => {
  it('in Node imports it', async () => {
    const place = await install('node-esm', { ws: true });
    bring(place, 'node-esm/main.mjs', 'journey.mjs');
    expect(await result(place, 'main.mjs')).toEqual(OVER_SOCKET);
  });

  it('in Node requires it, and without a WebSocket follows jobs over event streams', async () => {
    const place = await install('node-require');
    bring(place, 'node-require/main.cjs', 'journey.mjs');
    const hasSocket = 'WebSocket' in globalThis;
    expect(await result(place, 'main.cjs')).toEqual(hasSocket ? OVER_SOCKET : { ...ARRIVED, socket: false, fallbacks: ['fallback sse', 'fallback sse'] });
  });

  it.each([['browser', true], ['worker', false]] as const)('in a %s runs from a bundle, with nothing of Node', async (kind, splitting) => {
    const place = await install(kind, { ws: true });
    bring(place, `${kind}/main.js`, 'journey.mjs', 'host.mjs');
    const { files, entry } = await bundle(place, readFileSync(join(place, 'main.js'), 'utf8'), splitting ? {} : { splitting: false, format: 'iife' });
    expect(files.size > 1).toBe(splitting);
    for (const [name, contents] of files) {
      const path = join(place, 'out', name);
      mkdirSync(dirname(path), { recursive: true });
      const text = Buffer.from(contents).toString();
      expect(/["']node:|(?:from|import\()\s*["']ws["']|\brequire\(/.exec(text)?.[0]).toBeUndefined();
      writeFileSync(path, text);
    }
    expect(await result(place, '--experimental-vm-modules', '--no-warnings', 'host.mjs', kind, join(place, 'out', entry))).toEqual(OVER_SOCKET);
  });

  it('with two copies of the package knows the errors of both', async () => {
    const [one, two] = [await install('copy-one'), await install('copy-two')];
    writeFileSync(join(one, 'main.mjs'), `
      import { isSnapbackError, SnapbackError } from '@snapback/sdk';
      const { createClient } = await import(${JSON.stringify(join(two, 'node_modules/@snapback/sdk/dist/index.js'))});
      const error = await createClient({ url: process.env.SNAPBACK_URL, token: 'sb_wrong' }).viewer().catch((reason) => reason);
      console.log(JSON.stringify({ known: isSnapbackError(error), instance: error instanceof SnapbackError, code: error.code }));
    `);
    expect(await result(one, 'main.mjs')).toEqual({ known: true, instance: false, code: 'UNAUTHENTICATED' });
  });

  it('loads the rest when it is used, and no more of it than it uses', async () => {
    const place = await install('sizes');
    const code = (use: string): string => `import { createClient } from '@snapback/sdk'; const client = createClient({ url: location.origin, token: prompt() }); ${use}`;
    const list = await bundle(place, code('for await (const { name } of client.backups.list()) console.log(name);'));
    expect(list.weigh()).toBeLessThanOrEqual(4_096);
    expect(list.weigh('dist/connection.js', 'dist/backups.js')).toBeLessThanOrEqual(11 * 1024);
    const watch = await bundle(place, code("for await (const { job } of client.backups.watch('bak_1')) console.log(job.state);"));
    expect(watch.weigh()).toBeLessThanOrEqual(9 * 1024);
  });
});

describe('types', () => {
  const common: ts.CompilerOptions = {
    strict: true, skipLibCheck: false, noEmit: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noPropertyAccessFromIndexSignature: true,
    isolatedModules: true, verbatimModuleSyntax: true, target: ts.ScriptTarget.ES2022,
  };

  it.each<[string, string[], ts.CompilerOptions]>([
    ['in Node', ['main.ts', 'common.cts'], { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, lib: ['lib.es2022.d.ts'], types: ['node'], typeRoots: [join(root, 'node_modules/@types')] }],
    ['where no `exports` are known', ['main.ts'], { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Node10, ignoreDeprecations: '6.0', lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'], types: [] }],
    ['for a bundler', ['main.ts'], { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts', 'lib.dom.asynciterable.d.ts'], types: [] }],
  ])('hold under the strictest rules, the package\'s own included: %s', async (name, files, options) => {
    const place = await install(`types-${name.replace(/\W/g, '-')}`);
    bring(place, ...files.map((file) => `types/${file}`));
    const program = ts.createProgram(files.map((file) => join(place, file)), { ...common, ...options });
    expect(ts.getPreEmitDiagnostics(program).map(({ file, messageText }) => `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`)).toEqual([]);
  });
});
