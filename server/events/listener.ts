import { Client } from 'pg';
import { type Log } from '../engine/ports.js';

const RECONNECT_MS = 1_000;
/** Longest wait for the server's answer to a connect. */
const CONNECT_MS = 10_000;
/** A connection whose other side is gone without a word would stay silent for ever: it is asked this often, and has so long to answer. */
const ASK_MS = 10_000;
const ANSWER_MS = 5_000;

export interface ListenerOptions {
  url: string;
  channel: string;
  log: Log;
  /** How often the connection is asked whether anybody is at its other end. Default 10,000 ms. */
  askEveryMs?: number | undefined;
  /** How long an answer may take. Default 5,000 ms. */
  answerMs?: number | undefined;
  /** From the loss of a connection to the first attempt at another. Default 1,000 ms. */
  reconnectMs?: number | undefined;
}

/** What brings announcements from the other nodes. */
export interface Carrier {
  /** Whether announcements arrive right now. */
  readonly open: boolean;
  stop(): Promise<void>;
}

export interface Hearer {
  onMessage(text: string): void;
  /** It is open, anew or for the first time: what was announced before was missed. */
  onOpen(): void;
}

/** One LISTEN connection to PostgreSQL, opened again whenever it drops. Rejects when it cannot be opened to begin with. */
export const startListener = async ({ url, channel, log, askEveryMs = ASK_MS, answerMs = ANSWER_MS, reconnectMs = RECONNECT_MS }: ListenerOptions, hearer: Hearer): Promise<Carrier> => {
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let asking: NodeJS.Timeout | undefined;
  let stopped = false;

  const connect = async (): Promise<void> => {
    const next = new Client({ connectionString: url, application_name: 'snapback events', keepAlive: true, connectionTimeoutMillis: CONNECT_MS, query_timeout: answerMs });
    const lost = (error?: Error): void => {
      if (client !== next) return;
      client = undefined;
      clearInterval(asking);
      if (stopped) return;
      log.warn('Lost the connection that announces job events; it is opened again.', { error: error?.message });
      retry();
    };
    next.on('error', lost);
    next.on('end', () => lost());
    next.on('notification', ({ payload }) => hearer.onMessage(payload ?? ''));
    try {
      await next.connect();
      await next.query(`LISTEN ${channel}`);
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
        next.end().catch((cause: unknown) => log.debug('A silent connection could not be closed.', { error: String(cause) }));
      });
    }, askEveryMs);
    hearer.onOpen();
  };

  const retry = (): void => {
    timer = setTimeout(() => {
      connect().catch((error: unknown) => {
        log.debug('Job events cannot be announced yet.', { error: String(error) });
        if (!stopped) retry();
      });
    }, reconnectMs);
  };

  await connect();
  return {
    get open() {
      return client !== undefined;
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      clearInterval(asking);
      const open = client;
      client = undefined;
      await open?.end();
    },
  };
};
