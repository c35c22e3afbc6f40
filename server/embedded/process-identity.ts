import { readFile } from 'node:fs/promises';
import { runCommand } from './run-command.js';

/** Whether a process with this id exists, whoever owns it. A zombie counts as gone: it holds no files and no ports. */
export const isAlive = async (pid: number): Promise<boolean> => {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const stat = await procStat(pid);
  return stat === null || stat[0] !== 'Z';
};

/** The fields of /proc/<pid>/stat behind the command name (which may hold spaces and brackets); null without a /proc. */
const procStat = async (pid: number): Promise<string[] | null> => {
  const text = await readFile(`/proc/${String(pid)}/stat`, 'utf8').catch(() => null);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
};

/**
 * When the process started, in a form that only serves comparison; null when there is no such process. With the pid it names one
 * process for ever, where a pid alone is reused.
 */
export const startMark = async (pid: number): Promise<string | null> => {
  if (!(await isAlive(pid))) return null;
  const stat = await procStat(pid);
  // Field 22 of proc(5) counts ticks since boot; the boot id keeps marks of two boots apart.
  if (stat !== null) return `${(await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim()}:${stat[19] ?? ''}`;
  const listed = await runCommand('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => null);
  return listed === null ? null : listed.stdout.trim();
};

/** The arguments a process runs with, split where the system tells them apart (Linux), else split at spaces; null when unknown. */
export const commandLine = async (pid: number): Promise<string[] | null> => {
  const raw = await readFile(`/proc/${String(pid)}/cmdline`, 'utf8').catch(() => null);
  if (raw !== null) return raw === '' ? null : raw.split('\0').filter((part) => part !== '');
  const listed = await runCommand('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => null);
  return listed === null || listed.stdout.trim() === '' ? null : listed.stdout.trim().split(' ');
};

/** Waits until the process is gone; false when it is still there after `timeoutMs`. For processes that are no children of ours. */
export const waitUntilGone = async (pid: number, timeoutMs: number): Promise<boolean> => {
  const deadline = performance.now() + timeoutMs;
  while (await isAlive(pid)) {
    if (performance.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
};

/** Sends a signal; false when the process was gone already. */
export const signalProcess = (pid: number, signal: NodeJS.Signals): boolean => {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
};
