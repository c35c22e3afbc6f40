import { Redis, type RedisOptions } from 'ioredis';
import { type Socket } from 'node:net';
import { addressOf } from '../domain/address.js';
import { abortReason, DomainError } from '../domain/errors.js';
import { type Dial, type Endpoint, type Log } from './ports.js';
import { authArguments, authFailed, permissionMissing, refusalHint, replyCodeOf } from './resp.js';

/** An error reply that is none of ours to judge: callers branch on `replyCode`, the reply's first word (`ERR`, `LOADING`, …). */
export class ServerReplyError extends Error {
  readonly replyCode: string;

  /** @param command the command's name, never its arguments: they may hold secrets */
  constructor(readonly address: string, readonly command: string, readonly reply: string) {
    super(`${address} answered ${command} with: ${reply}`);
    this.name = 'ServerReplyError';
    this.replyCode = replyCodeOf(reply);
  }
}

export type Argument = string | number | Buffer;

export interface Control {
  /**
   * One command; the reply's bulk strings as UTF-8. Fails with ServerReplyError, PERMISSION_MISSING (`NOPERM`), AUTH_FAILED
   * (`NOAUTH`, `WRONGPASS`), PROTOCOL_ERROR, or CONNECT_FAILED when the connection ended or the time was up.
   */
  call(command: string, ...args: readonly Argument[]): Promise<unknown>;
  /** As `call`, with bulk strings as buffers. */
  callBuffer(command: string, ...args: readonly Argument[]): Promise<unknown>;
  /** INFO as a map of field to value, in the server's order and spelling. */
  info(section?: string): Promise<ReadonlyMap<string, string>>;
  readonly local: { address: string; port: number };
  readonly remote: { address: string; port: number };
  readonly alive: boolean;
  /** Called once when the connection has ended, whoever ended it; at once when it already has. */
  onClose(callback: () => void): void;
  close(): void;
}

export interface ControlOptions {
  /** Ends the connection, also after it was opened. */
  signal?: AbortSignal | undefined;
  /** For name, connect, TLS and AUTH together, and again for every command. Default 5,000 ms. */
  timeoutMs?: number | undefined;
  /** What is published on the channels that were subscribed to by SUBSCRIBE. */
  onMessage?: ((text: string) => void) | undefined;
}

export interface ControlDeps {
  dial: Dial;
  log: Log;
}

/** More than any reply to the commands sent here (CLIENT LIST of 100,000 clients has 40 MB); bounds what a server that is none can make us hold. */
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/** Hands ioredis a socket that the connect policy has already seen. ioredis' own connector would resolve names by itself. */
const connectorFor = (socket: Socket) =>
  class {
    connect(): Promise<Socket> {
      return Promise.resolve(socket);
    }
    check(): boolean {
      return true;
    }
    disconnect(): void {
      socket.destroy();
    }
  };

const clientOver = (socket: Socket): Redis =>
  new Redis({
    // ioredis types its connectors by an abstract class with private members; these three methods are all it calls.
    Connector: connectorFor(socket) as unknown as NonNullable<RedisOptions['Connector']>,
    lazyConnect: true,
    retryStrategy: () => null,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    disableClientInfo: true,
  });

/** What ioredis threw, in our words. Its own errors carry the command's arguments and so are never kept as a cause. */
const translate = (error: unknown, address: string, command: string): Error => {
  if (!(error instanceof Error)) return new DomainError('INTERNAL', `${command} to ${address} failed without an error.`);
  if (error.name === 'ReplyError') {
    const reply = new ServerReplyError(address, command, error.message);
    if (reply.replyCode === 'NOPERM') return permissionMissing(address, command, error.message);
    if (reply.replyCode === 'NOAUTH' || reply.replyCode === 'WRONGPASS') return authFailed(address, error.message);
    return reply;
  }
  if (error.name === 'ParserError') {
    return new DomainError('PROTOCOL_ERROR', `What listens on ${address} does not speak the Redis protocol (reply to ${command}).`, {
      hint: 'Check the port, and whether the server expects TLS.',
    });
  }
  return new DomainError('CONNECT_FAILED', `${address} closed the connection before it answered ${command}.`, {
    hint: 'Check that the server is up, accepts more clients, and whether it expects TLS.',
    retryable: true,
  });
};

const infoFields = (text: string): Map<string, string> => {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1).trimEnd());
  }
  return fields;
};

/**
 * Opens the control connection to a server: dialled through the policy, logged in, known to speak RESP. The first command
 * is AUTH, sent by us, and any error to it is final, also "no password is set" (ioredis would go on as the default user).
 * Never reconnects, never queues, never emits: what goes wrong is the rejection of the call it belongs to.
 *
 * Fails with CONNECT_FAILED (down, silent, closed), TARGET_NOT_ALLOWED, AUTH_FAILED, PROTOCOL_ERROR, or the signal's reason.
 * The caller closes it.
 */
export const openControl = async (endpoint: Endpoint, deps: ControlDeps, options: ControlOptions = {}): Promise<Control> => {
  const timeoutMs = options.timeoutMs ?? 5_000;
  const deadline = Date.now() + timeoutMs;
  const address = addressOf(endpoint);
  const { signal } = options;
  const socket = await deps.dial(endpoint, { signal, timeoutMs });
  const local = { address: socket.localAddress ?? '', port: socket.localPort ?? 0 };
  const remote = { address: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };

  const client = clientOver(socket);
  const callbacks = new Set<() => void>();
  let closed = false;
  let unanswered = 0;
  client.on('error', (error: Error) => {
    // The call that was waiting is rejected with the same error; what arrives unasked for is kept for whoever reads the log.
    deps.log.debug('control connection error', { address, error: error.name });
  });
  const { onMessage } = options;
  if (onMessage) client.on('message', (_channel: string, text: string) => onMessage(text));
  socket.on('data', (chunk: Buffer) => {
    unanswered += chunk.length;
    if (unanswered > MAX_REPLY_BYTES) socket.destroy();
  });
  const close = (): void => {
    client.disconnect();
    socket.destroy();
  };
  const onClosed = (): void => {
    if (closed) return;
    closed = true;
    signal?.removeEventListener('abort', close);
    for (const callback of callbacks) callback();
    callbacks.clear();
  };
  socket.once('close', onClosed);
  signal?.addEventListener('abort', close, { once: true });

  const run = async (command: string, send: () => Promise<unknown>, ms: number): Promise<unknown> => {
    if (signal?.aborted) throw abortReason(signal);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(
        () => fail(new DomainError('CONNECT_FAILED', `${address} did not answer ${command} within ${timeoutMs} ms.`, {
          hint: 'The server is silent, overloaded, or no Redis at all: check the port and the server.',
          retryable: true,
        })),
        Math.max(1, ms),
      );
    });
    try {
      return await Promise.race([send(), late]);
    } catch (error) {
      if (signal?.aborted) throw abortReason(signal);
      throw error instanceof DomainError ? error : translate(error, address, command);
    } finally {
      clearTimeout(timer);
      unanswered = 0;
    }
  };
  const nameOf = (command: string, args: readonly Argument[]): string =>
    CONTAINERS.has(command.toUpperCase()) && typeof args[0] === 'string' ? `${command} ${args[0]}`.toUpperCase() : command.toUpperCase();
  const call = (command: string, ...args: readonly Argument[]): Promise<unknown> =>
    run(nameOf(command, args), () => client.call(command, ...args), timeoutMs);

  try {
    await run('the first command', () => client.connect(), deadline - Date.now());
    await logIn(endpoint, address, (command, ...args) => run(command, () => client.call(command, ...args), deadline - Date.now()));
  } catch (error) {
    close();
    throw error;
  }

  return {
    call,
    callBuffer: (command, ...args) => run(nameOf(command, args), () => client.callBuffer(command, ...args), timeoutMs),
    info: async (section) => {
      const text = await (section === undefined ? call('INFO') : call('INFO', section));
      if (typeof text === 'string') return infoFields(text);
      throw new DomainError('PROTOCOL_ERROR', `${address} answered INFO with something that is no text.`, { hint: 'Check that this is a Redis or Valkey server.' });
    },
    local,
    remote,
    get alive() {
      return !closed && !socket.destroyed;
    },
    onClose: (callback) => {
      if (closed) callback();
      else callbacks.add(callback);
    },
    close,
  };
};

/** Commands whose first argument names the right that is needed; the second arguments of others may be secrets. */
const CONTAINERS: ReadonlySet<string> = new Set(['CONFIG', 'CLIENT', 'ACL', 'CLUSTER', 'COMMAND', 'FUNCTION', 'SCRIPT', 'DEBUG', 'MODULE', 'MEMORY', 'LATENCY']);

/**
 * AUTH where a credential is given, else PING. Error replies to PING other than a demanded login are fine: a server that
 * loads, or a user without the right to PING, has still answered in RESP.
 */
const logIn = async (endpoint: Endpoint, address: string, call: Control['call']): Promise<void> => {
  const credential = authArguments(endpoint);
  try {
    const reply = await (credential ? call('AUTH', ...credential) : call('PING'));
    if (reply === (credential ? 'OK' : 'PONG')) return;
    throw new DomainError('PROTOCOL_ERROR', `What listens on ${address} answers like no Redis server.`, { hint: 'Check the port.' });
  } catch (error) {
    if (!(error instanceof ServerReplyError)) {
      if (error instanceof DomainError && error.code === 'PERMISSION_MISSING' && !credential) return;
      throw error;
    }
    const hint = refusalHint(error.reply);
    if (hint !== undefined) throw new DomainError('CONNECT_FAILED', `${address} refuses this client: ${error.reply}`, { hint, retryable: true });
    if (credential) throw authFailed(address, error.reply);
  }
};
