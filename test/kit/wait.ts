export interface WaitOptions {
  /** When to give up; it ends what hangs and asserts nothing about speed. Default 60,000 ms. */
  timeoutMs?: number;
  /** Default 20 ms, and 60 ms once a quarter of a second is over: asking a service takes as long as what is waited for has to do on the same cores. */
  intervalMs?: number;
  /** What was waited for, for the failure's message. */
  message?: string | (() => string);
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** @param began by `performance.now()` */
const pause = (began: number, intervalMs: number | undefined): Promise<void> => sleep(intervalMs ?? (performance.now() - began < 250 ? 20 : 60));

/**
 * Waits until `condition` gives something truthy and returns that. A condition that throws fails the wait at once: use `eventually`
 * for one that may throw for a while.
 */
export const waitFor = async <T>(condition: () => T | Promise<T>, options: WaitOptions = {}): Promise<NonNullable<T>> => {
  const { timeoutMs = 60_000, intervalMs, message = 'the condition' } = options;
  const began = performance.now();
  const deadline = began + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() >= deadline) {
      throw new Error(`Waited ${String(timeoutMs)} ms in vain for ${typeof message === 'function' ? message() : message}`);
    }
    await pause(began, intervalMs);
  }
};

/** Repeats `attempt` until it does not throw (assertions included) and returns its result; its last error is the failure's cause. */
export const eventually = async <T>(attempt: () => T | Promise<T>, options: WaitOptions = {}): Promise<T> => {
  const { timeoutMs = 60_000, intervalMs, message } = options;
  const began = performance.now();
  const deadline = began + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() >= deadline) {
        const what = typeof message === 'function' ? message() : message;
        throw new Error(`Still failing after ${String(timeoutMs)} ms${what === undefined ? '' : ` (${what})`}: ${String(error)}`, { cause: error });
      }
    }
    await pause(began, intervalMs);
  }
};
