import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { commandLine, isAlive, signalProcess, waitUntilGone } from './process-identity.js';

/** What a running postmaster writes into its folder: pid in line 1, port in line 4, state in line 8. */
export interface PostmasterFile {
  pid: number;
  port: number;
  ready: boolean;
}

/** Null while there is none or it is still being written. */
export const readPostmasterFile = async (cluster: string): Promise<PostmasterFile | null> => {
  const lines = (await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
  const pid = Number(lines[0]);
  return Number.isInteger(pid) && pid > 0 ? { pid, port: Number(lines[3] ?? 0), ready: lines[7]?.trim() === 'ready' } : null;
};

/**
 * Ends a postmaster that outlived the service (killed by SIGKILL) in this folder. A process that merely has the pid written there is left
 * alone and the file removed. To be called only by the holder of the folder's lock.
 */
export const settleLeftover = async (cluster: string, log: Log): Promise<void> => {
  const left = await readPostmasterFile(cluster);
  if (left === null) return;
  if (!(await isPostmasterOf(left.pid, cluster))) {
    await rm(join(cluster, 'postmaster.pid'), { force: true });
    return;
  }
  log.warn('A PostgreSQL server of an earlier run still serves this folder; stopping it', { pid: left.pid, cluster });
  await endPostmaster(left.pid);
};

const isPostmasterOf = async (pid: number, cluster: string): Promise<boolean> => {
  if (!(await isAlive(pid))) return false;
  const args = await commandLine(pid);
  if (args === null || basename(args[0] ?? '') !== 'postgres') return false;
  const folder = await realpath(cluster);
  // A postmaster works in its data folder, however that was named on its command line.
  const cwd = await readlink(`/proc/${String(pid)}/cwd`).catch(() => null);
  if (cwd !== null) return cwd === folder;
  return args.includes(cluster) || args.includes(folder);
};

/** Fast shutdown (sessions are cut, data is flushed); what does not end is stopped harder, which costs a recovery at the next start. */
export const endPostmaster = async (pid: number): Promise<void> => {
  for (const [signal, patienceMs] of [['SIGINT', 30_000], ['SIGQUIT', 10_000], ['SIGKILL', 5_000]] as const) {
    if (!signalProcess(pid, signal) || (await waitUntilGone(pid, patienceMs))) return;
  }
  throw new DomainError('INTERNAL', `PostgreSQL (process ${String(pid)}) does not end.`, { hint: `End process ${String(pid)} by hand and start again.` });
};
