import { setTimeout as delay } from 'node:timers/promises';
import { DomainError, abortReason } from '../../domain/errors.js';

export interface Backoff {
  /** How often something is tried in all. */
  attempts: number;
  /** Longest pause before the second attempt; it doubles from there. */
  firstMs: number;
  /** Longest pause of all. */
  maxMs: number;
  /** Between 0 and 1; default: by chance. */
  random?: (() => number) | undefined;
}

/** Five attempts within about 6 seconds, when each fails at once. */
export const BACKOFF: Backoff = { attempts: 5, firstMs: 400, maxMs: 10_000 };

/** What the other side asked for, where it did. */
const askedFor = (error: DomainError): number => {
  const { retryAfterMs } = error.details;
  return typeof retryAfterMs === 'number' ? retryAfterMs : 0;
};

/**
 * The pause after an attempt that failed: by chance between nothing and a bound that doubles each time, so that those who failed together
 * do not come back together; at least what the other side asked for, within `maxMs`.
 * @param attempt the one that failed, from 1
 */
export const pauseAfter = (attempt: number, error: DomainError, { firstMs, maxMs, random = Math.random }: Backoff): number =>
  Math.max(random() * Math.min(maxMs, firstMs * 2 ** (attempt - 1)), Math.min(askedFor(error), maxMs));

export const isRetryable = (error: unknown): error is DomainError => error instanceof DomainError && error.retryable;

/** Waits; rejects with the signal's reason when that fires. */
export const pause = async (ms: number, signal?: AbortSignal): Promise<void> => {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    throw signal?.aborted === true ? abortReason(signal) : error;
  }
};

/** Runs until it succeeds, fails for good (its error is not `retryable`), or has failed as often as is allowed; then the last error is thrown. */
export const retrying = async <T>(run: () => Promise<T>, backoff: Backoff, signal?: AbortSignal): Promise<T> => {
  for (let attempt = 1; ; attempt += 1) {
    if (signal?.aborted === true) throw abortReason(signal);
    try {
      return await run();
    } catch (error) {
      if (!isRetryable(error) || attempt >= backoff.attempts) throw error;
      await pause(pauseAfter(attempt, error, backoff), signal);
    }
  }
};
