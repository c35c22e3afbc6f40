import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/** A masked frame (RFC 6455, 5.2) with a mask of zeros, which leaves the payload as it is. */
const frame = (opcode: number, payload: Buffer): Buffer => {
  const head = payload.length < 126 ? Buffer.from([0x80 | opcode, 0x80 | payload.length]) : Buffer.from([0x80 | opcode, 0x80 | 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
};
const message = (value: unknown): Buffer => frame(1, Buffer.from(JSON.stringify(value)));

const FIRST_EVENT_MS = 120_000;

/** What a client subscribes to: events of one job, by a document that has `sequence`, `kind` and `at` of each before anything else of these names. */
export interface Subscribed {
  token: string;
  query: string;
  jobId: string;
}

/**
 * One socket with one subscription to a job. Speaks just enough of RFC 6455 and graphql-transport-ws, so that thousands cost little; anything unexpected
 * throws.
 */
export class LiveClient {
  /** Number of the newest event. */
  last = 0;
  /** Numbers of all that were neither progress nor a snapshot. */
  readonly lasting: number[] = [];
  /** Whether a number came twice, or after a greater one. */
  disordered = false;
  complete = false;
  private socket: Socket | undefined;
  private rest: Buffer = Buffer.alloc(0);
  private greeted: (() => void) | undefined;
  private first: (() => void) | undefined;

  /**
   * @param seen each event: its kind and when it happened
   * @param onLost the socket has ended, and not by `cut`
   */
  constructor(private readonly aim: Subscribed, private readonly seen: (kind: string, at: number) => void, private readonly onLost: () => void) {}

  /** @param after resumes there; null: with a snapshot. Resolves at the first event. */
  open(port: number, after: number | null): Promise<void> {
    const { token, query, jobId } = this.aim;
    this.greeted = () => void socket.write(message({ id: '1', type: 'subscribe', payload: { query, variables: { jobId, afterSequence: after } } }));
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket = socket;
    this.rest = Buffer.alloc(0);
    let upgraded = false;
    socket.on('error', () => undefined);
    socket.once('close', () => {
      if (this.socket === socket && !this.complete) this.onLost();
    });
    socket.once('connect', () => socket.write(
      `GET /graphql HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n`,
    ));
    socket.on('data', (chunk: Buffer) => {
      this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
      if (!upgraded) {
        const end = this.rest.indexOf('\r\n\r\n');
        if (end < 0) return;
        if (!this.rest.toString('latin1', 0, 12).endsWith('101')) {
          socket.destroy();
          return;
        }
        upgraded = true;
        this.rest = this.rest.subarray(end + 4);
        socket.write(message({ type: 'connection_init', payload: { authorization: `Bearer ${token}` } }));
      }
      this.read(socket);
    });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`No event came within ${FIRST_EVENT_MS} ms`)), FIRST_EVENT_MS);
      this.first = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Takes nothing any more, and answers nothing. */
  freeze(): void {
    this.socket?.pause();
  }

  cut(): void {
    const { socket } = this;
    this.socket = undefined;
    socket?.resetAndDestroy();
  }

  private read(socket: Socket): void {
    for (;;) {
      const { rest } = this;
      if (rest.length < 2) return;
      const opcode = (rest[0] ?? 0) & 0xf;
      const short = (rest[1] ?? 0) & 0x7f;
      if (short === 127) throw new Error('No event is that long');
      const head = short === 126 ? 4 : 2;
      if (rest.length < head) return;
      const end = head + (short === 126 ? rest.readUInt16BE(2) : short);
      if (rest.length < end) return;
      const payload = rest.subarray(head, end);
      this.rest = rest.length === end ? Buffer.alloc(0) : rest.subarray(end);
      if (opcode === 9) socket.write(frame(10, payload));
      else if (opcode === 1) this.take(payload.toString('latin1'));
      else if (opcode === 8) throw new Error(`A socket was closed with ${payload.readUInt16BE(0)} ${payload.toString('latin1', 2)}`);
    }
  }

  private take(text: string): void {
    if (!text.includes('"next"')) {
      if (text.includes('"connection_ack"')) this.greeted?.();
      else if (text.includes('"complete"')) this.complete = true;
      else throw new Error(text);
      return;
    }
    const value = (name: string): string => {
      const from = text.indexOf(`"${name}":`) + name.length + 3;
      return text.slice(from, text.indexOf(',', from));
    };
    const sequence = Number(value('sequence'));
    const kind = value('kind').slice(1, -1);
    // A snapshot stands where the job stands: what comes next comes after it.
    if (!(sequence > this.last) && kind !== 'SNAPSHOT') this.disordered = true;
    this.last = sequence;
    if (kind !== 'PROGRESS' && kind !== 'SNAPSHOT') this.lasting.push(sequence);
    this.seen(kind, Date.parse(value('at').slice(1, -1)));
    this.first?.();
    this.first = undefined;
  }
}
