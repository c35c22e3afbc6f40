import { makeRedactor } from './redact.js';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  /** Least important level that is written. Default `info`. */
  level?: LogLevel | undefined;
  /** One JSON object per line for machines, or one readable line for people. Default `json`. */
  format?: 'json' | 'text' | undefined;
  /** Gets whole lines, line feed included. */
  write(line: string): void;
  now?: (() => Date) | undefined;
}

/** Fits the `Log` port of the engine. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
  /** A logger that adds these fields to every line. */
  with(fields: Record<string, unknown>): Logger;
  /** Hides this value in all lines from now on, of this logger and of those made from it. */
  hide(secret: string): void;
}

const inline = (value: unknown): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value) ?? '';
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
};

/** Line feeds and control characters from outside must not forge lines or drive a terminal. */
const oneLine = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

interface Sayable {
  at: string;
  level: LogLevel;
  message: string;
  fields: Record<string, unknown>;
}

const asJson = ({ at, level, message, fields }: Sayable): string => JSON.stringify({ ...fields, at, level, message });

/** Fields on one line; of an error its message stands there and the stack follows, indented. */
const asText = ({ at, level, message, fields }: Sayable): string => {
  let stack = '';
  const parts = Object.entries(fields).filter(([, value]) => value !== undefined).map(([name, value]) => {
    if (typeof value === 'object' && value !== null && 'stack' in value && 'message' in value) {
      if (level === 'error') stack += `\n${String(value.stack).split('\n').slice(1).map(oneLine).join('\n')}`;
      return `${name}=${inline(value.message)}`;
    }
    return `${name}=${inline(value)}`;
  });
  return `${oneLine([at, level.toUpperCase().padEnd(5), message, ...parts].join(' '))}${stack}`;
};

/** A structured, redacting log. Never throws: a value that cannot be written is said to be so. */
export const createLogger = ({ level: least = 'info', format = 'json', write, now = () => new Date() }: LoggerOptions): Logger => {
  const redactor = makeRedactor();
  const threshold = LOG_LEVELS.indexOf(least);
  const render = format === 'json' ? asJson : asText;

  const make = (bound: Record<string, unknown>): Logger => {
    const say = (level: LogLevel) => (message: string, fields: Record<string, unknown> = {}): void => {
      if (LOG_LEVELS.indexOf(level) < threshold) return;
      const head = { at: now().toISOString(), level, message: redactor.text(message) };
      let line: string;
      try {
        line = render({ ...head, fields: redactor.value({ ...bound, ...fields }) as Record<string, unknown> });
      } catch (error) {
        line = render({ ...head, fields: { unwritable: redactor.text(String(error)) } });
      }
      write(`${line}\n`);
    };
    return {
      debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error'),
      with: (fields) => make({ ...bound, ...fields }),
      hide: (secret) => redactor.register(secret),
    };
  };
  return make({});
};
