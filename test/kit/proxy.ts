import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Stands between a client and a server, to cut what goes on between them. */
export interface Proxy {
  readonly port: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Connections that were let through so far. */
  readonly taken: number;
  /** Where connections go from now on. */
  aim(port: number): void;
  /** Cuts all connections, and takes none until `mend`. */
  cut(): void;
  /** Lets nothing through any more, in either direction, and says nothing: as if a cable were pulled. New connections too. */
  silence(): void;
  /** Lets nothing through for now; what is sent meanwhile comes with `release`. */
  hold(): void;
  release(): void;
  mend(): void;
  stop(): Promise<void>;
}

export const startProxy = async (target: number): Promise<Proxy> => {
  let port = target;
  let taken = 0;
  let state: 'through' | 'cut' | 'silent' = 'through';
  const sockets = new Set<Socket>();
  const pairs = new Set<readonly [Socket, Socket]>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const server = createServer({ allowHalfOpen: false }, (client) => {
    keep(client);
    if (state === 'cut') {
      client.resetAndDestroy();
      return;
    }
    if (state === 'silent') {
      client.pause();
      return;
    }
    taken += 1;
    const upstream = keep(connect(port, '127.0.0.1'));
    client.pipe(upstream);
    upstream.pipe(client);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    client.once('close', () => {
      pairs.delete(pair);
      upstream.destroy();
    });
    upstream.once('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const destroyAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    get taken() {
      return taken;
    },
    get open() {
      return sockets.size;
    },
    aim(to) {
      port = to;
    },
    cut() {
      state = 'cut';
      destroyAll();
    },
    silence() {
      state = 'silent';
      for (const socket of sockets) {
        socket.unpipe();
        socket.pause();
      }
    },
    hold() {
      for (const socket of [...pairs].flat()) {
        socket.unpipe();
        socket.pause();
      }
    },
    release() {
      for (const [client, upstream] of pairs) {
        client.pipe(upstream);
        upstream.pipe(client);
      }
    },
    mend() {
      state = 'through';
      destroyAll();
    },
    async stop() {
      destroyAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};
