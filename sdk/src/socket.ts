import type { Emit } from './client-events.js';
import { abortedError, SnapbackError } from './errors.js';
import { SDK_VERSION } from './generated/schema.js';
import { graphqlError, type GraphqlErrorBody } from './graphql-errors.js';
import type { WebSocketConstructor, WebSocketLike } from './options.js';
import type { TokenSource } from './token.js';

/*
 * A client of the protocol graphql-transport-ws (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md). One socket carries
 * all subscriptions; it is opened with the first and closed with the last. A socket that is lost ends its subscriptions with a retryable
 * error: who subscribed knows how to resume without a gap, the socket does not.
 */
export interface SocketOptions {
  url: string;
  webSocket: WebSocketConstructor | undefined;
  tokens: TokenSource;
  emit: Emit;
  /** A sign of life is asked for each time; without one until the next time the socket counts as lost. */
  keepAliveMs: number;
  /** From opening to the service's acknowledgement. */
  connectTimeoutMs: number;
}

export interface SubscribePayload {
  query: string;
  variables?: unknown;
  operationName?: string | undefined;
}

/** Where a subscription's events go. After `error` or `complete` nothing comes any more. */
export interface Sink {
  next(data: unknown): void;
  error(error: SnapbackError): void;
  complete(): void;
}

export interface Socket {
  /** @returns ends the subscription; nothing comes after that. */
  subscribe(what: string, payload: SubscribePayload, sink: Sink): () => void;
  /** Ends all subscriptions with kind `aborted`. */
  close(): void;
}

interface Message {
  type: string;
  id?: string;
  payload?: unknown;
}

interface Entry {
  what: string;
  payload: SubscribePayload;
  sink: Sink;
}

const SUBPROTOCOL = 'graphql-transport-ws';

const noWebSocket = (message: string, cause: unknown): SnapbackError => new SnapbackError('network', 'NO_WEBSOCKET', message, { cause });

const findWebSocket = async (given: WebSocketConstructor | undefined): Promise<WebSocketConstructor> => {
  const found = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (found !== undefined) return found;
  const name = 'ws'; // Not a literal in the import: bundlers for browsers must not look for it.
  try {
    const loaded = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as { WebSocket: WebSocketConstructor };
    return loaded.WebSocket;
  } catch (cause) {
    throw noWebSocket('This runtime has no WebSocket. Install the package `ws`, or give createClient a `webSocket`.', cause);
  }
};

const lost = (reason: string): SnapbackError =>
  new SnapbackError('network', 'NETWORK', `The socket to the service was lost: ${reason}.`, { retryable: true });

/** Close codes of the protocol that opening a new socket does not mend; all others do not blame the client. */
const closeError = (code: number | undefined, wasReady: boolean): SnapbackError => {
  // The token ran out or grants something else now; a new socket asks for one anew, and is refused when it is none.
  if (code === 4403 && wasReady) return lost('its token has expired, was revoked or has other rights now');
  if (code === 4401 || code === 4403) return new SnapbackError('graphql', 'UNAUTHENTICATED', 'The service refused the socket. Check the token.');
  if (code === 4400 || code === 4406 || code === 4409 || code === 4429) {
    return new SnapbackError('protocol', 'UNEXPECTED_ANSWER', `The service closed the socket with code ${String(code)}.`);
  }
  return lost(`it closed with code ${String(code)}`);
};

const parseMessage = (data: unknown): Message | undefined => {
  if (typeof data !== 'string') return undefined;
  try {
    const message: unknown = JSON.parse(data);
    return typeof message === 'object' && message !== null && 'type' in message ? (message as Message) : undefined;
  } catch {
    return undefined; // The caller gives up a socket that sends anything but the protocol.
  }
};

/** One open socket, from its opening to its end; `onEnd` is called once, with the reason. */
const openLink = (WebSocketClass: WebSocketConstructor, options: SocketOptions, token: string, events: {
  ready(): void;
  message(message: Message): void;
  end(error: SnapbackError): void;
}): { send(message: Message): void; end(error: SnapbackError): void } => {
  let socket: WebSocketLike;
  try {
    socket = new WebSocketClass(options.url, SUBPROTOCOL);
  } catch (cause) {
    throw noWebSocket('This runtime opens no WebSocket to the service.', cause); // From a page served over TLS to a service without it, say.
  }
  let ended = false;
  let awaitsSign = false;
  let keepAlive: ReturnType<typeof setInterval> | undefined;
  const send = (message: Message): void => {
    socket.send(JSON.stringify(message));
  };
  const end = (error: SnapbackError): void => {
    if (ended) return;
    ended = true;
    clearTimeout(connectTimer);
    clearInterval(keepAlive);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => undefined; // `ws` throws when nobody listens.
    socket.close(1000, 'done');
    // A peer that is gone never answers the closing handshake; `ws` would keep the process alive for it.
    if (error.kind === 'network') (socket as { terminate?: () => void }).terminate?.();
    events.end(error);
  };
  const connectTimer = setTimeout(() => {
    end(lost(`it was not ready within ${String(options.connectTimeoutMs)} ms`));
  }, options.connectTimeoutMs);
  socket.onopen = () => {
    send({ type: 'connection_init', payload: { authorization: `Bearer ${token}`, sdk: SDK_VERSION } });
  };
  socket.onerror = () => {
    end(lost('it could not be opened, or it failed'));
  };
  socket.onclose = (event: { code?: number }) => {
    end(closeError(event.code, keepAlive !== undefined));
  };
  socket.onmessage = (event: { data?: unknown }) => {
    const message = parseMessage(event.data);
    awaitsSign = false;
    if (message === undefined) end(new SnapbackError('protocol', 'UNEXPECTED_ANSWER', 'The socket sends something else than graphql-transport-ws.'));
    else if (message.type === 'ping') send({ type: 'pong' });
    else if (message.type === 'connection_ack') {
      clearTimeout(connectTimer);
      keepAlive = setInterval(() => {
        if (awaitsSign) {
          end(lost(`it was silent for ${String(options.keepAliveMs)} ms`));
          return;
        }
        awaitsSign = true;
        send({ type: 'ping' });
      }, options.keepAliveMs);
      events.ready();
    } else events.message(message);
  };
  return { send, end };
};

const noToken = (cause: unknown): SnapbackError => new SnapbackError('network', 'NETWORK', 'The socket could not be opened: there is no token for it.', { cause });

export const createSocket = (options: SocketOptions): Socket => {
  const entries = new Map<string, Entry>();
  let lastId = 0;
  let link: ReturnType<typeof openLink> | undefined;
  let opening = false;
  let ready = false;
  /** Whether the token was asked for anew since the service last took one. */
  let renewed = false;

  const start = (id: string, { payload }: Entry): void => {
    link?.send({ type: 'subscribe', id, payload });
  };

  const failAll = (error: SnapbackError): void => {
    link = undefined;
    ready = false;
    const failed = [...entries.values()];
    entries.clear();
    for (const { sink } of failed) sink.error(error);
  };

  const onMessage = ({ type, id = '', payload }: Message): void => {
    const entry = entries.get(id);
    if (entry === undefined) return; // Ended by us while this was on its way.
    if (type === 'next') {
      const { data, errors } = payload as { data?: unknown; errors?: GraphqlErrorBody[] };
      if (errors === undefined || errors.length === 0) {
        entry.sink.next(data);
        return;
      }
      link?.send({ type: 'complete', id });
      finish(id);
      entry.sink.error(graphqlError(entry.what, errors));
    } else if (type === 'error') {
      finish(id);
      entry.sink.error(graphqlError(entry.what, payload as GraphqlErrorBody[]));
    } else if (type === 'complete') {
      finish(id);
      entry.sink.complete();
    }
  };

  /** Forgets a subscription, and closes the socket when it was the last: an open one would keep a process from ending. */
  const finish = (id: string): void => {
    entries.delete(id);
    if (entries.size > 0 || link === undefined) return;
    const idle = link;
    link = undefined;
    ready = false;
    idle.end(abortedError('The socket'));
  };

  /** A new token may be let in where the old one was not; the subscriptions wait for it. */
  const renew = async (token: string, error: SnapbackError): Promise<void> => {
    renewed = true;
    try {
      if (await options.tokens.renew(token)) await open();
      else failAll(error);
    } catch (cause) {
      failAll(noToken(cause));
    }
  };

  const open = async (): Promise<void> => {
    if (link !== undefined || opening) return;
    opening = true;
    try {
      const [WebSocketClass, token] = await Promise.all([findWebSocket(options.webSocket), options.tokens.get()]);
      if (entries.size === 0) return;
      const opened = openLink(WebSocketClass, options, token, {
        ready: () => {
          ready = true;
          renewed = false;
          options.emit({ type: 'socket', state: 'open' });
          for (const [id, entry] of entries) start(id, entry);
        },
        message: onMessage,
        end: (error) => {
          if (link !== opened) return;
          if (ready) options.emit({ type: 'socket', state: 'lost', error });
          if (error.code === 'UNAUTHENTICATED' && !renewed) {
            link = undefined;
            void renew(token, error);
          } else failAll(error);
        },
      });
      link = opened;
    } catch (cause) {
      failAll(cause instanceof SnapbackError ? cause : noToken(cause));
    } finally {
      opening = false;
    }
  };

  return {
    subscribe: (what, payload, sink) => {
      const id = String((lastId += 1));
      const entry = { what, payload, sink };
      entries.set(id, entry);
      if (ready) start(id, entry);
      else void open();
      return () => {
        if (!entries.has(id)) return;
        if (ready) link?.send({ type: 'complete', id });
        finish(id);
      };
    },
    close: () => {
      const open = link;
      failAll(abortedError('The subscription'));
      open?.end(abortedError('The socket'));
    },
  };
};
