import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rm, rmdir, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { DomainError, abortReason } from '../domain/errors.js';
import { startMark } from './process-identity.js';

interface Holder {
  pid: number;
  /** `startMark` of the pid: tells the holder from a later process with the same id. */
  started: string;
  host: string;
  purpose: string;
}

export interface FolderLock {
  release(): Promise<void>;
}

export interface FolderLockOptions {
  /** For the message the second comer reads: "what" holds the lock. */
  purpose: string;
  /** How long to wait for a living holder; 0 (the default) fails at once. */
  waitMs?: number;
  signal?: AbortSignal | undefined;
}

/** A holder on another host (a container sharing the volume) cannot be looked up; it shows life by touching the file. */
const TOUCH_MS = 5_000;
const SILENT_MS = 30_000;

/**
 * Takes an exclusive lock named by a file path, across processes. A lock whose holder died (also by SIGKILL, also before a reboot)
 * is taken over. Fails with CONFLICT, naming the holder, when it is alive. Taking it twice in one process also conflicts.
 */
export const acquireFolderLock = async (path: string, options: FolderLockOptions): Promise<FolderLock> => {
  const { purpose, waitMs = 0, signal } = options;
  await mkdir(dirname(path), { recursive: true });
  const mine = `${path}.${String(process.pid)}-${randomBytes(4).toString('hex')}`;
  const holder: Holder = { pid: process.pid, started: (await startMark(process.pid)) ?? '', host: hostname(), purpose };
  const text = JSON.stringify(holder);
  // link() makes the lock appear with its content: nobody can read an empty lock and think it stale.
  await writeFile(mine, text, { mode: 0o644 });
  const deadline = performance.now() + waitMs;
  try {
    for (;;) {
      if (signal?.aborted === true) throw abortReason(signal);
      if (await tryLink(mine, path)) return held(path, text);
      const living = await livingHolder(path);
      if (living === null) {
        await removeStale(path);
        continue;
      }
      if (performance.now() >= deadline) {
        throw new DomainError('CONFLICT', `${path} is held by process ${String(living.pid)} on ${living.host} (${living.purpose}).`, {
          hint: 'Stop that process, or give this one another data folder.',
          details: { pid: living.pid, host: living.host },
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  } finally {
    await rm(mine, { force: true });
  }
};

const tryLink = async (from: string, to: string): Promise<boolean> => {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
};

const held = (path: string, text: string): FolderLock => {
  const touch = setInterval(() => {
    const now = new Date();
    // A missed touch is no fault by itself: the next one follows, and a holder on the same host is judged by its pid.
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  touch.unref();
  return {
    release: async () => {
      clearInterval(touch);
      if ((await readFile(path, 'utf8').catch(() => null)) === text) await rm(path, { force: true });
    },
  };
};

/** Who holds the lock and lives; null when it is free or its holder is dead. */
const livingHolder = async (path: string): Promise<Holder | null> => {
  const text = await readFile(path, 'utf8').catch(() => null);
  const touched = await stat(path).then((info) => info.mtimeMs, () => 0);
  if (text === null) return null;
  let holder: Holder;
  try {
    holder = JSON.parse(text) as Holder;
  } catch {
    return null;
  }
  if (holder.host !== hostname()) return Date.now() - touched < SILENT_MS ? holder : null;
  return (await startMark(holder.pid)) === holder.started ? holder : null;
};

/** Removes a dead holder's lock. A guard folder lets one process at a time judge and remove, so that nobody removes a fresh lock. */
const removeStale = async (path: string): Promise<void> => {
  const guard = `${path}.takeover`;
  try {
    await mkdir(guard);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const since = await stat(guard).then((info) => info.mtimeMs, () => Date.now());
    if (Date.now() - since > 10_000) await rmdir(guard).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return;
  }
  try {
    if ((await livingHolder(path)) === null) await rm(path, { force: true });
  } finally {
    await rmdir(guard);
  }
};
