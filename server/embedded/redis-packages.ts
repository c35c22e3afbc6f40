import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { acquireFolderLock } from './folder-lock.js';
import { runCommand } from './run-command.js';

const WANTED = ['redis-server', 'redis-tools'];
const TOOLS = ['redis-server', 'redis-cli', 'redis-check-rdb', 'redis-benchmark'];
/** What redis-server 7.0 links to, for systems whose own package state is too broken for apt to resolve anything. */
const KNOWN_LIBRARIES = ['libatomic1', 'libjemalloc2', 'liblua5.1-0', 'lua-cjson', 'lua-bitop', 'liblzf1', 'libhiredis0.14'];

interface UnpackOptions {
  folder: string;
  /** Whether the folder already holds a server that runs; asked again once the lock is ours. */
  isGood: () => Promise<boolean>;
  log?: Log | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Unpacks redis-server and the libraries this system lacks from Debian's packages into `folder`, without installing anything and without
 * root. `folder` appears complete or not at all; of several callers at once one works and the others wait for it.
 */
export const unpackRedis = async ({ folder, isGood, log, signal }: UnpackOptions): Promise<void> => {
  await mkdir(dirname(folder), { recursive: true });
  const lock = await acquireFolderLock(`${folder}.lock`, { purpose: 'unpacking a Redis server', waitMs: 180_000, signal });
  const work = `${folder}.${randomBytes(4).toString('hex')}.partial`;
  try {
    if (await isGood()) return;
    log?.info('Unpacking a Redis server from the system’s packages', { folder });
    await removeLeftovers(folder);
    const debs = await downloadPackages(work, signal);
    const root = join(work, 'root');
    await mkdir(join(root, 'bin'), { recursive: true });
    for (const deb of debs) await runCommand('dpkg-deb', ['-x', deb, root], { signal });
    for (const tool of TOOLS) await writeWrapper(join(root, 'bin', tool), tool);
    await rm(folder, { recursive: true, force: true });
    await rename(root, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
    await lock.release();
  }
};

/** Finds its own place at run time, so that the folder may be renamed or copied. */
const writeWrapper = async (path: string, tool: string): Promise<void> => {
  await writeFile(path, [
    '#!/bin/sh',
    'here=$(dirname "$(readlink -f "$0")")/..',
    'libs=$here/usr/lib',
    'for folder in "$here"/usr/lib/*-linux-* "$here"/lib/*-linux-*; do libs=$libs:$folder; done',
    `LD_LIBRARY_PATH=$libs exec "$here/usr/bin/${tool}" "$@"`,
    '',
  ].join('\n'));
  await chmod(path, 0o755);
};

/** Folders of runs that were killed. Only called under the lock, so none of them is in use. */
const removeLeftovers = async (folder: string): Promise<void> => {
  const prefix = `${folder}.`;
  for (const name of await readdir(dirname(folder))) {
    const path = join(dirname(folder), name);
    if (path.startsWith(prefix) && path.endsWith('.partial')) await rm(path, { recursive: true, force: true });
  }
};

/** Downloads with apt's own lists; when they are missing or out of date, with private ones fetched for the purpose. */
const downloadPackages = async (work: string, signal: AbortSignal | undefined): Promise<string[]> => {
  const debs = join(work, 'debs');
  await mkdir(debs, { recursive: true });
  const own = ['-o', `Dir::Cache=${join(work, 'cache')}`];
  await mkdir(join(work, 'cache', 'archives', 'partial'), { recursive: true });
  const failures: string[] = [];
  for (const lists of ['system', 'private'] as const) {
    try {
      if (lists === 'private') {
        await mkdir(join(work, 'lists', 'partial'), { recursive: true });
        own.push('-o', `Dir::State::Lists=${join(work, 'lists')}`);
        await runCommand('apt-get', [...own, '-q', 'update'], { signal, timeoutMs: 120_000 });
      }
      const names = await neededPackages(own, signal);
      await runCommand('apt-get', [...own, '-q', 'download', ...names], { cwd: debs, signal, timeoutMs: 120_000 });
      return (await readdir(debs)).filter((name) => name.endsWith('.deb')).map((name) => join(debs, name));
    } catch (error) {
      if (signal?.aborted === true) throw error;
      failures.push(`with ${lists} lists: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new DomainError('NOT_FOUND', failures.join('; '));
};

/** The server, its tools and what of their dependencies this system lacks, as apt resolves it. */
const neededPackages = async (own: readonly string[], signal: AbortSignal | undefined): Promise<string[]> => {
  const plan = await runCommand('apt-get', [...own, '-s', '--no-install-recommends', 'install', ...WANTED], { signal }).catch(() => null);
  if (plan === null) {
    const known = await runCommand('apt-cache', [...own, '--no-generate', 'pkgnames'], { signal }).then((out) => new Set(out.stdout.split('\n')));
    return [...WANTED, ...KNOWN_LIBRARIES.filter((name) => known.has(name))];
  }
  const missing = [...plan.stdout.matchAll(/^Inst (\S+) /gm)].map((match) => match[1] ?? '');
  return [...new Set([...WANTED, ...missing.filter((name) => /^(lib|lua|redis|zlib)/.test(name))])];
};
