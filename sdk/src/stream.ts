import { SnapbackError } from './errors.js';
import { backoffMs, pause, startDeadline, type RetryPolicy } from './timing.js';

/**
 * Turns a generator that ends when its signal is aborted into an iterator that can be ended at any time: `return()` also ends a `next()`
 * that is still waiting, which a generator alone would keep waiting. Nothing starts before the first `next()`.
 */
export const follow = <T>(what: string, outer: AbortSignal | undefined, run: (signal: AbortSignal) => AsyncGenerator<T, void>): AsyncIterableIterator<T> => {
  let started: { generator: AsyncGenerator<T, void>; deadline: ReturnType<typeof startDeadline> } | undefined;
  let closed = false;
  const end = (): IteratorReturnResult<undefined> => {
    closed = true;
    started?.deadline.dispose();
    return { done: true, value: undefined };
  };
  const iterator: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]: () => iterator,
    next: async () => {
      if (closed) return end();
      if (started === undefined) {
        const deadline = startDeadline(what, undefined, outer);
        started = { deadline, generator: run(deadline.signal) };
      }
      try {
        const result = await started.generator.next();
        return result.done === true || (closed as boolean) ? end() : result;
      } catch (error) {
        if (closed as boolean) return end();
        end();
        throw error;
      }
    },
    return: async () => {
      const running = started;
      end();
      running?.deadline.abort();
      await running?.generator.return().catch(() => undefined); // The abort just made is what it rejects with.
      return { done: true, value: undefined };
    },
  };
  return iterator;
};

export interface Resumable<Event> {
  what: string;
  signal: AbortSignal;
  retry: RetryPolicy;
  /** Opens the stream after `last`, or from its beginning when that is undefined. */
  open(last: Event | undefined): AsyncIterable<Event>;
  /** Whether `event` comes after `last`; what does not is dropped. */
  isNewer(event: Event, last: Event): boolean;
  /** Whether nothing comes after `event`. */
  isFinal(event: Event): boolean;
}

/**
 * Events of a stream that is opened anew after its last event each time it is cut: none missing, none twice. Ends after the final event.
 * Before the first event `retry.attempts` bounds the trying; after it, `retry.resumeForMs` bounds the time without any event.
 */
export async function* resumed<Event>(stream: Resumable<Event>): AsyncGenerator<Event, void> {
  const { retry } = stream;
  let last: Event | undefined;
  let heardAt = 0;
  for (let failures = 1; ; failures += 1) {
    const openedAt = Date.now();
    let cut: SnapbackError;
    try {
      for await (const event of stream.open(last)) {
        heardAt = Date.now();
        if (last === undefined || stream.isNewer(event, last)) {
          last = event;
          failures = 0;
          yield event;
        }
        if (stream.isFinal(event)) return;
      }
      cut = new SnapbackError('network', 'NETWORK', `${stream.what} ended before its time.`, { retryable: true });
    } catch (error) {
      if (!(error instanceof SnapbackError) || error.kind === 'aborted' || !error.retryable) throw error;
      cut = error;
    }
    const givesUp = last === undefined ? failures >= retry.attempts : Date.now() - heardAt > retry.resumeForMs;
    if (givesUp) throw cut;
    if (Date.now() - openedAt > retry.maxMs) failures = 0; // It held for a while: a proxy's idle limit, not an outage.
    const pauseMs = failures === 0 ? 0 : backoffMs(retry, failures);
    await pause(Math.max(cut.retryAfterMs ?? 0, pauseMs), stream.what, stream.signal);
  }
}
