import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the range the kernel gives to outgoing connections, so that only another server can take it between the look and the use. */
const FIRST = 22_000;
const LAST = 32_000;

/** A loopback port that nobody listened on a moment ago: whoever binds it must be ready to ask for another. */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = randomInt(FIRST, LAST);
    if (await isPortFree(port)) return port;
  }
};

export const isPortFree = (port: number): Promise<boolean> =>
  new Promise((done) => {
    const probe = createServer();
    probe.once('error', () => { done(false); });
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => { done(true); }));
  });
