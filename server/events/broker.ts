import { type Log } from '../engine/ports.js';
import { type Carrier, type Hearer } from './listener.js';

const RECONNECT_MS = 1_000;
const ASK_MS = 10_000;
/** A server that answers nothing must not gather what is published to it. */
const MOST_UNANSWERED = 1_000;

/** A connection to a Redis or Valkey server; each call has its own time limit. */
export interface BrokerLink {
  /** @param command in small letters: by these ioredis tells which it may send while it listens */
  call(command: string, ...args: readonly string[]): Promise<unknown>;
  /** Called once when it has ended, whoever ended it. */
  onClose(callback: () => void): void;
  close(): void;
}

export interface BrokerOptions {
  /** @param onMessage is given what is published on a channel that the link has subscribed to */
  open(onMessage: (text: string) => void): Promise<BrokerLink>;
  channel: string;
  log: Log;
  /** How often the connections are asked whether anybody is at their other end. Default 10,000 ms. */
  askEveryMs?: number | undefined;
  /** From the loss of a connection to the first attempt at another. Default 1,000 ms. */
  reconnectMs?: number | undefined;
}

export interface Broker extends Carrier {
  /** Never waits and never fails: a message that does not go out is one announcement less. */
  publish(text: string): void;
}

/**
 * Redis' pub/sub: a connection that listens and one that publishes, opened again together whenever one of them drops. Never keeps anybody waiting, not
 * even at the start.
 */
export const startBroker = ({ open, channel, log, askEveryMs = ASK_MS, reconnectMs = RECONNECT_MS }: BrokerOptions, hearer: Hearer): Broker => {
  let links: { listening: BrokerLink; publishing: BrokerLink } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let asking: NodeJS.Timeout | undefined;
  let stopped = false;
  let told = false;
  let unanswered = 0;
  let connecting: Promise<void> | undefined;

  const lost = (): void => {
    const former = links;
    if (!former) return;
    links = undefined;
    clearInterval(asking);
    former.listening.close();
    former.publishing.close();
    if (stopped) return;
    log.warn('Lost the Redis server that announces job events; PostgreSQL announces them meanwhile.');
    told = true;
    retry();
  };

  const connect = async (): Promise<void> => {
    const opened: BrokerLink[] = [];
    try {
      const listening = await open((text) => hearer.onMessage(text));
      opened.push(listening);
      await listening.call('subscribe', channel);
      const publishing = await open(() => undefined);
      opened.push(publishing);
      if (stopped) throw new Error('stopped');
      links = { listening, publishing };
    } catch (error) {
      for (const link of opened) link.close();
      throw error;
    }
    unanswered = 0;
    for (const link of opened) link.onClose(lost);
    // Also what keeps a firewall from forgetting them.
    asking = setInterval(() => {
      for (const link of opened) link.call('ping').catch(lost);
    }, askEveryMs);
    if (told) log.info('The Redis server that announces job events is back.');
    told = false;
    hearer.onOpen();
  };

  const attempt = (): void => {
    connecting = connect().catch((error: unknown) => {
      if (stopped) return;
      log[told ? 'debug' : 'warn']('The Redis server that is to announce job events cannot be used; PostgreSQL announces them meanwhile.', { error: error instanceof Error ? error.message : String(error) });
      told = true;
      retry();
    });
  };

  const retry = (): void => {
    timer = setTimeout(attempt, reconnectMs);
  };

  attempt();
  return {
    get open() {
      return links !== undefined;
    },
    publish(text) {
      if (!links || unanswered >= MOST_UNANSWERED) return;
      unanswered += 1;
      links.publishing.call('publish', channel, text).then(() => {
        unanswered -= 1;
      }, lost);
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      clearInterval(asking);
      lost();
      await connecting;
    },
  };
};
