import { Client } from 'pg';
import { type Log } from '../engine/ports.js';

const RECONNECT_MS = 1_000;
/** Longest wait for the server's answer to a connect. */
const CONNECT_MS = 10_000;
/** A connection whose other side is gone without a word would stay silent for ever: it is asked this often, and has so long to answer. */
const ASK_MS = 10_000;
const ANSWER_MS = 5_000;

/** Called when something happened on a topic, or when something may have been missed. Carries no data: the reader looks for itself. */
export type Wake = () => void;

/** Learns of new events from every node and wakes who waits for them. */
export interface EventHub {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** @param topic a job's, a project's or an API key's id, or a `stateTopic`. Returns the way to stop. */
  onEvent(topic: string, wake: Wake): () => void;
  /** Whether announcements arrive right now; readers poll in any case. */
  readonly listening: boolean;
}

export interface EventHubOptions {
  url: string;
  channel: string;
  log: Log;
  /** How often the connection is asked whether anybody is at its other end. Default 10,000 ms. */
  askEveryMs?: number;
  /** How long an answer may take. Default 5,000 ms. */
  answerMs?: number;
}

/**
 * One LISTEN connection per process. A dropped one is opened again, and everybody is woken then, since announcements of the time in
 * between are lost.
 */
export const createEventHub = (options: EventHubOptions): EventHub => {
  const { askEveryMs = ASK_MS, answerMs = ANSWER_MS } = options;
  const wakes = new Map<string, Set<Wake>>();
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let asking: NodeJS.Timeout | undefined;
  let stopped = false;

  const wake = (topic: string): void => {
    for (const listener of wakes.get(topic) ?? []) listener();
  };

  const connect = async (): Promise<void> => {
    const next = new Client({ connectionString: options.url, application_name: 'snapback events', keepAlive: true, connectionTimeoutMillis: CONNECT_MS, query_timeout: answerMs });
    const lost = (error?: Error): void => {
      if (client !== next) return;
      client = undefined;
      clearInterval(asking);
      if (stopped) return;
      options.log.warn('Lost the connection that announces job events; readers poll until it is back.', { error: error?.message });
      retry();
    };
    next.on('error', lost);
    next.on('end', () => lost());
    next.on('notification', ({ payload }) => (payload ?? '').split(' ').forEach(wake));
    try {
      await next.connect();
      await next.query(`LISTEN ${options.channel}`);
    } catch (error) {
      await next.end().catch(() => undefined);
      throw error;
    }
    if (stopped) {
      await next.end();
      return;
    }
    client = next;
    asking = setInterval(() => {
      next.query('SELECT 1').catch((error: unknown) => {
        lost(error instanceof Error ? error : new Error(String(error)));
        next.end().catch((cause: unknown) => options.log.debug('A silent connection could not be closed.', { error: String(cause) }));
      });
    }, askEveryMs);
    for (const topic of wakes.keys()) wake(topic);
  };

  const retry = (): void => {
    timer = setTimeout(() => {
      connect().catch((error: unknown) => {
        options.log.debug('Job events cannot be announced yet.', { error: String(error) });
        if (!stopped) retry();
      });
    }, RECONNECT_MS);
  };

  return {
    start: connect,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      clearInterval(asking);
      const open = client;
      client = undefined;
      await open?.end();
    },
    onEvent(topic, listener) {
      const listeners = wakes.get(topic) ?? new Set();
      wakes.set(topic, listeners.add(listener));
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0 && wakes.get(topic) === listeners) wakes.delete(topic);
      };
    },
    get listening() {
      return client !== undefined;
    },
  };
};
