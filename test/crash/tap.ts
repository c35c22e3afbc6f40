import { connect, createServer, type Socket } from 'node:net';
import { waitFor } from '../kit/wait.js';

/** Where in the talk of two sides something is to happen. `up` is what the side that has dialled says, `down` what it is told. */
export type Moment =
  | { at: 'dialled' }
  /** A text, inside of what comes at once; where `after` is given, the first one behind that. `passed`: it has gone on to the other side, and nothing after it. */
  | { at: 'said'; way: 'up' | 'down'; text: string; passed: boolean; after?: string }
  /** So many bytes of the payload of a full synchronisation have gone down, and not one more; from the end when negative. */
  | { at: 'payload'; bytes: number }
  /** As before, but as a part of the payload, 0 to 1. */
  | { at: 'share'; of: number };

/**
 * Stands between two sides and stops everything at a moment, to the byte: what is struck then can neither have heard nor said more. Knows full
 * synchronisations that are announced with their length.
 */
export interface Tap {
  readonly port: number;
  /** Holds the connection on which the moment comes, and calls `strike`; afterwards that connection is cut. Once. */
  on(moment: Moment, strike: () => Promise<void>): void;
  /** Where connections go from now on. */
  aim(port: number): void;
  stop(): Promise<void>;
}

interface Order {
  moment: Moment;
  strike: () => Promise<void>;
}

const HEADER = /(?:^|\n)\$(\d+)\r\n/;
/** Long enough for what is looked for, should it come in two pieces. */
const OVERLAP = 64;

export const startTap = async (listen: { host: string; port?: number }, target: { port: number }): Promise<Tap> => {
  let { port: aim } = target;
  let order: Order | undefined;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    return socket.on('error', () => socket.destroy()).once('close', () => sockets.delete(socket));
  };

  const server = createServer({ noDelay: true }, (client) => {
    keep(client);
    const upstream = keep(connect({ port: aim, host: '127.0.0.1', noDelay: true }));
    client.once('close', () => upstream.destroy());
    upstream.once('close', () => client.destroy());
    let held = false;
    const strike = (struck: Order): void => {
      held = true;
      order = undefined;
      for (const socket of [client, upstream]) socket.pause();
      // What has passed is to arrive before.
      void waitFor(() => client.writableLength + upstream.writableLength === 0, { intervalMs: 1 }).catch(() => undefined).then(struck.strike).finally(() => client.destroy());
    };
    if (order?.moment.at === 'dialled') return strike(order);

    const relay = (way: 'up' | 'down', from: Socket, to: Socket): void => {
      let tail = '';
      let behind = false;
      /** Bytes of the payload that have passed; undefined until it is announced. */
      let payload: { length: number; passed: number } | undefined;
      const pass = (bytes: Buffer): void => {
        if (bytes.length > 0 && !to.write(bytes)) {
          from.pause();
          to.once('drain', () => { if (!held) from.resume(); });
        }
      };
      from.on('data', (chunk: Buffer) => {
        if (held) return;
        const text = chunk.toString('latin1');
        const moment = order?.moment;
        const recent = tail + text;
        if (order && moment?.at === 'said' && moment.way === way && (moment.after === undefined || behind) && recent.includes(moment.text)) {
          if (moment.passed) pass(chunk);
          return strike(order);
        }
        behind ||= moment?.at === 'said' && moment.after !== undefined && recent.includes(moment.after);
        tail = recent.slice(-OVERLAP);
        if (way === 'up') return pass(chunk);
        let begins = 0;
        if (payload === undefined) {
          const header = HEADER.exec(text);
          if (header === null) return pass(chunk);
          payload = { length: Number(header[1]), passed: 0 };
          begins = header.index + header[0].length;
        }
        const wanted = moment?.at === 'share' ? Math.floor(payload.length * moment.of) : moment?.at === 'payload' ? moment.bytes + (moment.bytes < 0 ? payload.length : 0) : undefined;
        const here = chunk.length - begins;
        if (order && wanted !== undefined && payload.passed + here >= wanted && payload.passed <= wanted) {
          pass(chunk.subarray(0, begins + wanted - payload.passed));
          return strike(order);
        }
        payload.passed += here;
        pass(chunk);
      });
    };
    relay('up', client, upstream);
    relay('down', upstream, client);
  });
  await new Promise<void>((done, fail) => {
    server.once('error', fail);
    server.listen({ host: listen.host, port: listen.port ?? 0 }, done);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    on(moment, strike) {
      order = { moment, strike };
    },
    aim(port) {
      aim = port;
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
};
