import { EventEmitter } from 'node:events';
import { type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { type ReusedReading } from '../../../server/engine/ports.js';
import { receiveRdb } from '../../../server/engine/source/replication.js';
import { waitFor } from '../../kit/wait.js';

const MARK = 'a'.repeat(40);
const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

/** A connection whose every read is the test's: what is read at once is what decides. */
class ScriptedSocket extends EventEmitter {
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
  read(bytes: string | Buffer): void {
    const chunk = Buffer.from(bytes);
    this.reading.memory.set(chunk);
    this.reading.take(chunk.length);
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

test('a source is held up for a moment after a scant read, and never after one that may have filled its window', async () => {
  let socket: ScriptedSocket | undefined;
  let taken = 0;
  const receiving = receiveRdb(
    { host: 'source', port: 6379 },
    {
      dial: (_to, options) => {
        if (options?.reading === undefined) throw new Error('Nothing to read into');
        socket = new ScriptedSocket(options.reading);
        return Promise.resolve(socket as unknown as Socket);
      },
      log,
    },
    { engine: 'REDIS', version: '7.0.15' }, AbortSignal.timeout(60_000), (piece) => void (taken += piece.length),
  );
  await waitFor(() => socket?.asked);
  if (socket === undefined) throw new Error('It was not dialled');
  // The window that Linux begins with.
  for (let at = 0; at < 20; at += 1) socket.read(Buffer.alloc(64 * 1024));
  expect(socket.pauses).toBe(0);
  socket.read(Buffer.alloc(16 * 1024));
  expect(socket.pauses).toBe(1);
  const { resumes } = socket;
  await waitFor(() => (socket?.resumes ?? 0) > resumes);
  socket.read(MARK);
  socket.emit('end');
  await (await receiving).closed;
  expect([taken, socket.pauses, socket.destroyed]).toEqual([20 * 64 * 1024 + 16 * 1024, 1, true]);
});
