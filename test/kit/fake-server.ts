import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Socket } from 'node:net';

/** One client's connection to a scripted server. */
export interface FakeLink {
  readonly closed: boolean;
  /** Commands received on this connection, names in upper case. */
  readonly commands: readonly (readonly string[])[];
  /** Resolves when the kernel has taken the bytes; false when the client is gone. Send one after the other. */
  send(bytes: string | Uint8Array): Promise<boolean>;
  /** Closes in order (FIN), or with `abort` by a reset. */
  end(how?: 'abort'): void;
  /** Resolves when the client has gone. */
  readonly gone: Promise<void>;
}

/** Bytes to send, or undefined for none. */
type Reply = string | Uint8Array | undefined;
export type FakeHandler = (link: FakeLink, command: readonly string[]) => Reply | Promise<Reply>;

export interface FakeServerOptions {
  /** Default 7.0.15. */
  version?: string;
  engine?: 'REDIS' | 'VALKEY';
  /** Demanded from every connection; any user name will do. */
  password?: string;
  /** Fields over those INFO has by default; undefined takes one out. */
  info?: Readonly<Record<string, string | number | undefined>>;
  /** Replies by command name, or by name and first argument (`REPLCONF rdb-only`); they go before the defaults. */
  commands?: Readonly<Record<string, FakeHandler | string>>;
  /** What follows PSYNC, header and all. Default: an error reply. */
  psync?: (link: FakeLink, server: FakeServer) => Promise<void> | void;
  /** Replaces everything: called with each new connection, which gets nothing by itself. */
  raw?: (socket: Socket) => void;
}

export interface FakeServer {
  readonly host: string;
  readonly port: number;
  readonly runId: string;
  readonly replicationId: string;
  /** All commands on all connections, in order. */
  readonly commands: readonly (readonly string[])[];
  readonly openConnections: number;
  stop(): Promise<void>;
}

/** Bulk string reply. */
export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

/**
 * A server that speaks just enough RESP to be probed and to be asked for a backup, and then does what its script says. For
 * what no real server can be made to do.
 */
export const startFakeServer = async (options: FakeServerOptions = {}): Promise<FakeServer> => {
  const commands: (readonly string[])[] = [];
  const sockets = new Set<Socket>();
  const runId = randomBytes(20).toString('hex');
  const replicationId = randomBytes(20).toString('hex');
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    if (options.raw) options.raw(socket);
    else serve(socket, options, fake, commands);
  });
  const fake: FakeServer = {
    host: '127.0.0.1',
    get port() { return (listener.address() as AddressInfo).port; },
    runId, replicationId, commands,
    get openConnections() { return sockets.size; },
    stop: () => new Promise((done) => {
      listener.close(() => { done(); });
      for (const socket of sockets) socket.destroy();
    }),
  };
  await new Promise<void>((done, fail) => {
    listener.once('error', fail);
    listener.listen(0, '127.0.0.1', done);
  });
  return fake;
};

const serve = (socket: Socket, options: FakeServerOptions, fake: FakeServer, all: (readonly string[])[]): void => {
  const own: (readonly string[])[] = [];
  const link: FakeLink = {
    get closed() { return socket.destroyed; },
    commands: own,
    send: (bytes) => new Promise((done) => {
      if (socket.destroyed) done(false);
      else socket.write(bytes, (error) => { done(!error); });
    }),
    end: (how) => {
      if (how === 'abort') socket.resetAndDestroy();
      else socket.end();
    },
    gone: new Promise((done) => { socket.once('close', () => { done(); }); }),
  };
  const state = { loggedIn: options.password === undefined };
  let pending = '';
  let turn = Promise.resolve();
  socket.on('data', (chunk: Buffer) => {
    pending += chunk.toString('latin1');
    for (let next = takeCommand(pending); next; next = takeCommand(pending)) {
      pending = next.rest;
      const [name = '', ...args] = next.command;
      const command = [name.toUpperCase(), ...args];
      own.push(command);
      all.push(command);
      turn = turn.then(async () => {
        const reply = await answer(link, command, options, fake, state);
        if (reply !== undefined) await link.send(reply);
      });
    }
  });
};

const answer = async (link: FakeLink, command: readonly string[], options: FakeServerOptions, fake: FakeServer, state: { loggedIn: boolean }): Promise<Reply> => {
  const [name = '', first = ''] = command;
  const handler = options.commands?.[`${name} ${first.toLowerCase()}`] ?? options.commands?.[name];
  if (handler !== undefined) return typeof handler === 'string' ? handler : await handler(link, command);
  if (name === 'AUTH') {
    if (options.password === undefined) return '-ERR Client sent AUTH, but no password is set\r\n';
    state.loggedIn = command.at(-1) === options.password;
    return state.loggedIn ? '+OK\r\n' : '-WRONGPASS invalid username-password pair\r\n';
  }
  if (!state.loggedIn) return '-NOAUTH Authentication required.\r\n';
  if (name === 'PING') return '+PONG\r\n';
  if (name === 'REPLCONF') return '+OK\r\n';
  if (name === 'INFO') return bulk(infoText(options, fake));
  if (name === 'PSYNC' && options.psync) {
    await options.psync(link, fake);
    return undefined;
  }
  return `-ERR unknown command '${name}'\r\n`;
};

const infoText = ({ version = '7.0.15', engine = 'REDIS', info = {} }: FakeServerOptions, fake: FakeServer): string => {
  const fields: Record<string, string | number | undefined> = {
    redis_version: engine === 'VALKEY' ? '7.2.4' : version,
    ...(engine === 'VALKEY' ? { server_name: 'valkey', valkey_version: version } : {}),
    redis_mode: 'standalone', run_id: fake.runId, role: 'master', connected_slaves: 0, master_replid: fake.replicationId, master_repl_offset: 0,
    used_memory: 1_000_000, maxmemory: 0, maxmemory_policy: 'noeviction', aof_enabled: 0, loading: 0, cluster_enabled: 0, db0: 'keys=1,expires=0,avg_ttl=0',
    ...info,
  };
  return `# Everything\r\n${Object.entries(fields).filter(([, value]) => value !== undefined).map(([key, value]) => `${key}:${String(value)}\r\n`).join('')}`;
};

const takeCommand = (text: string): { command: string[]; rest: string } | undefined => {
  const head = /^\*(\d+)\r\n/.exec(text);
  if (!head) return undefined;
  const command: string[] = [];
  let at = head[0].length;
  for (let i = 0; i < Number(head[1]); i += 1) {
    const length = /^\$(\d+)\r\n/.exec(text.slice(at, at + 20));
    if (!length) return undefined;
    at += length[0].length;
    const end = at + Number(length[1]);
    if (text.length < end + 2) return undefined;
    command.push(text.slice(at, end));
    at = end + 2;
  }
  return { command, rest: text.slice(at) };
};
