/*
 * Secrets are not to be logged to begin with; this is the net under that rule. It works on names (a field called `password`), on shapes
 * (our API keys, credentials in a URL) and on values (secrets that were registered).
 */

const SECRET_NAME = /pass(?:word|wd|phrase)?$|^auth$|authorization|secret|token|cookie|credential|private_?key|api_?key|master_?key|^key$|^cert$|^ca$/i;
/** Names that match above but hold nothing secret. */
const HARMLESS_NAME = /^(?:hasPassword|keyId|masterKeyId|tokens|idempotencyKey)$/;

const SHAPES: readonly [RegExp, string][] = [
  [/\bsb_[A-Za-z0-9_-]{4,}/g, 'sb_[redacted]'],
  [/\beyJ[\w-]{8,}\.[\w-]{2,}(?:\.[\w-]*)?/g, '[redacted token]'],
  [/\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}/gi, '$1 [redacted]'],
  [/(\b[a-z][a-z0-9+.-]{0,20}:\/\/)[^\s/@:]*:[^\s/@]+@/gi, '$1[redacted]@'],
  [/(\/downloads\/)[A-Za-z0-9._~-]+/g, '$1[redacted]'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[redacted private key]'],
];

const MAX_DEPTH = 6;
const MAX_ITEMS = 100;
const MAX_TEXT = 8_192;

export interface Redactor {
  /** A value as it may be written: JSON-able, bounded, without secrets. */
  value(value: unknown, name?: string): unknown;
  text(text: string): string;
  /** From now on this value is hidden wherever it stands. Values shorter than 6 characters are left out: they would hide half the log. */
  register(secret: string): void;
}

export const makeRedactor = (): Redactor => {
  const secrets = new Set<string>();

  const text = (raw: string): string => {
    let clean = raw;
    for (const secret of secrets) clean = clean.replaceAll(secret, '[redacted]');
    // Shapes look at twice of what is kept: a secret that the cut would halve is still whole then.
    clean = clean.slice(0, 2 * MAX_TEXT);
    for (const [shape, instead] of SHAPES) clean = clean.replace(shape, instead);
    return raw.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}… (${raw.length} characters)` : clean;
  };

  const errorOf = (error: Error, depth: number, seen: ReadonlySet<object>): unknown => {
    const more: Record<string, unknown> = {};
    for (const name of ['code', 'hint', 'details', 'errno', 'syscall', 'address', 'port'] as const) {
      const held: unknown = Reflect.get(error, name);
      if (held !== undefined) more[name] = walk(held, name, depth + 1, seen);
    }
    return {
      name: error.name, message: text(error.message), ...more,
      ...(error.stack !== undefined && { stack: text(error.stack) }),
      ...(error.cause !== undefined && { cause: walk(error.cause, undefined, depth + 1, seen) }),
    };
  };

  const walk = (value: unknown, name: string | undefined, depth: number, above: ReadonlySet<object>): unknown => {
    if (name !== undefined && (typeof value === 'string' || typeof value === 'object') && value !== null && SECRET_NAME.test(name) && !HARMLESS_NAME.test(name)) return '[redacted]';
    if (typeof value === 'string') return text(value);
    if (typeof value === 'bigint') return value.toString();
    if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
    if (typeof value !== 'object' || value === null) return value;
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
    if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
    if (above.has(value)) return '[circular]';
    if (depth >= MAX_DEPTH) return '[deeper]';
    const seen = new Set(above).add(value);
    if (value instanceof Error) return errorOf(value, depth, seen);
    if (value instanceof Map) return walk(Object.fromEntries(value), undefined, depth, seen);
    const items: Iterable<unknown> | undefined = Array.isArray(value) || value instanceof Set ? value : undefined;
    if (items) return [...items].slice(0, MAX_ITEMS).map((item) => walk(item, undefined, depth + 1, seen));
    return Object.fromEntries(Object.entries(value).slice(0, MAX_ITEMS).map(([key, held]) => [key, walk(held, key, depth + 1, seen)]));
  };

  return {
    text,
    value: (value, name) => walk(value, name, 0, new Set()),
    register: (secret) => void (secret.length >= 6 && secrets.add(secret)),
  };
};
