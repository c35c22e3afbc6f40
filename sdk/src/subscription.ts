import type { Connection } from './connection.js';
import { operationHead, type TypedDocument } from './document.js';
import { abortedError, type SnapbackError } from './errors.js';
import type { Socket } from './socket.js';
import { follow } from './stream.js';

/** What carries subscriptions: the shared socket, or event streams of their own. */
export type Carrier = Pick<Socket, 'subscribe'>;

export interface SubscriptionOptions<Event> {
  /** For error messages. */
  what: string;
  signal: AbortSignal;
  /**
   * Whether a newer event makes one that still waits for the consumer worthless; it is dropped then. Keeps what waits for a slow consumer
   * small.
   */
  replaces?: (newer: Event, waiting: Event) => boolean;
}

/** One subscription's events, as long as its carrier holds. Throws with kind `aborted` when the signal is. */
export async function* openSubscription<Event, Variables>(
  carried: Promise<Carrier>, document: TypedDocument<Event, Variables>, variables: Variables, { what, signal, replaces = () => false }: SubscriptionOptions<Event>,
): AsyncGenerator<Event, void> {
  const query = document.toString();
  const carrier = await carried;
  if (signal.aborted) throw abortedError(what, signal);
  const waiting: Event[] = [];
  let end: { error?: SnapbackError } | undefined;
  let wake = (): void => undefined;
  const onAbort = (): void => {
    wake();
  };
  const stop = carrier.subscribe(what, { query, variables, operationName: operationHead(query).name }, {
    next: (data) => {
      const newer = data as Event;
      const index = waiting.findIndex((old) => replaces(newer, old));
      if (index >= 0) waiting.splice(index, 1);
      waiting.push(newer);
      wake();
    },
    error: (error) => {
      end = { error };
      wake();
    },
    complete: () => {
      end = {};
      wake();
    },
  });
  const result = (): { error?: SnapbackError } | undefined => end; // Set by the sink, which the compiler cannot see.
  signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      if (signal.aborted) throw abortedError(what, signal);
      const [event] = waiting.splice(0, 1);
      if (event !== undefined) {
        yield event;
        continue;
      }
      const ended = result();
      if (ended?.error !== undefined) throw ended.error;
      if (ended !== undefined) return;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    stop();
  }
}

/** An own subscription, over the shared socket. */
export const subscribe = <Event, Variables>(
  connection: Connection, document: TypedDocument<Event, Variables>, variables: Variables, options: { signal?: AbortSignal; timeoutMs?: number } = {},
): AsyncIterableIterator<Event> => {
  const what = operationHead(document.toString()).name ?? 'The subscription';
  return follow(connection.following, what, options, (signal) => openSubscription(connection.socket(), document, variables, { what, signal }));
};
