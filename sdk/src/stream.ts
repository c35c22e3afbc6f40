import type { Emit, Transport } from './client-events.js';
import { isSnapbackError, SnapbackError } from './errors.js';
import { backoffMs, pause, startDeadline, type RetryPolicy } from './timing.js';

/**
 * Turns a generator that ends when its signal is aborted into an iterator that can be ended at any time: `return()` also ends a `next()`
 * that is still waiting, which a generator alone would keep waiting. Nothing starts before the first `next()`; `timeoutMs` counts from there.
 * @param following holds, while it goes on, what ends it with kind `aborted`
 */
export const follow = <T>(
  following: Set<() => void>, what: string, { signal: outer, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined }, run: (signal: AbortSignal) => AsyncGenerator<T, void>,
): AsyncIterableIterator<T> => {
  let started: { generator: AsyncGenerator<T, void>; deadline: ReturnType<typeof startDeadline> } | undefined;
  const giveUp = (): void => started?.deadline.abort();
  let closed = false;
  const end = (): IteratorReturnResult<undefined> => {
    closed = true;
    following.delete(giveUp);
    started?.deadline.dispose();
    return { done: true, value: undefined };
  };
  const iterator: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]: () => iterator,
    next: async () => {
      if (closed) return end();
      if (started === undefined) {
        const deadline = startDeadline(what, timeoutMs, outer);
        started = { deadline, generator: run(deadline.signal) };
        following.add(giveUp);
      }
      try {
        const result = await started.generator.next();
        return result.done === true || (closed as boolean) ? end() : result;
      } catch (error) {
        if (closed as boolean) return end();
        end();
        throw isSnapbackError(error) && error.kind === 'aborted' ? started.deadline.explain(error, () => error) : error;
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

/** What `work` gives, when that comes in time and before the caller's signal; both end the signal that `work` is given. */
export const within = async <T>(
  what: string, { signal: outer, timeoutMs }: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined }, work: (signal: AbortSignal) => Promise<T>,
): Promise<T> => {
  const deadline = startDeadline(what, timeoutMs, outer);
  try {
    return await work(deadline.signal);
  } catch (error) {
    throw isSnapbackError(error) && error.kind === 'aborted' ? deadline.explain(error, () => error) : error;
  } finally {
    deadline.dispose();
  }
};

/** One way to the events of a stream. */
export interface Way<Event> {
  name: Transport;
  /** Opens the stream after `last`, or from its beginning when that is undefined. */
  open(last: Event | undefined): AsyncIterable<Event>;
  /** A makeshift: when it ends, the first way is tried again. */
  interim?: boolean;
}

export interface Resumable<Event> {
  what: string;
  signal: AbortSignal;
  retry: RetryPolicy;
  emit: Emit;
  /** At least one, the best first. One that gave nothing is followed by the next, the last by the first. */
  ways: readonly Way<Event>[];
  /** Whether `event` comes after `last`; what does not is dropped. */
  isNewer(event: Event, last: Event): boolean;
  /** Whether nothing comes after `event`. */
  isFinal(event: Event): boolean;
}

/** Whether another way may lead there, or the same way later. What the service says about the call itself is final. */
const isWayLost = (error: SnapbackError, ways: number): boolean =>
  error.retryable || (ways > 1 && (error.code === 'NO_WEBSOCKET' || error.kind === 'http' || error.kind === 'protocol'));

/**
 * Events of a stream that is opened anew after its last event each time it is cut: none missing, none twice. Ends after the final event.
 * Before the first event `retry.attempts` bounds the trying (each way has one at least); after it, `retry.resumeForMs` bounds the time
 * without any event.
 */
export async function* resumed<Event>({ what, signal, retry, emit, ways, isNewer, isFinal }: Resumable<Event>): AsyncGenerator<Event, void> {
  const attempts = Math.max(retry.attempts, ways.length);
  let last: Event | undefined;
  let heardAt = 0;
  let at = 0;
  let best: SnapbackError | undefined;
  for (let failures = 1; ; failures += 1) {
    const way = ways[at] as Way<Event>;
    const openedAt = Date.now();
    let heard = false;
    let cut: SnapbackError;
    try {
      for await (const event of way.open(last)) {
        heard = true;
        heardAt = Date.now();
        if (last === undefined || isNewer(event, last)) {
          last = event;
          failures = 0;
          yield event;
        }
        if (isFinal(event)) return;
      }
      cut = new SnapbackError('network', 'NETWORK', `${what} ended before its time.`, { retryable: true });
    } catch (error) {
      if (!(error instanceof SnapbackError) || error.kind === 'aborted' || !isWayLost(error, ways.length)) throw error;
      cut = error;
    }
    // What the first way failed with says more than what the makeshifts did.
    if (at === 0) best = cut;
    const givesUp = last === undefined ? failures >= attempts : Date.now() - heardAt > retry.resumeForMs && failures >= ways.length;
    if (givesUp) throw best ?? cut;
    const held = Date.now() - openedAt > retry.maxMs; // A proxy's idle limit then, not an outage.
    if (held) failures = 0;
    const next = way.interim === true ? 0 : heard || held ? at : (at + 1) % ways.length;
    if (next !== at) emit({ type: 'fallback', operation: what, to: (ways[next] as Way<Event>).name, error: cut });
    // The next way is tried at once; only when all have failed there is something to wait for.
    const round = Math.ceil(failures / ways.length);
    const delayMs = Math.max(cut.retryAfterMs ?? 0, failures === 0 || next > at ? 0 : backoffMs(retry, round));
    if (next === at) emit({ type: 'retry', operation: what, attempt: failures, delayMs, error: cut });
    at = next;
    await pause(delayMs, what, signal);
  }
}
