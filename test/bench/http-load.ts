import { connect, type Socket } from 'node:net';

export interface LoadResult {
  requestsPerSecond: number;
  /** Milliseconds from sending to the last byte. */
  p50: number;
  p99: number;
}

const HEADER_END = Buffer.from('\r\n\r\n');

/** One HTTP/1.1 connection that sends the same request again and again; costs the sender as little as can be. */
class Sender {
  private readonly pieces: Buffer[] = [];
  private held = 0;
  private wanted = -1;
  private done: (() => void) | undefined;
  private failed: ((error: Error) => void) | undefined;

  private constructor(private readonly socket: Socket, private readonly request: Buffer) {
    socket.on('data', (piece) => this.take(piece));
    socket.once('close', () => this.failed?.(new Error('The server closed the connection')));
    socket.once('error', (error) => this.failed?.(error));
  }

  static async open(port: number, request: Buffer): Promise<Sender> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new Sender(socket, request);
  }

  send(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.done = resolve;
      this.failed = reject;
      this.socket.write(this.request);
    });
  }

  close(): void {
    this.failed = undefined;
    this.socket.destroy();
  }

  private take(piece: Buffer): void {
    this.pieces.push(piece);
    this.held += piece.length;
    if (this.wanted < 0) {
      const head = this.pieces.length === 1 ? piece : Buffer.concat(this.pieces);
      const end = head.indexOf(HEADER_END);
      if (end < 0) return;
      const text = head.toString('latin1', 0, end);
      const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
      if (!text.startsWith('HTTP/1.1 200') || length === undefined) {
        this.failed?.(new Error(`The server answered ${text.split('\r\n')[0] ?? ''}`));
        return;
      }
      this.wanted = end + HEADER_END.length + Number(length);
    }
    if (this.held < this.wanted) return;
    this.pieces.length = 0;
    this.held = 0;
    this.wanted = -1;
    this.done?.();
  }
}

/** A POST of JSON to `/graphql`. */
export const graphqlRequest = (port: number, body: unknown, headers: Readonly<Record<string, string>>): Buffer => {
  const text = Buffer.from(JSON.stringify(body));
  const lines = { host: `127.0.0.1:${port}`, 'content-type': 'application/json', accept: 'application/json', 'content-length': String(text.length), ...headers };
  return Buffer.concat([Buffer.from(`POST /graphql HTTP/1.1\r\n${Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`), text]);
};

/** So many connections, each with one request at a time, for so long. Fails at the first answer that is not 200. */
export const load = async ({ port, request, connections, seconds }: { port: number; request: Buffer; connections: number; seconds: number }): Promise<LoadResult> => {
  const senders = await Promise.all(Array.from({ length: connections }, () => Sender.open(port, request)));
  const times: number[] = [];
  const startedAt = performance.now();
  const until = startedAt + seconds * 1_000;
  try {
    await Promise.all(senders.map(async (sender) => {
      for (let at = performance.now(); at < until;) {
        await sender.send();
        const now = performance.now();
        times.push(now - at);
        at = now;
      }
    }));
  } finally {
    for (const sender of senders) sender.close();
  }
  const took = performance.now() - startedAt;
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
  return { requestsPerSecond: (times.length * 1_000) / took, p50: at(0.5), p99: at(0.99) };
};
