import { abortedError, SnapbackError } from './errors.js';

/** How often and how patiently a call is repeated. */
export interface RetryOptions {
  /** Attempts altogether, the first included. Default 4; 1 means never to repeat. */
  attempts?: number;
  /** Pause before the first repetition, in milliseconds; it doubles each time. Default 250. */
  baseMs?: number;
  /** Longest pause, in milliseconds. Default 8,000. */
  maxMs?: number;
  /** Longest `Retry-After` that is waited for, in milliseconds; with a longer one the call fails at once. Default 60,000. */
  maxRetryAfterMs?: number;
  /** How long a stream or download that was cut is tried again without any answer, in milliseconds. Default 60,000; 0 when retrying is off. */
  resumeForMs?: number;
}

export type RetryPolicy = Required<RetryOptions>;

export const retryPolicy = (options: RetryOptions | false | undefined): RetryPolicy => ({
  attempts: options === false ? 1 : Math.max(1, options?.attempts ?? 4),
  baseMs: (options || undefined)?.baseMs ?? 250,
  maxMs: (options || undefined)?.maxMs ?? 8_000,
  maxRetryAfterMs: (options || undefined)?.maxRetryAfterMs ?? 60_000,
  resumeForMs: options === false ? 0 : (options?.resumeForMs ?? 60_000),
});

/** Exponential with full jitter below half of it: `failures` = 1 gives 50 to 100 % of `baseMs`. */
export const backoffMs = ({ baseMs, maxMs }: RetryPolicy, failures: number): number =>
  Math.min(maxMs, baseMs * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);

/** Seconds or an HTTP date (RFC 9110, 10.2.3), in milliseconds from now; undefined for anything else. */
export const parseRetryAfter = (value: string | null): number | undefined => {
  if (value === null) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
};

/** What `promise` gives; rejects with `reason` as soon as the signal is aborted, whatever becomes of the promise. */
export const unlessAborted = <T>(promise: Promise<T>, signal: AbortSignal, reason: (cause: unknown) => unknown): Promise<T> =>
  new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(reason(signal.reason));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });

/** Resolves after `ms`; rejects with kind `aborted` as soon as the signal is aborted. */
export const pause = (ms: number, what: string, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(abortedError(what, signal));
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(abortedError(what, signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });

/** One attempt's own signal: aborted by the caller, by time, or by `abort`. Call `dispose` when the attempt is over. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Starts the time anew. */
  restart(): void;
  /** Stops the time; the caller's signal is still heard. */
  hold(): void;
  abort(): void;
  dispose(): void;
  /** The error that describes `cause`: an abort or a timeout when that is what ended the attempt, else what `otherwise` makes of it. */
  explain(cause: unknown, otherwise: (cause: unknown) => SnapbackError): SnapbackError;
}

export const startDeadline = (what: string, timeoutMs: number | undefined, outer?: AbortSignal): Deadline => {
  const controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let timedOut = false;
  const onAbort = (): void => {
    controller.abort(outer?.reason);
  };
  const restart = (): void => {
    clearTimeout(timer);
    if (timeoutMs === undefined || !Number.isFinite(timeoutMs)) return;
    timer = setTimeout(() => {
      timedOut = true;
      controller.abort();
    }, Math.min(timeoutMs, 2 ** 31 - 1));
  };
  if (outer?.aborted === true) onAbort();
  else {
    outer?.addEventListener('abort', onAbort, { once: true });
    restart();
  }
  return {
    signal: controller.signal,
    restart,
    hold: () => {
      clearTimeout(timer);
    },
    abort: () => {
      controller.abort();
    },
    dispose: () => {
      clearTimeout(timer);
      outer?.removeEventListener('abort', onAbort);
    },
    explain: (cause, otherwise) => {
      if (outer?.aborted === true) return abortedError(what, outer);
      if (timedOut) {
        return new SnapbackError('timeout', 'TIMEOUT', `${what} had no answer within ${String(timeoutMs)} ms.`, { retryable: true });
      }
      return otherwise(cause);
    },
  };
};
