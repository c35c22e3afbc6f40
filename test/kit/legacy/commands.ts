import { type Socket } from 'node:net';
import { infoText } from './info.js';
import { type LegacyNode } from './node.js';

/** One client's connection. */
export interface LegacyClient {
  readonly id: number;
  readonly socket: Socket;
  loggedIn: boolean;
  database: number;
  name: string;
}

/** What commands may reach beyond the data. */
export interface LegacyHost {
  readonly node: LegacyNode;
  readonly port: number;
  readonly clients: ReadonlySet<LegacyClient>;
  follow(host: string, port: number): void;
  promote(): void;
  /** Answers a PSYNC and goes on from there. */
  feed(client: LegacyClient): void;
}

/** What is sent; undefined for nothing. */
type Reply = string | Buffer | undefined;
type Handler = (args: readonly string[], client: LegacyClient, host: LegacyHost) => Reply;

const OK = '+OK\r\n';
const NOT_AN_INTEGER = '-ERR value is not an integer or out of range\r\n';
const WRITES: ReadonlySet<string> = new Set(['SET', 'DEL', 'FLUSHALL']);
/** Answered while the server loads. */
const WHILE_LOADING: ReadonlySet<string> = new Set(['AUTH', 'INFO', 'SELECT', 'REPLCONF', 'COMMAND']);

const bulk = (value: string | Buffer): Buffer => {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  return Buffer.concat([Buffer.from(`$${String(bytes.length)}\r\n`), bytes, Buffer.from('\r\n')]);
};
const bulks = (values: readonly string[]): string => `*${String(values.length)}\r\n${values.map((value) => bulk(value).toString('latin1')).join('')}`;
const arity = (name: string): string => `-ERR wrong number of arguments for '${name.toLowerCase()}' command\r\n`;
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

/** No user names before 6.0: AUTH takes one argument. */
const auth: Handler = (args, client, { node }) => {
  if (args.length !== 1) return arity('auth');
  if (node.setting('requirepass') === '') return '-ERR Client sent AUTH, but no password is set\r\n';
  client.loggedIn = args[0] === node.setting('requirepass');
  return client.loggedIn ? OK : '-ERR invalid password\r\n';
};

/** Parameters that CONFIG SET does not change at run time. */
const FIXED: ReadonlySet<string> = new Set(['databases']);

const config: Handler = ([action = '', name = '', value], _client, { node }) => {
  switch (action.toUpperCase()) {
    case 'GET': {
      const pattern = new RegExp(`^${name.toLowerCase().replaceAll('*', '.*')}$`);
      return bulks([...node.settings].filter(([setting]) => pattern.test(setting)).flat());
    }
    case 'SET':
      if (value === undefined) return '-ERR Wrong number of arguments for CONFIG set\r\n';
      if (!node.settings.has(name.toLowerCase()) || FIXED.has(name.toLowerCase())) return `-ERR Unsupported CONFIG parameter: ${name}\r\n`;
      node.settings.set(name.toLowerCase(), value);
      return OK;
    case 'REWRITE': return '-ERR The server is running without a config file\r\n';
    case 'RESETSTAT': return OK;
    default: return '-ERR CONFIG subcommand must be one of GET, SET, RESETSTAT, REWRITE\r\n';
  }
};

const clientList = (clients: Iterable<LegacyClient>): string => [...clients].map(({ id, socket, name, database }) =>
  `id=${String(id)} addr=${socket.remoteAddress ?? '?'}:${String(socket.remotePort ?? 0)} fd=${String(id + 5)} name=${name} age=0 idle=0 flags=N db=${String(database)} sub=0 psub=0 multi=-1 qbuf=0 qbuf-free=32768 obl=0 oll=0 omem=0 events=r cmd=client\n`).join('');

const client: Handler = ([action = '', ...args], self, { node, clients }) => {
  switch (action.toUpperCase()) {
    case 'LIST': return bulk(clientList(clients));
    case 'GETNAME': return self.name === '' ? '$-1\r\n' : bulk(self.name);
    case 'SETNAME':
      self.name = args[0] ?? '';
      return OK;
    case 'UNPAUSE':
      if (node.isToCome) return OK;
      break;
    case 'PAUSE':
      if (node.isToCome && args[1]?.toUpperCase() === 'WRITE') return OK;
      // Holds back every client, replicas too: there is no mode for writers alone yet.
      if (node.profile.clientPause && args.length === 1) return /^\d+$/.test(args[0] ?? '') ? OK : '-ERR timeout is not an integer or out of range\r\n';
      break;
  }
  return node.profile.clientPause
    ? `-ERR Unknown subcommand or wrong number of arguments for '${action}'. Try CLIENT HELP\r\n`
    : '-ERR Syntax error, try CLIENT (LIST | KILL ip:port | GETNAME | SETNAME connection-name)\r\n';
};

const replconf: Handler = (args, _client, { node }) => {
  if (args.length === 0 || args.length % 2 !== 0) return '-ERR syntax error\r\n';
  for (let at = 0; at < args.length; at += 2) {
    const option = (args[at] ?? '').toLowerCase();
    if (option === 'ack') return undefined;
    if (!node.profile.replconf.includes(option)) return `-ERR Unrecognized REPLCONF option: ${args[at] ?? ''}\r\n`;
  }
  return OK;
};

const slaveof: Handler = (args, _client, host) => {
  if (args.length !== 2) return arity('slaveof');
  const [to = '', port = ''] = args;
  if (`${to} ${port}`.toUpperCase() === 'NO ONE') {
    host.promote();
    return OK;
  }
  if (!/^\d+$/.test(port)) return NOT_AN_INTEGER;
  host.follow(to, Number(port));
  return OK;
};

const select: Handler = ([index = ''], self, { node }) => {
  if (!/^\d+$/.test(index)) return '-ERR invalid DB index\r\n';
  if (Number(index) >= Number(node.setting('databases'))) return node.version === '2.8.24' ? '-ERR invalid DB index\r\n' : '-ERR DB index is out of range\r\n';
  self.database = Number(index);
  return OK;
};

const set: Handler = ([key, value, ...options], self, { node }) => {
  if (key === undefined || value === undefined) return arity('set');
  const px = options[0]?.toUpperCase() === 'PX' ? Date.now() + Number(options[1]) : null;
  node.write(self.database, bytes(key), bytes(value), px);
  return OK;
};

const get: Handler = ([key = ''], self, { node }) => {
  const value = node.keyspace.get(self.database, bytes(key));
  return value === null ? '$-1\r\n' : bulk(value);
};

const command: Handler = ([action = '', ...names], _client, host) => {
  if (action.toUpperCase() !== 'INFO') return '-ERR Unknown subcommand or wrong number of arguments.\r\n';
  const known = (name: string): boolean => (HANDLERS[name.toUpperCase()] !== undefined && available(host.node, name.toUpperCase())) || OTHERS.has(name.toUpperCase());
  return `*${String(names.length)}\r\n${names.map((name) => (known(name) ? `*6\r\n${bulk(name.toLowerCase()).toString('latin1')}:-1\r\n*0\r\n:0\r\n:0\r\n:0\r\n` : '*-1\r\n')).join('')}`;
};

/** Commands these servers have and nobody here is served. */
const OTHERS: ReadonlySet<string> = new Set(['RESTORE', 'DUMP', 'SYNC', 'BGSAVE', 'BGREWRITEAOF', 'DEBUG', 'SHUTDOWN']);

const HANDLERS: Readonly<Record<string, Handler>> = {
  AUTH: auth,
  PING: () => '+PONG\r\n',
  INFO: ([section], _client, { node, port, clients }) => bulk(infoText(node, port, clients.size, section)),
  COMMAND: command,
  CONFIG: config,
  CLIENT: client,
  SELECT: select,
  DBSIZE: (_args, self, { node }) => `:${String(node.keyspace.counts().find(({ database }) => database === self.database)?.keys ?? 0)}\r\n`,
  GET: get,
  SET: set,
  DEL: (keys, self, { node }) => `:${String(keys.filter((key) => node.keyspace.delete(self.database, bytes(key))).length)}\r\n`,
  FLUSHALL: (_args, _client, { node }) => {
    node.keyspace.clear();
    return OK;
  },
  PUBSUB: ([action = '', ...channels]) => (action.toUpperCase() === 'NUMSUB'
    ? `*${String(channels.length * 2)}\r\n${channels.map((channel) => `${bulk(channel).toString('latin1')}:0\r\n`).join('')}`
    : '*0\r\n'),
  MODULE: () => '*0\r\n',
  REPLCONF: replconf,
  PSYNC: (_args, self, host) => {
    if (host.node.master && host.node.master.state !== 'UP') return "-ERR Can't SYNC while not connected with my master\r\n";
    host.feed(self);
    return undefined;
  },
  SLAVEOF: slaveof,
};

const available = (node: LegacyNode, name: string): boolean => name !== 'MODULE' || node.profile.modules;

/** The reply to one command, as this version gives it. */
export const answer = (words: readonly string[], client: LegacyClient, host: LegacyHost): Reply => {
  const [name = '', ...args] = words;
  const { node } = host;
  const handler = HANDLERS[name.toUpperCase()];
  if (handler === undefined || !available(node, name.toUpperCase())) {
    return node.version === '2.8.24'
      ? `-ERR unknown command '${name}'\r\n`
      : `-ERR unknown command \`${name}\`, with args beginning with: ${args.map((arg) => `\`${arg}\`, `).join('')}\r\n`;
  }
  if (!client.loggedIn && node.setting('requirepass') !== '' && name.toUpperCase() !== 'AUTH') return '-NOAUTH Authentication required.\r\n';
  if (node.loading && !WHILE_LOADING.has(name.toUpperCase())) return '-LOADING Redis is loading the dataset in memory\r\n';
  if (node.master && WRITES.has(name.toUpperCase()) && node.setting('slave-read-only') === 'yes') return "-READONLY You can't write against a read only slave.\r\n";
  return handler(args, client, host);
};
