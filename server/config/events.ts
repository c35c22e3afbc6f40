import { type SettingsReader } from './reader.js';

/** How nodes tell each other of job events, and how many clients may follow them. */
export interface EventSettings {
  /** Redis' pub/sub besides PostgreSQL; null: PostgreSQL alone. */
  readonly redis: { readonly host: string; readonly port: number; readonly tls: boolean; readonly username: string | null; readonly password: string | null } | null;
  /** Sockets and streams at once in this process. */
  readonly maxSockets: number;
  /** The same of one key. */
  readonly maxSocketsOfKey: number;
}

const redis = (settings: SettingsReader): EventSettings['redis'] => {
  const value = settings.text('EVENTS_REDIS_URL');
  if (value === undefined) return null;
  const parsed = URL.canParse(value) ? new URL(value) : undefined;
  // A database's number is nothing that pub/sub knows; the value itself is left out, since it may hold a password.
  if (!parsed || !['redis:', 'rediss:'].includes(parsed.protocol) || parsed.hostname === '' || !['', '/'].includes(parsed.pathname) || parsed.search !== '' || parsed.hash !== '') {
    return settings.wrong('EVENTS_REDIS_URL', 'must be a URL such as redis://user:password@host:6379, or rediss:// for TLS, with nothing behind the port', null);
  }
  const text = (part: string): string | null => (part === '' ? null : decodeURIComponent(part));
  try {
    return {
      host: parsed.hostname.replace(/^\[|\]$/g, ''), port: parsed.port === '' ? 6379 : Number(parsed.port), tls: parsed.protocol === 'rediss:', username: text(parsed.username), password: text(parsed.password),
    };
  } catch {
    return settings.wrong('EVENTS_REDIS_URL', 'has a user or a password with a % that begins no escape', null);
  }
};

export const eventSettings = (settings: SettingsReader): EventSettings => {
  const maxSockets = settings.integer('MAX_SOCKETS', 5_000, 1, 1_000_000);
  return { redis: redis(settings), maxSockets, maxSocketsOfKey: settings.integer('MAX_SOCKETS_OF_KEY', 500, 1, 1_000_000) };
};
