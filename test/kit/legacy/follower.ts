import { connect, type Socket } from 'node:net';
import { RequestParser } from '../../../server/engine/target/request-parser.js';
import { sleep } from '../wait.js';
import { Keyspace } from './keyspace.js';
import { type LegacyNode } from './node.js';

export interface FollowerScript {
  /** Period of the replication cron: it dials, tries again and acknowledges then. A real one has 1,000 ms. */
  cronMs: number;
  /** From the emptied keyspace to the new one. */
  loadMs: number;
  /** The newest RDB version it loads. */
  loadsUpTo: number;
}

/**
 * A replica of these versions: dials its master at the next cron, shakes hands by inline commands (`PING`, `AUTH <masterauth>` if there is
 * one, REPLCONF), asks for `PSYNC ? -1` (from 4.0 with its own id), takes `$<len>` or `$EOF:`, empties its data, and only then looks at
 * the file. Acknowledges each cron, asked or not. Tries again for ever when anything fails.
 */
export class Follower {
  /** Payloads received whole, also those that could not be loaded. */
  readonly received: Buffer[] = [];
  private socket: Socket | undefined;
  private readonly cron: NodeJS.Timeout;
  private stopped = false;
  private buffer: Buffer = Buffer.alloc(0);
  private say: string[] = [];
  /** What the next line answers. */
  private asked = '';
  private stage: 'HANDSHAKE' | 'HEADER' | 'PAYLOAD' | 'LOADING' | 'STREAM' = 'HANDSHAKE';
  private sync = { historyId: '', offset: 0 };
  private framing: { length: number } | { mark: string } = { length: 0 };
  private commands = new RequestParser();

  constructor(private readonly node: LegacyNode, private readonly to: { host: string; port: number }, private readonly script: FollowerScript) {
    this.cron = setInterval(() => { this.tick(); }, script.cronMs);
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.cron);
    this.socket?.destroy();
  }

  private tick(): void {
    if (this.socket === undefined) this.dial();
    else if (this.stage === 'STREAM') this.acknowledge();
  }

  private dial(): void {
    const { node } = this;
    const masterauth = node.setting('masterauth');
    const own = node.profile.replicationIds ? `PSYNC ${node.replid} ${String(node.offset + 1)}` : 'PSYNC ? -1';
    this.say = ['PING', ...(masterauth === '' ? [] : [`AUTH ${masterauth}`]), ...node.profile.handshake, own];
    this.stage = 'HANDSHAKE';
    this.buffer = Buffer.alloc(0);
    this.commands = new RequestParser();
    const socket = connect(this.to);
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('connect', () => { this.sayNext(); });
    socket.on('data', (chunk: Buffer) => { this.take(chunk); });
    socket.once('close', () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      if (!this.stopped && node.master && this.stage !== 'LOADING') node.master.state = 'CONNECT';
    });
  }

  private sayNext(): void {
    this.asked = this.say.shift() ?? '';
    this.socket?.write(`${this.asked}\r\n`);
  }

  private take(chunk: Buffer): void {
    if (this.stage === 'STREAM') return this.takeStream(chunk);
    this.buffer = Buffer.concat([this.buffer, chunk]);
    while (this.stage === 'HANDSHAKE' || this.stage === 'HEADER') {
      const end = this.buffer.indexOf('\n');
      if (end < 0) return;
      const line = this.buffer.toString('latin1', 0, end).replace(/\r$/, '');
      this.buffer = this.buffer.subarray(end + 1);
      if (line !== '') this.takeLine(line);
    }
    if (this.stage === 'PAYLOAD') this.takePayload();
  }

  private takeLine(line: string): void {
    if (this.stage === 'HANDSHAKE' && !this.asked.startsWith('PSYNC')) {
      // An error to REPLCONF is passed over; any other ends the handshake.
      if (line.startsWith('-') && !this.asked.startsWith('REPLCONF')) this.socket?.destroy();
      else this.sayNext();
      return;
    }
    if (this.stage === 'HANDSHAKE') {
      const full = /^\+FULLRESYNC ([0-9a-f]{40}) (\d+)$/.exec(line);
      if (!full) {
        this.socket?.destroy();
        return;
      }
      this.sync = { historyId: full[1] ?? '', offset: Number(full[2]) };
      this.stage = 'HEADER';
      if (this.node.master) this.node.master.state = 'TRANSFER';
      return;
    }
    const marked = /^\$EOF:(.{40})$/.exec(line);
    const counted = /^\$(\d+)$/.exec(line);
    if (!marked && !counted) {
      this.socket?.destroy();
      return;
    }
    this.framing = marked ? { mark: marked[1] ?? '' } : { length: Number(counted?.[1]) };
    this.stage = 'PAYLOAD';
  }

  private takePayload(): void {
    let payload: Buffer;
    if ('mark' in this.framing) {
      const end = this.buffer.length - this.framing.mark.length;
      if (end < 0 || this.buffer.toString('latin1', end) !== this.framing.mark) return;
      payload = this.buffer.subarray(0, end);
      this.buffer = Buffer.alloc(0);
    } else {
      if (this.buffer.length < this.framing.length) return;
      payload = this.buffer.subarray(0, this.framing.length);
      this.buffer = this.buffer.subarray(this.framing.length);
    }
    this.received.push(Buffer.from(payload));
    this.stage = 'LOADING';
    void this.load(payload);
  }

  private async load(payload: Buffer): Promise<void> {
    const { node, socket } = this;
    node.keyspace.clear();
    node.loading = { total: payload.length, loaded: 0 };
    socket?.write('\n');
    await sleep(this.script.loadMs / 2);
    node.loading.loaded = Math.floor(payload.length / 2);
    await sleep(this.script.loadMs / 2);
    node.loading = undefined;
    if (this.stopped) return;
    const version = Number(/^REDIS(\d{4})/.exec(payload.toString('latin1', 0, 9))?.[1] ?? Number.NaN);
    if (!(version <= this.script.loadsUpTo)) {
      this.stage = 'HANDSHAKE';
      if (node.master) node.master.state = 'CONNECT';
      socket?.destroy();
      return;
    }
    node.keyspace = Keyspace.fromRdb(payload);
    if (node.file) node.file = Buffer.from(payload);
    node.adopt(this.sync.historyId, this.sync.offset);
    this.stage = 'STREAM';
    const behind = this.buffer;
    this.buffer = Buffer.alloc(0);
    if (behind.length > 0) this.takeStream(behind);
  }

  private takeStream(chunk: Buffer): void {
    const { node } = this;
    if (node.master) node.master.offset += chunk.length;
    if (node.profile.replicationIds) node.offset += chunk.length;
    for (const [name, what] of this.commands.push(chunk)) {
      const asked = name?.toString('latin1').toUpperCase() === 'REPLCONF' && what?.toString('latin1').toUpperCase() === 'GETACK';
      if (asked && node.profile.answersGetAck) this.acknowledge();
    }
  }

  private acknowledge(): void {
    const offset = String(this.node.master?.offset ?? 0);
    this.socket?.write(`*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$${String(offset.length)}\r\n${offset}\r\n`);
  }
}
