import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DomainError } from '../domain/errors.js';
import { type PostgresBinaries } from './postgres-binaries.js';
import { type SystemUser, anybodyReaches, giveTo } from './postgres-user.js';
import { runCommand } from './run-command.js';

export const SUPERUSER = 'snapback';

/**
 * How a data folder is named on PostgreSQL's command line, and the working directory to start it in. A user who cannot pass the folder's
 * parents (root's home, say) reaches it through its working directory: /proc/self/cwd is resolved without walking the path, and a
 * postmaster and all its children stay in their data folder.
 */
export interface FolderName {
  name: string;
  cwd: string;
}

export const folderName = async (folder: string, user: SystemUser | null): Promise<FolderName> => {
  if (user === null || (await anybodyReaches(join(folder, '..')))) return { name: folder, cwd: folder };
  if (await stat('/proc/self/cwd').then(() => true, () => false)) return { name: '/proc/self/cwd', cwd: folder };
  throw new DomainError('STORAGE_PERMISSION', `The user PostgreSQL runs as (uid ${String(user.uid)}) cannot reach ${folder}.`, {
    hint: 'Move the data folder to where every user may pass, start the service as a normal user, or set DATABASE_URL.',
  });
};

export interface Cluster {
  folder: string;
  password: string;
}

interface ClusterOptions {
  dataDir: string;
  binaries: PostgresBinaries;
  user: SystemUser | null;
  /** Whether a new cluster must survive a power cut from the start. */
  durable: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Opens `dataDir/cluster`, making it when it is not there: UTF-8 with the built-in C.UTF-8 order, so that neither the system's locales nor
 * its upgrades matter; one superuser whose password stands in `dataDir/password` (0600). It appears complete or not at all.
 */
export const openCluster = async ({ dataDir, binaries, user, durable, signal }: ClusterOptions): Promise<Cluster> => {
  const folder = join(dataDir, 'cluster');
  const passwordFile = join(dataDir, 'password');
  if (await stat(join(folder, 'PG_VERSION')).then(() => true, () => false)) {
    const password = (await readFile(passwordFile, 'utf8').catch((error: unknown) => {
      throw new DomainError('STORAGE_PERMISSION', `The database in ${folder} is there, but its password in ${passwordFile} cannot be read.`, {
        hint: 'Put the file back from a copy of the data folder; the service must be able to read it.', cause: error,
      });
    })).trim();
    return { folder, password };
  }
  for (const name of await readdir(dataDir)) {
    if (name.startsWith('cluster.')) await rm(join(dataDir, name), { recursive: true, force: true });
  }
  const password = randomBytes(24).toString('base64url');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const partial = join(dataDir, `cluster.${randomBytes(4).toString('hex')}`);
  await mkdir(partial, { mode: 0o700 });
  await giveTo(partial, user);
  const handOver = await mkdtemp(join(tmpdir(), 'snapback-initdb-'));
  try {
    const file = join(handOver, 'password');
    await writeFile(file, `${password}\n`, { mode: 0o600 });
    await giveTo(file, user);
    await giveTo(handOver, user);
    await chmod(handOver, 0o700);
    const { name, cwd } = await folderName(partial, user);
    await runCommand(
      binaries.initdb,
      ['-D', name, '-U', SUPERUSER, '--pwfile', file, '--auth', 'scram-sha-256', '--encoding', 'UTF8', '--locale', 'C',
        '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--no-instructions', '--no-sync'],
      { cwd, uid: user?.uid, gid: user?.gid, signal, env: { TZ: 'UTC', LC_ALL: 'C' } },
    );
  } finally {
    await rm(handOver, { recursive: true, force: true });
  }
  if (durable) await runCommand('sync', ['-f', partial], { signal }).catch(() => runCommand('sync', [], { signal }));
  await rename(partial, folder);
  return { folder, password };
};
