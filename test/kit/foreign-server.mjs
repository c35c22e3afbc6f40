// For the scripts that run tests on a server of another make: one that is named to them, or one that is built here with the Go toolchain.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

const run = promisify(execFile);

/** The script is the children's parent: they end with it, also by a signal. */
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

/** Go is never told to fetch another toolchain. */
const goEnv = (more = {}) => ({ ...process.env, GOTOOLCHAIN: 'local', CGO_ENABLED: '0', ...more });

/** @param oldest [major, minor] that the server's go.mod asks for */
export const usableGo = async ([major, minor]) => {
  const found = await run('go', ['env', 'GOVERSION'], { env: goEnv() }).catch(() => null);
  const numbers = /^go(\d+)\.(\d+)/.exec(found?.stdout.trim() ?? '');
  if (!numbers) return false;
  return Number(numbers[1]) > major || (Number(numbers[1]) === major && Number(numbers[2]) >= minor);
};

/**
 * Path of a program that is built once and kept.
 * @param make (go, folder) writes the program `name` into the folder; `go(args, env)` runs the toolchain there and resolves with its output
 */
export const built = async ({ name, version, say }, make) => {
  const cache = join(ROOT, '.cache', name, version);
  const program = join(cache, name);
  if (existsSync(program)) return program;
  say(`building ${name} ${version} (once; a few minutes) …`);
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'building-'));
  try {
    await make(async (args, env) => (await run('go', args, { env: goEnv(env), cwd: folder, maxBuffer: MAX_OUTPUT_BYTES })).stdout, folder);
    renameSync(join(folder, name), program);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return program;
};

export const freePort = () => new Promise((resolve, reject) => {
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

/** Runs something while a server runs that listens on a port of this machine. */
export const whileServing = async ({ program, args, env, port }, action) => {
  const server = child(program, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } });
  const over = ended(server);
  try {
    const deadline = Date.now() + 120_000;
    while (!(await accepts(port))) {
      if (server.exitCode !== null || Date.now() > deadline) throw new Error(`${program} did not start`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return await action();
  } finally {
    server.kill('SIGTERM');
    await over;
  }
};

/** Resolves with the runner's exit code. */
export const runTests = (files, env) => ended(child(process.execPath, [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...files], {
  cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env },
}));
