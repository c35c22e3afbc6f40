import { readdir, readlink } from 'node:fs/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCommand } from '../../../server/embedded/run-command.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { waitFor } from '../../kit/wait.js';

let folder: string;
beforeEach(() => { folder = makeTempDir('command'); });
afterEach(() => removeTempDir(folder));

const processesThere = async (): Promise<string[]> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const places = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/cwd`).catch(() => '')));
  return pids.filter((_, at) => places[at] === folder);
};
const failureOf = (running: Promise<unknown>): Promise<unknown> => running.then(() => undefined, (error: unknown) => error);

it('gives what the program printed, in the folder and with what is added to its environment', async () => {
  expect(await runCommand('sh', ['-c', 'echo "$NAME in $(pwd)"; echo more; echo beside >&2'], { cwd: folder, env: { NAME: 'a b' } })).toEqual({ stdout: `a b in ${folder}\nmore\n`, stderr: 'beside\n' });
  expect(await runCommand('sh', ['-c', 'cat'])).toEqual({ stdout: '', stderr: '' });
});

it('says how a program failed, with its last lines', async () => {
  const lines = await failureOf(runCommand('sh', ['-c', 'seq 1 8 >&2; exit 3']));
  expect(lines).toMatchObject({ code: 'INTERNAL' });
  expect((lines as Error).message).toMatch(/failed \(3\): 4 \| 5 \| 6 \| 7 \| 8$/);
  expect(await failureOf(runCommand('sh', ['-c', 'kill -KILL $$']))).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('failed (SIGKILL)') as string });
  expect(await failureOf(runCommand('no-such-program-anywhere', []))).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('failed (ENOENT)') as string });
  expect(await failureOf(runCommand('sh', ['-c', 'true'], { signal: AbortSignal.abort() }))).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('was not begun') as string });
});

it.each([
  ['that end when asked', 'sleep 600 & sh -c "sleep 600; true" & wait'],
  ['that ignore it', 'trap "" TERM; sleep 600 & sh -c "sleep 600; true" & wait'],
])('when interrupted, ends it and all that it started, and says so when they are gone: programs %s', async (_, script) => {
  const stop = new AbortController();
  const running = failureOf(runCommand('sh', ['-c', script], { cwd: folder, signal: stop.signal }));
  await waitFor(async () => (await processesThere()).length >= 4);
  stop.abort();
  expect(await running).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('was interrupted') as string });
  expect(await processesThere()).toEqual([]);
});

it('stops what takes too long, and what prints without end', async () => {
  expect(await failureOf(runCommand('sleep', ['600'], { cwd: folder, timeoutMs: 50 }))).toMatchObject({ message: expect.stringContaining('was stopped after 50 ms') as string });
  expect(await failureOf(runCommand('yes', [], { cwd: folder }))).toMatchObject({ message: expect.stringContaining('printed too much') as string });
  expect(await processesThere()).toEqual([]);
});
