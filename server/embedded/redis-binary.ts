import { access, constants, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve as resolvePath } from 'node:path';
import { type Engine } from '../domain/backup.js';
import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { unpackRedis } from './redis-packages.js';
import { runCommand } from './run-command.js';

export interface RedisBinary {
  /** Absolute paths of programs that run as they are: no environment needs to be set for them. */
  server: string;
  /** Null where the server's package came without it. */
  cli: string | null;
  checkRdb: string | null;
  engine: Engine;
  /** As `--version` says: "7.0.15". */
  version: string;
}

export interface RedisBinaryOptions {
  /** A path an operator gave: it is used or it is an error, nothing else is looked at. */
  explicit?: string | undefined;
  /** Folder that may be filled with an unpacked server. */
  cacheDir: string;
  log?: Log | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Finds a Redis or Valkey server to run: `explicit`, else `redis-server` or `valkey-server` on the PATH, else the cache, which is filled from
 * Debian's packages when it is empty (needs apt and dpkg-deb, not root). NOT_FOUND, saying what to install, when all of them fail.
 */
export const resolveRedisBinary = async (options: RedisBinaryOptions): Promise<RedisBinary> => {
  const { explicit, cacheDir, signal } = options;
  if (explicit !== undefined && explicit !== '') {
    const given = resolvePath(explicit);
    const found = await probe(given, signal);
    if (typeof found !== 'string') return found;
    throw new DomainError('NOT_FOUND', `${given} is no Redis or Valkey server that runs here: ${found}`, { hint: 'Give the path of a redis-server or valkey-server program.' });
  }
  const tried: string[] = [];
  for (const name of ['redis-server', 'valkey-server']) {
    const path = await onPath(name);
    const found = path === null ? 'not on the PATH' : await probe(path, signal);
    if (typeof found !== 'string') return found;
    tried.push(`${name}: ${found}`);
  }
  const cached = join(resolvePath(cacheDir), 'bin', 'redis-server');
  const present = await probe(cached, signal);
  if (typeof present !== 'string') return present;
  try {
    await unpackRedis({ folder: resolvePath(cacheDir), isGood: async () => typeof (await probe(cached, signal)) !== 'string', log: options.log, signal });
    const unpacked = await probe(cached, signal);
    if (typeof unpacked !== 'string') return unpacked;
    tried.push(`${cached}: ${unpacked}`);
  } catch (error) {
    if (signal?.aborted === true) throw error;
    tried.push(`Debian's packages: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw new DomainError('NOT_FOUND', `No Redis server was found. ${tried.join('; ')}`, {
    hint: 'Install one (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis) or name its path in REDIS_SERVER_BIN.',
  });
};

/** What `server` is and which programs stand beside it, or why it cannot be used. */
const probe = async (server: string, signal: AbortSignal | undefined): Promise<RedisBinary | string> => {
  if (!(await isExecutable(server))) return 'no such program';
  let said: string;
  try {
    said = (await runCommand(server, ['--version'], { signal, timeoutMs: 10_000 })).stdout;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  // "Redis server v=7.0.15 sha=…", "Valkey server v=8.1.1 sha=…", "Server v=8.0.1 …" (early Valkey).
  const version = /(\w+ )?server v=(\d+\.\d+\.\d+)/i.exec(said);
  if (version?.[2] === undefined) return `--version says "${said.trim().slice(0, 80)}"`;
  const engine: Engine = /valkey/i.test(version[1] ?? '') || (version[1] === undefined && /valkey/i.test(basename(server))) ? 'VALKEY' : 'REDIS';
  return { server, engine, version: version[2], cli: await sibling(server, 'cli'), checkRdb: await sibling(server, 'check-rdb') };
};

/** `redis-cli` or `valkey-cli` beside the server (the link or what it points at), else on the PATH. */
const sibling = async (server: string, tool: string): Promise<string | null> => {
  const names = [basename(server).startsWith('valkey') ? `valkey-${tool}` : `redis-${tool}`, `redis-${tool}`, `valkey-${tool}`];
  const target = await realpath(server);
  for (const folder of new Set([dirname(server), dirname(target)])) {
    for (const name of names) {
      const path = join(folder, name);
      if (await isExecutable(path)) return path;
    }
  }
  for (const name of names) {
    const path = await onPath(name);
    if (path !== null) return path;
  }
  return null;
};

const onPath = async (name: string): Promise<string | null> => {
  const found = await runCommand('sh', ['-c', 'command -v "$1"', 'sh', name]).catch(() => null);
  const path = found?.stdout.trim() ?? '';
  return path.startsWith('/') ? path : null;
};

const isExecutable = (path: string): Promise<boolean> => access(path, constants.X_OK).then(() => true, () => false);
