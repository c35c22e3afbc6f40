import type { Transport } from './client-events.js';
import type { Connection } from './connection.js';
import { once } from './nouns.js';
import type { CallOptions } from './options.js';
import type { Carrier } from './subscription.js';

export interface NamedCarrier {
  name: Transport;
  carrier(): Promise<Carrier>;
}

/** The ways that events can come, the best first. Nothing of one is loaded before it is tried. */
export const carriers = (connection: Connection, { headers }: CallOptions): readonly NamedCarrier[] => [
  { name: 'socket', carrier: () => connection.socket() },
  { name: 'sse', carrier: once(async () => (await import('./event-streams.js')).createEventStreams(connection, headers)) },
];
