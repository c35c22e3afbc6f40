import { expect, test } from 'vitest';
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
