import { createServer, type AddressInfo, type Server } from 'node:net';
import { RequestParser } from '../../../server/engine/target/request-parser.js';
import { answer, type LegacyClient, type LegacyHost } from './commands.js';
import { feedReplica } from './feed.js';
import { Follower } from './follower.js';
import { Keyspace } from './keyspace.js';
import { LegacyNode } from './node.js';
import { PROFILES, type LegacyVersion } from './profile.js';

export { type LegacyVersion } from './profile.js';
export { WRITTEN_WHILE_SAVING } from './feed.js';

export interface LegacyServerOptions {
  version: LegacyVersion;
  /** `requirepass`. */
  password?: string;
  /** What it holds at first. */
  rdb?: Uint8Array;
  /** Settings over its defaults, as CONFIG GET shows them (`masterauth`, `slave-read-only`, …). */
  config?: Readonly<Record<string, string>>;
  /** Makes it one of a version that is still to come: what INFO says, and the file that it holds, of whatever content. It keeps the files it receives, too. */
  future?: { version: string; file: Buffer };
  /** A client writes, and replicas are pinged, while it saves. Default true. */
  busy?: boolean;
  /** Default 20 ms. */
  saveMs?: number;
  /** Default 20 ms. */
  loadMs?: number;
  /** The newest RDB version it loads; default that of its version. Lower: a server that is older than it says. */
  loadsUpTo?: number;
  /** Period of its replication cron. Default 50 ms; a real one has 1,000. */
  cronMs?: number;
  /** Called with every command of every client, before it is carried out. */
  onCommand?: (command: readonly string[], server: LegacyServer) => void;
}

/** A scripted Redis of a version that cannot be had any more. `stop` it in `afterEach` or `finally`. */
export interface LegacyServer {
  readonly version: LegacyVersion;
  readonly host: string;
  readonly port: number;
  readonly runId: string;
  /** Keys per database that has any. */
  keys(): Record<string, number>;
  role(): 'master' | 'slave';
  /** Equal for two scripted servers exactly when their data is, expiry times included. */
  digestLike(): string;
  /** A client's write; it goes into the stream of attached replicas too. */
  setKey(key: string, value: string, options?: { database?: number; expiresAtMs?: number }): void;
  /** A string that is stored plainly; null for every other key. */
  value(key: string, database?: number): string | null;
  setting(name: string): string;
  /** `master_repl_offset`. */
  offset(): number;
  /** All commands of all clients in order, names in upper case, passwords and all. */
  readonly commands: readonly (readonly string[])[];
  /** Its commands that make it a replica of a server, or a master again. */
  slaveofs(): string[];
  /** Files it has sent to replicas, without what followed them. */
  readonly sent: readonly Buffer[];
  /** Files it has received from masters, loaded or not. */
  received(): readonly Buffer[];
  /** While it sends its next file, after so many bytes, it dies as by SIGKILL. */
  crashAfter(bytes: number): void;
  stop(): Promise<void>;
}

/** What `digestLike` of a server says that holds just this file. */
export const digestOfRdb = (rdb: Uint8Array): string => Keyspace.fromRdb(rdb).digest();

/** Starts a scripted server on 127.0.0.1 that keeps, saves, sends, receives and loads data as that version does. */
export const startLegacyServer = async (options: LegacyServerOptions): Promise<LegacyServer> => {
  const { version, password = '', rdb, config = {}, busy = true, saveMs = 20, loadMs = 20, cronMs = 50, future, loadsUpTo = future ? 9_999 : PROFILES[version].rdbVersion, onCommand } = options;
  const node = new LegacyNode(version, { requirepass: password, ...config }, future?.version);
  node.file = future?.file;
  const held = rdb ?? future?.file;
  if (held) node.keyspace = Keyspace.fromRdb(held);
  const clients = new Set<LegacyClient>();
  const commands: string[][] = [];
  const sent: Buffer[] = [];
  const received: Buffer[] = [];
  let follower: Follower | undefined;
  let crashAfterBytes: number | undefined;
  let lastId = 0;

  const unfollow = (): void => {
    follower?.stop();
    if (follower) received.push(...follower.received);
    follower = undefined;
    node.loading = undefined;
  };
  const die = (): Promise<void> => {
    unfollow();
    const closed = new Promise<void>((done) => { listener.close(() => { done(); }); });
    for (const { socket } of clients) socket.destroy();
    return closed;
  };
  const host: LegacyHost = {
    node, clients,
    get port() { return server.port; },
    follow: (to, port) => {
      unfollow();
      node.follow(to, port);
      follower = new Follower(node, { host: to, port }, { cronMs, loadMs, loadsUpTo });
    },
    promote: () => {
      unfollow();
      node.promote();
    },
    feed: ({ socket }) => {
      const crash = crashAfterBytes === undefined ? undefined : { afterBytes: crashAfterBytes, now: () => void die() };
      void feedReplica(node, socket, { saveMs, busy, crash, onSent: (file) => sent.push(file) });
    },
  };
  const listener: Server = createServer((socket) => {
    const client: LegacyClient = { id: (lastId += 1), socket, loggedIn: false, database: 0, name: '' };
    clients.add(client);
    const parser = new RequestParser();
    socket.on('error', () => undefined);
    socket.once('close', () => clients.delete(client));
    socket.on('data', (chunk: Buffer) => {
      for (const request of parser.push(chunk)) {
        const [name = '', ...args] = request.map((word) => word.toString('latin1'));
        const command = [name.toUpperCase(), ...args];
        commands.push(command);
        onCommand?.(command, server);
        const reply = answer([name, ...args], client, host);
        if (reply !== undefined && !socket.destroyed) socket.write(reply);
      }
    });
  });
  const server: LegacyServer = {
    version, host: '127.0.0.1', runId: node.runId, commands, sent,
    get port() { return (listener.address() as AddressInfo | null)?.port ?? 0; },
    keys: () => Object.fromEntries(node.keyspace.counts().map(({ database, keys }) => [String(database), keys])),
    role: () => (node.master ? 'slave' : 'master'),
    digestLike: () => node.keyspace.digest(),
    setKey: (key, value, { database = 0, expiresAtMs } = {}) => { node.write(database, Buffer.from(key), Buffer.from(value), expiresAtMs ?? null); },
    value: (key, database = 0) => node.keyspace.get(database, Buffer.from(key))?.toString() ?? null,
    setting: (name) => node.setting(name),
    offset: () => node.offset,
    slaveofs: () => commands.filter(([name, to, port]) => name === 'SLAVEOF' && (/^\d+$/.test(port ?? '') || to?.toUpperCase() === 'NO')).map((command) => command.join(' ')),
    received: () => [...received, ...(follower?.received ?? [])],
    crashAfter: (bytes) => { crashAfterBytes = bytes; },
    stop: () => (listener.listening ? die() : Promise.resolve()),
  };
  await new Promise<void>((done, fail) => {
    listener.once('error', fail);
    listener.listen(0, '127.0.0.1', done);
  });
  return server;
};
