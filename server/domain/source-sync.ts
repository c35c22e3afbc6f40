import { DomainError } from './errors.js';

/** How often one server may be asked for a full synchronisation: each makes it fork. */
export interface SyncLimits {
  windowMs: number;
  /** Attempts in any window of that length. */
  most: number;
  /** Of these, such as no backup came of. */
  mostFailed: number;
}

/** An attempt that reached PSYNC, by whatever node and for whatever instance. */
export interface SyncRecord {
  startedAt: Date;
  state: 'RUNNING' | 'GOOD' | 'FAILED';
}

/** A little more than the limit asks for, so that who comes back then is let through. */
const SLACK_MS = 1_000;

/**
 * Why a server may not be asked now; null when it may. INSTANCE_BUSY while an attempt runs; RATE_LIMITED with `details.retryAt`, the instant from
 * which on it may be asked, if nobody else asks before.
 */
export const syncRefusal = (address: string, attempts: readonly SyncRecord[], limits: SyncLimits, now: Date): DomainError | null => {
  if (attempts.some(({ state }) => state === 'RUNNING')) {
    return new DomainError('INSTANCE_BUSY', `${address} is being read by another backup.`, { hint: 'Try again when it has ended.', retryable: true });
  }
  const inWindow = attempts.filter(({ startedAt }) => startedAt.getTime() > now.getTime() - limits.windowMs);
  const failed = inWindow.filter(({ state }) => state === 'FAILED');
  const retryAt = Math.max(roomFrom(inWindow, limits.most, limits.windowMs), roomFrom(failed, limits.mostFailed, limits.windowMs));
  if (retryAt === 0) return null;
  const minutes = Math.round(limits.windowMs / 60_000);
  const at = new Date(retryAt + SLACK_MS).toISOString();
  const count = failed.length >= limits.mostFailed ? `${failed.length} times in vain` : `${inWindow.length} times`;
  return new DomainError('RATE_LIMITED', `${address} was asked for a full synchronisation ${count} in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}; each makes it fork, so it is spared until ${at}.`, {
    hint: failed.length >= limits.mostFailed ? `Find out why the last backups failed, then try again after ${at}.` : `Try again after ${at}.`,
    retryable: true,
    details: { retryAt: at },
  });
};

/** The time at which the oldest attempts have left the window that are too many; 0 when there is room now. */
const roomFrom = (attempts: readonly SyncRecord[], most: number, windowMs: number): number => {
  if (attempts.length < most) return 0;
  const newestFirst = attempts.map(({ startedAt }) => startedAt.getTime()).sort((a, b) => b - a);
  return (newestFirst[most - 1] ?? 0) + windowMs;
};
