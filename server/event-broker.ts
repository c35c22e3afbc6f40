import { type Config } from './config/config.js';
import { openControl } from './engine/control.js';
import { type Dial } from './engine/ports.js';
import { type EventHubOptions } from './events/hub.js';
import { type Logger } from './telemetry/logger.js';

/** How this node reaches the Redis server that carries announcements besides PostgreSQL; undefined where there is none. */
export const brokerOf = ({ events: { redis } }: Config, deps: { dial: Dial; log: Logger }): EventHubOptions['broker'] => {
  if (redis === null) return undefined;
  const { host, port, tls, username, password } = redis;
  if (password !== null) deps.log.hide(password);
  return { open: (onMessage) => openControl({ host, port, username: username ?? undefined, password: password ?? undefined, tls: tls ? {} : undefined }, deps, { onMessage }) };
};
