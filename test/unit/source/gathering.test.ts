import { describe, expect, test } from 'vitest';
import { Gathering } from '../../../server/engine/source/gathering.js';
import { receiveRdb } from '../../../server/engine/source/replication.js';
import { waitFor } from '../../kit/wait.js';
import { scriptedDial, type ScriptedSocket } from './scripted-socket.js';

const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

test('a source is held up for a moment after a scant read, and never after one that may have filled its window', async () => {
  let socket: ScriptedSocket | undefined;
  let taken = 0;
  const receiving = receiveRdb(
    { host: 'source', port: 6379 },
    {
      dial: scriptedDial((dialled) => void (socket = dialled)),
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
  socket.finish();
  await (await receiving).closed;
  expect([taken, socket.pauses, socket.destroyed]).toEqual([20 * 64 * 1024 + 16 * 1024, 1, true]);
});

const KIB = 1024;
const MOST = 512 * KIB;
const MOMENT_MS = 8;

/** A source, its link and a reader that takes a while for what it reads: all in milliseconds and bytes. */
class Link {
  reads = 0;
  pauses = 0;
  private window = 0;
  private ready = 0;
  private at = 0;
  private taken = 0;

  /** @param perMs what the source makes @param holds what the receiver's window holds @param backlog what the source's side holds besides, and then the source waits */
  constructor(public perMs: number, private holds: number, private readonly backlog = 2.5 * 1024 * KIB) {}

  shrink(holds: number): void {
    this.holds = holds;
  }

  /** Bytes per millisecond, over a second. */
  run(gathering: Gathering): number {
    const [from, before] = [this.at, this.taken];
    while (this.at < from + 1_000) {
      const bytes = Math.min(MOST, this.window);
      if (bytes === 0) {
        this.pass(0.05);
        continue;
      }
      this.window -= bytes;
      this.reads += 1;
      this.taken += bytes;
      this.pass(0.05 + bytes / (150 * KIB));
      if (!gathering.after(bytes)) continue;
      this.pauses += 1;
      this.pass(MOMENT_MS);
    }
    return (this.taken - before) / (this.at - from);
  }

  private pass(ms: number): void {
    this.at += ms;
    this.ready = Math.min(this.backlog, this.ready + this.perMs * ms);
    const moved = Math.min(this.ready, this.holds - this.window);
    this.ready -= moved;
    this.window += moved;
  }
}

describe('how much gathers before it is read', () => {
  test.each([1, 10, 45])('a source that sends %d MB a second is read about once a moment, and loses nothing by that', (perSecond) => {
    const link = new Link(perSecond * 1_000, 1024 * KIB);
    const speed = link.run(new Gathering());
    expect(speed).toBeGreaterThan(0.97 * perSecond * 1_000);
    // Those between two moments are few, and a moment comes when the one before it is over and its bytes have been worked on.
    expect(link.reads).toBeLessThan(1.3 * link.pauses);
    expect(link.pauses).toBeGreaterThan(60);
  });

  test('a source that sends more in a moment than a read takes loses nothing either, also when it has sent less before', () => {
    const link = new Link(45_000, 4 * 1024 * KIB);
    const gathering = new Gathering();
    link.run(gathering);
    link.perMs = 400 * KIB;
    expect(link.run(gathering)).toBeGreaterThan(0.97 / (1 / (150 * KIB) + 0.05 / MOST));
  });

  test.each([64, 128, 256, 1_024])('a source that is faster than a window of %d KiB a moment is never held up', (holds) => {
    const link = new Link(400 * KIB, holds * KIB);
    const unbound = 1 / (1 / (150 * KIB) + 0.05 / Math.min(MOST, holds * KIB));
    expect(link.run(new Gathering())).toBeGreaterThan(0.97 * unbound);
    // The one before anything had gathered.
    expect(link.pauses).toBeLessThanOrEqual(1);
  });

  test('a window that has become smaller than what gathered before slows a source for a moment or some', () => {
    const link = new Link(45_000, 1024 * KIB);
    const gathering = new Gathering();
    link.run(gathering);
    link.shrink(128 * KIB);
    link.run(gathering);
    expect(link.run(gathering)).toBeGreaterThan(0.97 * 45_000);
  });
});
