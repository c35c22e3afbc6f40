import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type RedisBinary, resolveRedisBinary } from '../../server/embedded/redis-binary.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));

/** Folder of the version matrix: one sub-folder per version with `bin/redis-server` in it. */
export const redisVersionsDir = (): string => resolve(repository, process.env['REDIS_VERSIONS_DIR'] ?? '.cache/redis-versions');

/** Names of the versions that stand in the matrix folder, sorted; empty when `npm run redis-versions` was never run. */
export const redisVersions = (): string[] => {
  const folder = redisVersionsDir();
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => existsSync(join(folder, name, 'bin', 'redis-server'))).sort();
};

/** The tools of one server, all there. */
export interface TestRedisBinary extends RedisBinary {
  cli: string;
  checkRdb: string;
}

const resolved = new Map<string, Promise<TestRedisBinary>>();

/**
 * The server to test with: the named version of the matrix, else REDIS_SERVER_BIN, else one on the PATH, else the repository's cache
 * (unpacked on first use). Rejects, saying what to install, when there is none.
 */
export const redisBinary = (version?: string): Promise<TestRedisBinary> => {
  const key = version ?? '';
  let found = resolved.get(key);
  if (found === undefined) {
    found = find(version);
    resolved.set(key, found);
  }
  return found;
};

const find = async (version: string | undefined): Promise<TestRedisBinary> => {
  const explicit = version === undefined ? process.env['REDIS_SERVER_BIN'] : join(redisVersionsDir(), version, 'bin', 'redis-server');
  const binary = await resolveRedisBinary({ explicit, cacheDir: join(repository, '.cache', 'redis') });
  const { cli, checkRdb } = binary;
  if (cli === null || checkRdb === null) throw new Error(`${binary.server} has no redis-cli or redis-check-rdb beside it or on the PATH`);
  return { ...binary, cli, checkRdb };
};

/** Runs redis-check-rdb over a file and returns what it printed; throws when it finds a fault. */
export const checkRdb = async (file: string, version?: string): Promise<string> =>
  execFileSync((await redisBinary(version)).checkRdb, [file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Compares "7.0.15" style versions: negative, zero or positive like a sort function. */
export const compareVersions = (a: string, b: string): number => {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let i = 0; i < 3; i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};
