import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { RequestParser } from '../../../server/engine/target/request-parser.js';

export interface OldServer {
  host: string;
  port: number;
  /** Commands received, without their arguments' secrets. */
  seen: string[];
  master: { host: string; port: number } | undefined;
  masterauth: string;
  keys: string;
  /** The payload of the last full sync. */
  loaded: Buffer | undefined;
  stop(): Promise<void>;
}

const KEYS_NEW = 'db0:keys=7,expires=0,avg_ttl=0';
const KEYS_OLD = 'db0:keys=2,expires=0,avg_ttl=0';

/**
 * Behaves towards a restore as Redis 2.8 does: no replication id in INFO, no ACL, no CLIENT PAUSE, SLAVEOF only, an inline
 * handshake with `AUTH <masterauth>` and `PSYNC ? -1`, an acknowledgement each (shortened) second that nobody asked for.
 *
 * @param versions what INFO says of them
 */
export const startOldServer = async (masterauth = '', versions: readonly string[] = ['redis_version:2.8.24']): Promise<OldServer> => {
  const sockets = new Set<Socket>();
  let link: Socket | undefined;
  const old: OldServer = { host: '127.0.0.1', port: 0, seen: [], master: undefined, masterauth, keys: KEYS_OLD, loaded: undefined, stop: () => Promise.resolve() };

  const follow = (to: { host: string; port: number }): void => {
    const socket = connect(to);
    link = socket;
    sockets.add(socket);
    const say = ['PING\r\n', ...(old.masterauth ? [`AUTH ${old.masterauth}\r\n`] : []), 'REPLCONF listening-port 6379\r\n', 'REPLCONF ip-address x\r\n', 'PSYNC ? -1\r\n'];
    let received = Buffer.alloc(0);
    let payload: { length: number; offset: string } | undefined;
    socket.on('error', () => undefined).on('connect', () => socket.write(say.shift() ?? ''));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      for (;;) {
        if (payload) {
          if (old.loaded || received.length < payload.length) return;
          old.loaded = Buffer.from(received.subarray(0, payload.length));
          old.keys = KEYS_NEW;
          let position = Number(payload.offset) + received.length - payload.length;
          const acknowledge = setInterval(() => {
            const text = String(position++);
            socket.write(`*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$${text.length}\r\n${text}\r\n`);
          }, 50);
          socket.on('close', () => clearInterval(acknowledge));
          return;
        }
        const end = received.indexOf('\r\n');
        if (end < 0) return;
        const line = received.toString('latin1', 0, end);
        const full = /^\+FULLRESYNC [0-9a-f]{40} (\d+)$/.exec(line);
        const length = /^\$(\d+)$/.exec(line);
        received = received.subarray(end + 2);
        if (full) old.seen.push(`offset ${full[1] ?? ''}`);
        else if (length) payload = { length: Number(length[1]), offset: old.seen.at(-1)?.replace('offset ', '') ?? '0' };
        else socket.write(say.shift() ?? '');
      }
    });
  };

  const info = (): string => [
    ...versions, 'redis_mode:standalone', `run_id:${'5'.repeat(40)}`, 'used_memory:500000', 'loading:0', 'aof_enabled:0', 'aof_rewrite_in_progress:0',
    ...(old.master ? ['role:slave', `master_host:${old.master.host}`, `master_port:${old.master.port}`, 'master_sync_in_progress:0'] : ['role:master']),
    'connected_slaves:0', 'master_repl_offset:120', old.keys,
  ].join('\r\n');
  const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
  const settings = (): Record<string, string> => ({ maxmemory: '0', save: '900 1', 'slave-read-only': 'yes', 'slave-serve-stale-data': 'yes', databases: '16', 'min-slaves-to-write': '0', masterauth: old.masterauth });

  const answer = (words: string[]): string => {
    const [name = '', ...args] = words;
    const command = [name, ...(['CONFIG', 'CLIENT', 'PUBSUB'].includes(name.toUpperCase()) ? args.slice(0, 1) : [])].join(' ').toUpperCase();
    old.seen.push(command);
    switch (command) {
      case 'PING': return '+PONG\r\n';
      case 'INFO': return bulk(info());
      case 'CLIENT LIST': return bulk('id=1 addr=127.0.0.1:1 fd=5 name= age=0\n');
      case 'PUBSUB NUMSUB': return `*2\r\n${bulk(args[1] ?? '')}:0\r\n`;
      case 'CONFIG GET': {
        const pattern = new RegExp(`^${(args[1] ?? '').replace('*', '.*')}$`);
        const found = Object.entries(settings()).filter(([key]) => pattern.test(key)).flat();
        return `*${found.length}\r\n${found.map(bulk).join('')}`;
      }
      case 'CONFIG SET':
        old.masterauth = args[2] ?? '';
        return '+OK\r\n';
      case 'SLAVEOF': {
        if (args.join(' ').toUpperCase() === 'NO ONE') {
          old.master = undefined;
          link?.destroy();
          return '+OK\r\n';
        }
        if (!/^\d+$/.test(args[1] ?? '')) return '-ERR value is not an integer or out of range\r\n';
        old.master = { host: args[0] ?? '', port: Number(args[1]) };
        follow(old.master);
        return '+OK\r\n';
      }
      default: return `-ERR unknown command '${name}'\r\n`;
    }
  };

  const server: Server = createServer((socket) => {
    sockets.add(socket);
    const parser = new RequestParser();
    socket.on('error', () => undefined).on('data', (chunk) => {
      for (const request of parser.push(chunk)) socket.write(answer(request.map(String)));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  old.port = (server.address() as AddressInfo).port;
  old.stop = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((done) => server.close(() => done()));
  };
  return old;
};
