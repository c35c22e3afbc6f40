import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { type RedisServer } from '../kit/redis.js';

const GETACK = '*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n';

/** Answers what a replica says until it has asked for the data. */
const untilSync = async (socket: Socket): Promise<void> => {
  for (;;) {
    const [said] = (await once(socket, 'data')) as [Buffer];
    const text = said.toString('latin1');
    if (text.includes('PSYNC')) return;
    socket.write(text.includes('PING') ? '+PONG\r\n' : '+OK\r\n'.repeat(text.split('\r\nREPLCONF\r\n').length - 1));
  }
};

/**
 * The least that a restore by replication link can take on this machine: a master that proves nothing, checks nothing and records nothing, and
 * whose file lies in the page cache. Milliseconds from `REPLICAOF` to the acknowledged load.
 */
export const measureBareLink = async (target: RedisServer, file: string): Promise<number> => {
  const listener = createServer();
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  try {
    const { port } = listener.address() as AddressInfo;
    const arrival = once(listener, 'connection');
    const startedAt = performance.now();
    await target.cli('REPLICAOF', '127.0.0.1', String(port));
    const [socket] = (await arrival) as [Socket];
    await untilSync(socket);
    socket.write(`+FULLRESYNC ${'a'.repeat(40)} 1\r\n$${String((await stat(file)).size)}\r\n`);
    await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), socket, { end: false });
    socket.write(GETACK);
    for (;;) {
      const [said] = (await once(socket, 'data')) as [Buffer];
      if (said.includes('ACK')) break;
    }
    const ms = performance.now() - startedAt;
    await target.cli('REPLICAOF', 'NO', 'ONE');
    socket.destroy();
    return ms;
  } finally {
    listener.close();
  }
};
