// `npm run test:mongo`: what is said of the clock on MongoDB, on the server that MONGODB_URL names, or on a FerretDB (which speaks MongoDB's
// protocol) that is built here with the Go toolchain. Where there is neither, it says loudly that nothing was run, and ends with 0.
import { execFile, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const VERSION = 'v1.24.0';
const MODULE = `github.com/FerretDB/FerretDB@${VERSION}`;
/** What its go.mod asks for. */
const OLDEST_GO = [1, 22];
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CACHE = join(ROOT, '.cache', 'ferretdb', VERSION);
const TESTS = ['test/conformance/agenda/mongo.test.ts', 'test/e2e/mongo-lost.test.ts'];

const run = promisify(execFile);
const say = (text) => process.stderr.write(`test:mongo: ${text}\n`);

/** The program runs as the children's parent: they end with it, also by a signal. */
const children = new Set();
const child = (command, args, options) => {
  const started = spawn(command, args, options);
  children.add(started);
  started.once('exit', () => children.delete(started));
  return started;
};
const ended = (process_) => new Promise((resolve) => {
  process_.once('error', () => resolve(1));
  process_.once('exit', (code) => resolve(code ?? 1));
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    for (const one of children) one.kill('SIGTERM');
  });
}

/** Whether a toolchain is there that can build it; it is never told to fetch another one. */
const usableGo = async () => {
  const found = await run('go', ['env', 'GOVERSION'], { env: { ...process.env, GOTOOLCHAIN: 'local' } }).catch(() => null);
  const numbers = /^go(\d+)\.(\d+)/.exec(found?.stdout.trim() ?? '');
  if (!numbers) return false;
  return Number(numbers[1]) > OLDEST_GO[0] || Number(numbers[2]) >= OLDEST_GO[1];
};

/** Its version stands in a file that its own build makes and the published module lacks, so it is built from a copy that has one. */
const build = async () => {
  const program = join(CACHE, 'ferretdb');
  if (existsSync(program)) return program;
  say(`building FerretDB ${VERSION} (once; a few minutes) …`);
  const env = { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod', CGO_ENABLED: '0' };
  mkdirSync(CACHE, { recursive: true });
  const source = mkdtempSync(join(CACHE, 'source-'));
  try {
    const { stdout } = await run('go', ['mod', 'download', '-json', MODULE], { env, cwd: source });
    cpSync(JSON.parse(stdout).Dir, source, { recursive: true });
    await run('chmod', ['-R', 'u+w', source]);
    writeFileSync(join(source, 'build', 'version', 'version.txt'), `${VERSION}\n`);
    await run('go', ['build', '-o', join(source, 'ferretdb.new'), './cmd/ferretdb'], { env, cwd: source, maxBuffer: 16 * 1024 * 1024 });
    renameSync(join(source, 'ferretdb.new'), program);
  } finally {
    rmSync(source, { recursive: true, force: true });
  }
  return program;
};

const freePort = () => new Promise((resolve, reject) => {
  const server = createServer();
  server.once('error', reject);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

const accepts = (port) => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => { socket.destroy(); resolve(true); });
  socket.once('error', () => resolve(false));
});

const tests = (url) => ended(child(process.execPath, [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...TESTS], {
  cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, MONGODB_URL: url },
}));

const onFerret = async (program) => {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'snapback-ferretdb-'));
  const args = [
    '--handler=sqlite', `--sqlite-url=file:${folder}/`, `--state-dir=${folder}`, `--listen-addr=127.0.0.1:${port}`, '--debug-addr=-', '--telemetry=disable', '--log-level=ERROR',
  ];
  const server = child(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const over = ended(server);
  try {
    const deadline = Date.now() + 30_000;
    while (!(await accepts(port))) {
      if (server.exitCode !== null || Date.now() > deadline) throw new Error('FerretDB did not start');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return await tests(`mongodb://127.0.0.1:${port}/snapback`);
  } finally {
    server.kill('SIGTERM');
    await over;
    rmSync(folder, { recursive: true, force: true });
  }
};

if (process.env.MONGODB_URL) process.exitCode = await tests(process.env.MONGODB_URL);
else if (await usableGo()) process.exitCode = await onFerret(await build());
else {
  say('\n!!! NOT RUN: everything about the clock on MongoDB.');
  say(`!!! Set MONGODB_URL to a MongoDB server, or install Go ${OLDEST_GO.join('.')} or newer, with which FerretDB ${VERSION} is built.\n`);
}
