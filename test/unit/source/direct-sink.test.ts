import { describe, expect, test } from 'vitest';
import { receiveRdb, type ReceivedRdb } from '../../../server/engine/source/replication.js';
import { waitFor } from '../../kit/wait.js';
import { randomBytesOf, seeded } from '../archive/archive-kit.js';
import { scriptedDial, type ScriptedSocket } from './scripted-socket.js';

const quiet = (): void => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

interface Taking {
  socket: ScriptedSocket;
  receiving: Promise<ReceivedRdb>;
  /** All that was taken, in its order. */
  taken: () => Buffer;
  calls: { direct: number; queued: number; looks: number };
}

/** @param room how much of what is read is taken at once @param wait of the sink, for what has gone through the queue */
const begin = async (room: (bytes: number) => number, wait: () => Promise<void>): Promise<Taking> => {
  let socket: ScriptedSocket | undefined;
  const pieces: Buffer[] = [];
  const calls = { direct: 0, queued: 0, looks: 0 };
  let atWork = false;
  let lookedAt = true;
  const receiving = receiveRdb(
    { host: 'source', port: 6379 }, { dial: scriptedDial((dialled) => void (socket = dialled)), log }, { engine: 'REDIS', version: '7.0.15' }, AbortSignal.timeout(60_000),
    async (piece) => {
      expect(atWork).toBe(false);
      atWork = true;
      calls.queued += 1;
      pieces.push(Buffer.from(piece));
      await wait();
      atWork = false;
    },
    {
      take: (piece) => {
        expect(atWork).toBe(false);
        calls.direct += 1;
        lookedAt = false;
        const bytes = room(piece.length);
        pieces.push(Buffer.from(piece.subarray(0, bytes)));
        return bytes;
      },
      look: () => {
        expect(lookedAt).toBe(false);
        lookedAt = true;
        calls.looks += 1;
      },
    },
  );
  receiving.catch(() => undefined);
  await waitFor(() => socket?.asked);
  if (socket === undefined) throw new Error('It was not dialled');
  return { socket, receiving, taken: () => Buffer.concat(pieces), calls };
};

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('what a source sends is taken where it was read', () => {
  test('as long as all of it can be', async () => {
    const { socket, receiving, taken, calls } = await begin((bytes) => bytes, () => Promise.resolve());
    const rdb = randomBytesOf(300_000, 1);
    for (let at = 0; at < rdb.length; at += 50_000) socket.read(rdb.subarray(at, at + 50_000));
    socket.finish();
    expect((await receiving).bytes).toBe(BigInt(rdb.length));
    expect(taken().equals(rdb)).toBe(true);
    // The mark may have been payload: the last 40 bytes of a read come with the next one.
    expect(calls).toEqual({ direct: 12, queued: 0, looks: 7 });
  });

  test('and goes through the queue, in its order, while the sink is at work or has no room', async () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seeded(seed);
      const greedy = random(3);
      const { socket, receiving, taken, calls } = await begin(
        (bytes) => (greedy === 0 ? random(bytes + 1) : greedy === 1 && random(4) > 0 ? bytes : random(2) * bytes),
        async () => {
          for (let turns = random(4); turns > 0; turns -= 1) await turn();
        },
      );
      const rdb = randomBytesOf(200_000 + random(100_000), seed);
      for (let at = 0; at < rdb.length;) {
        const bytes = 1 + random(random(2) === 0 ? 60 : 40_000);
        socket.read(rdb.subarray(at, at + bytes));
        at += bytes;
        if (random(2) === 0) await turn();
      }
      socket.finish();
      await receiving;
      expect(taken().equals(rdb), `seed ${String(seed)}`).toBe(true);
      expect(calls.looks).toBeGreaterThan(0);
      expect(calls.queued).toBeGreaterThan(0);
    }
  });

  test('and what it fails with is what the transfer fails with', async () => {
    const { socket, receiving } = await begin(() => {
      throw new RangeError('no room');
    }, () => Promise.resolve());
    socket.read(Buffer.alloc(1_000));
    await expect(receiving).rejects.toThrow('no room');
    expect(socket.destroyed).toBe(true);
    // What arrives after that is nobody's.
    socket.read(Buffer.alloc(1_000));
  });
});
