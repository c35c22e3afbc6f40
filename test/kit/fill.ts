import { once } from 'node:events';
import { connect } from 'node:net';
import { type RedisServer } from './redis.js';
import { repeatableSource } from './seed-bytes.js';

export type Command = readonly (string | Buffer)[];

/** Data to repeat until it is enough. */
export interface FillUnit {
  /** RDB bytes that one takes, measured on 7.0 with the default rdbcompression. */
  rdbBytes: number;
  /** Each command makes one key, and is answered by one line. `key` differs from unit to unit. */
  commands: (key: string, random: (length: number) => Buffer) => Command[];
}

export interface FillOptions {
  /** About this much RDB, in MiB. */
  mib: number;
  database?: number;
  /** Default: mixed data of which more than half does not compress. */
  unit?: FillUnit;
  /** Makes keys of a second filling differ from those of the first. Default "fill". */
  prefix?: string;
}

const WORDS = 'backup restore replica offset snapshot master stream payload checksum expire cluster shard'.split(' ');
/**
 * Fills a server fast, with the same bytes on every run. Returns the number of keys it made. Not over TLS.
 */
export const fillBytes = async (server: RedisServer, { mib, database = 0, unit = MIXED, prefix = 'fill' }: FillOptions): Promise<{ keys: number }> => {
  const socket = connect({ host: server.host, port: server.port, noDelay: true });
  await once(socket, 'connect');
  let answered = 0;
  let refused: string | undefined;
  let failure: Error | undefined;
  let wake = (): void => undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    wake();
  };
  // Every command below answers one line, so line ends count answers.
  socket.on('data', (chunk) => {
    if (refused === undefined && chunk.includes('-')) refused = /^-.*$/m.exec(chunk.toString('latin1'))?.[0];
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) answered += 1;
    wake();
  });
  socket.on('error', fail);
  socket.on('close', () => { fail(new Error(`${server.host}:${String(server.port)} closed the connection while it was being filled`)); });

  let sent = 0;
  const until = async (done: () => boolean): Promise<void> => {
    while (!done()) {
      if (failure !== undefined) throw failure;
      await new Promise<void>((resolve) => (wake = resolve));
    }
    if (refused !== undefined) throw new Error(`The server refused a command of the filling: ${refused}`);
  };
  try {
    const units = Math.max(1, Math.round((mib * 1_048_576) / unit.rdbBytes));
    const random = repeatableSource(prefix);
    let keys = 0;
    if (server.password !== undefined) sent += writeCommands(socket, [['AUTH', server.password]]);
    sent += writeCommands(socket, [['SELECT', String(database)]]);
    for (let number = 0; number < units; number += 1) {
      const commands = unit.commands(`${prefix}:${String(number)}`, random);
      keys += commands.length;
      sent += writeCommands(socket, commands);
      const limit = sent - 3_000;
      if (answered < limit) await until(() => answered >= limit);
    }
    await until(() => answered >= sent);
    return { keys };
  } finally {
    socket.removeAllListeners('close');
    socket.destroy();
  }
};

const writeCommands = (socket: { write(data: Buffer): boolean }, commands: readonly Command[]): number => {
  const parts: Buffer[] = [];
  for (const command of commands) {
    let head = `*${String(command.length)}\r\n`;
    for (const argument of command) {
      head += `$${String(Buffer.byteLength(argument))}\r\n`;
      if (typeof argument === 'string') {
        head += `${argument}\r\n`;
      } else {
        parts.push(Buffer.from(head), argument);
        head = '\r\n';
      }
    }
    parts.push(Buffer.from(head));
  }
  socket.write(Buffer.concat(parts));
  return commands.length;
};

const sentence = (seed: Buffer): string => Array.from(seed, (byte) => WORDS[byte % WORDS.length] ?? '').join(' ');

const unitCommands = (key: string, random: (length: number) => Buffer): Command[] => {
  const commands: Command[] = [];
  for (let i = 0; i < 16; i += 1) commands.push(['SET', `${key}:b${String(i)}`, random(1_024)]);
  const text = `{"id":"${key}","note":"${sentence(random(140))}"}`;
  for (let i = 0; i < 4; i += 1) commands.push(['SET', `${key}:t${String(i)}`, `${String(i)}${text}`]);
  const list: (string | Buffer)[] = ['RPUSH', `${key}:l`];
  const set: (string | Buffer)[] = ['SADD', `${key}:s`];
  const hash: (string | Buffer)[] = ['HMSET', `${key}:h`];
  const sorted: (string | Buffer)[] = ['ZADD', `${key}:z`];
  const noise = random(2_400).toString('hex');
  for (let i = 0; i < 40; i += 1) {
    const piece = noise.slice(i * 60, i * 60 + 60);
    list.push(piece);
    set.push(piece.slice(0, 40));
    hash.push(`field${String(i)}`, `${piece}${piece.slice(0, 20)}`);
    sorted.push(String(i * 1.5), piece.slice(10, 40));
  }
  commands.push(list, set, hash, sorted);
  for (let i = 0; i < 12; i += 1) commands.push(['SET', `${key}:e${String(i)}`, noise.slice(i * 50, i * 50 + 50), 'PX', '86400000']);
  return commands;
};

/** Incompressible and text strings, hashes, lists, sets, sorted sets, expiring keys. */
const MIXED: FillUnit = { rdbBytes: 27_720, commands: unitCommands };
