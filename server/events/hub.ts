import { type Broker, type BrokerOptions, startBroker } from './broker.js';
import { type Carrier, type ListenerOptions, startListener } from './listener.js';

/** Called when something happened on a topic, or when something may have been missed. Carries no data: the reader looks for itself. */
export type Wake = () => void;

/** Learns of new events from every node and wakes who waits for them. */
export interface EventHub {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** @param topic a job's, a project's or an API key's id, or a `stateTopic`. Returns the way to stop. */
  onEvent(topic: string, wake: Wake): () => void;
  /** Tells the other nodes by Redis, where there is one, of what has been committed; PostgreSQL has told them itself. Waits for nothing. */
  announce(topics: readonly string[]): void;
  /** Whether announcements arrive right now, in whatever way; readers poll in any case. */
  readonly listening: boolean;
  /** Whether those of Redis do; null where there is none. */
  readonly brokered: boolean | null;
}

export interface EventHubOptions extends ListenerOptions {
  /** Redis' pub/sub besides. Both carry the same: whoever is woken twice looks twice. */
  broker?: Omit<BrokerOptions, 'channel' | 'log'> | undefined;
}

/**
 * One listening connection per process, and another to Redis where there is one. When a dropped one is open again everybody is woken, since what was
 * announced in between may be lost.
 */
export const createEventHub = (options: EventHubOptions): EventHub => {
  const wakes = new Map<string, Set<Wake>>();
  let listener: Carrier | undefined;
  let broker: Broker | undefined;

  const wake = (topic: string): void => {
    for (const listening of wakes.get(topic) ?? []) listening();
  };
  const hearer = {
    onMessage: (text: string) => text.split(' ').forEach(wake),
    onOpen: () => [...wakes.keys()].forEach(wake),
  };

  return {
    async start() {
      listener = await startListener(options, hearer);
      if (options.broker) broker = startBroker({ reconnectMs: options.reconnectMs, ...options.broker, channel: options.channel, log: options.log }, hearer);
    },
    async stop() {
      await Promise.all([listener?.stop(), broker?.stop()]);
    },
    onEvent(topic, listening) {
      const listeners = wakes.get(topic) ?? new Set();
      wakes.set(topic, listeners.add(listening));
      return () => {
        listeners.delete(listening);
        if (listeners.size === 0 && wakes.get(topic) === listeners) wakes.delete(topic);
      };
    },
    announce: (topics) => broker?.publish(topics.join(' ')),
    get listening() {
      return listener?.open === true || broker?.open === true;
    },
    get brokered() {
      return options.broker ? broker?.open === true : null;
    },
  };
};
