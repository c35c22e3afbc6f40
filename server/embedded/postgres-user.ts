import { constants } from 'node:fs';
import { chown, lstat, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DomainError } from '../domain/errors.js';
import { runCommand } from './run-command.js';

export interface SystemUser {
  uid: number;
  gid: number;
}

/** Accounts that exist for such things; PostgreSQL refuses to run as root. */
const ACCOUNTS = ['postgres', 'nobody'];

/**
 * Whom PostgreSQL must run as when we are root: the owner of the cluster that is there, else `postgres`, else `nobody`.
 * Null when we are not root and it runs as ourselves.
 */
export const postgresUser = async (cluster: string): Promise<SystemUser | null> => {
  if (process.getuid?.() !== 0) return null;
  const owner = await stat(cluster).catch(() => null);
  if (owner !== null && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  for (const name of ACCOUNTS) {
    const ids = await Promise.all(['-u', '-g'].map((flag) => runCommand('id', [flag, name]).catch(() => null)));
    const [uid, gid] = ids.map((out) => Number(out?.stdout.trim() ?? ''));
    if (uid !== undefined && gid !== undefined && uid > 0 && gid > 0) return { uid, gid };
  }
  throw new DomainError('INTERNAL', `PostgreSQL refuses to run as root, and neither of the users ${ACCOUNTS.join(', ')} exists.`, {
    hint: 'Start the service as a normal user, create the user postgres, or set DATABASE_URL.',
  });
};

/** Whether every folder from the root to `path` (included) may be passed by any user. */
export const anybodyReaches = async (path: string): Promise<boolean> => {
  for (let folder = path; ; folder = dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & constants.S_IXOTH) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
};

export const giveTo = async (path: string, user: SystemUser | null): Promise<void> => {
  if (user === null) return;
  const { uid } = await lstat(path);
  if (uid !== user.uid) await chown(path, user.uid, user.gid);
};
