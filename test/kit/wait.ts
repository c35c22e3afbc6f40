export interface WaitOptions {
  /** When to give up; it ends what hangs and asserts nothing about speed. Default 60,000 ms. */
  timeoutMs?: number;
  /** Default 20 ms. */
  intervalMs?: number;
  /** What was waited for, for the failure's message. */
  message?: string | (() => string);
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Waits until `condition` gives something truthy and returns that. A condition that throws fails the wait at once: use `eventually`
 * for one that may throw for a while.
 */
export const waitFor = async <T>(condition: () => T | Promise<T>, options: WaitOptions = {}): Promise<NonNullable<T>> => {
  const { timeoutMs = 60_000, intervalMs = 20, message = 'the condition' } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() >= deadline) {
      throw new Error(`Waited ${String(timeoutMs)} ms in vain for ${typeof message === 'function' ? message() : message}`);
    }
    await sleep(intervalMs);
  }
};

/** Repeats `attempt` until it does not throw (assertions included) and returns its result; its last error is the failure's cause. */
export const eventually = async <T>(attempt: () => T | Promise<T>, options: WaitOptions = {}): Promise<T> => {
  const { timeoutMs = 60_000, intervalMs = 20, message } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() >= deadline) {
        const what = typeof message === 'function' ? message() : message;
        throw new Error(`Still failing after ${String(timeoutMs)} ms${what === undefined ? '' : ` (${what})`}: ${String(error)}`, { cause: error });
      }
    }
    await sleep(intervalMs);
  }
};
