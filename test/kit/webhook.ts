import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, type Socket } from 'node:net';
import { canary } from './canary.js';

export interface Delivery {
  headers: IncomingHttpHeaders;
  path: string;
  body: string;
  /** By performance.now(). */
  at: number;
}

/** A status to answer with, or whatever else the receiver does with a request it has read. */
export type Behaviour = number | ((response: ServerResponse, delivery: Delivery) => void);

/** Takes the request and says nothing. */
export const HANG: Behaviour = () => undefined;

/** A real HTTP server that keeps what it is sent. */
export interface Receiver {
  readonly url: string;
  readonly port: number;
  /** All requests that were read to their end, in order. */
  readonly deliveries: readonly Delivery[];
  /** Connections so far. */
  readonly connections: number;
  /** What it does from now on; until then it answers 204. */
  behave(behaviour: Behaviour): void;
  /** What it does with the next requests, one each; then it behaves as before. */
  next(...behaviours: Behaviour[]): void;
  stop(): Promise<void>;
}

export interface ReceiverOptions {
  /** PEM texts: then it speaks TLS. */
  tls?: { cert: string; key: string };
}

export const startReceiver = async ({ tls }: ReceiverOptions = {}): Promise<Receiver> => {
  const deliveries: Delivery[] = [];
  const sockets = new Set<Socket>();
  const coming: Behaviour[] = [];
  let standing: Behaviour = 204;
  let connections = 0;
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => void chunks.push(chunk));
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    request.once('end', () => {
      const delivery = { headers: request.headers, path: request.url ?? '', body: Buffer.concat(chunks).toString('utf8'), at: performance.now() };
      deliveries.push(delivery);
      canary?.sent('a notice', JSON.stringify(delivery.headers) + delivery.body);
      const behaviour = coming.shift() ?? standing;
      if (typeof behaviour === 'number') response.writeHead(behaviour).end();
      else behaviour(response, delivery);
    });
  };
  const server = tls ? createTlsServer(tls, serve) : createServer(serve);
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port, deliveries,
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}/hooks/backups?team=data`,
    get connections() {
      return connections;
    },
    behave(behaviour) {
      standing = behaviour;
    },
    next: (...behaviours) => void coming.push(...behaviours),
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
};
