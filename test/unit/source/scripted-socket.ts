import { EventEmitter } from 'node:events';
import { type Socket } from 'node:net';
import { type Dial, type ReusedReading } from '../../../server/engine/ports.js';

const MARK = 'a'.repeat(40);

/** A connection to a source that sends an RDB, whose every read is the test's: what is read at once is what decides. */
export class ScriptedSocket extends EventEmitter {
  pauses = 0;
  resumes = 0;
  destroyed = false;
  readableEnded = false;
  asked = false;
  constructor(private readonly reading: ReusedReading) {
    super();
  }
  write(command: Buffer): boolean {
    const said = command.toString();
    setImmediate(() => {
      if (said.includes('PSYNC')) {
        this.read(`+FULLRESYNC ${'b'.repeat(40)} 0\r\n$EOF:${MARK}\r\n`);
        this.asked = true;
      } else this.read(said.includes('PING') ? '+PONG\r\n' : '+OK\r\n');
    });
    return true;
  }
  read(bytes: string | Uint8Array): void {
    const chunk = Buffer.from(bytes as Uint8Array);
    this.reading.memory.set(chunk);
    if (!this.reading.take(chunk.length)) this.pauses += 1;
  }
  /** The RDB is complete. */
  finish(): void {
    this.read(MARK);
    this.emit('end');
  }
  pause(): void {
    this.pauses += 1;
  }
  resume(): void {
    this.resumes += 1;
  }
  destroy(): void {
    this.destroyed = true;
  }
}

/** @param onDialled given the one connection that is made */
export const scriptedDial = (onDialled: (socket: ScriptedSocket) => void): Dial => (_to, options) => {
  if (options?.reading === undefined) throw new Error('Nothing to read into');
  const socket = new ScriptedSocket(options.reading);
  onDialled(socket);
  return Promise.resolve(socket as unknown as Socket);
};
