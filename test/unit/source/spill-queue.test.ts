import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { SpillQueue } from '../../../server/engine/source/spill-queue.js';
import { makeTempDir, removeTempDir } from '../../kit/processes.js';
import { waitFor } from '../../kit/wait.js';

const folders: string[] = [];
const folder = (): string => {
  const made = makeTempDir('spill');
  folders.push(made);
  return made;
};
afterEach(async () => {
  for (const made of folders.splice(0)) await removeTempDir(made);
});

const takeAll = async (queue: SpillQueue): Promise<Buffer> => {
  const pieces: Buffer[] = [];
  for (let piece = await queue.take(); piece; piece = await queue.take()) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
};

test('keeps the order through memory, file and memory again, whatever the pace of its reader', async () => {
  const directory = folder();
  const queue = new SpillQueue({ memoryBytes: 64 * 1024, fileBytes: 64 * 1024 * 1024, directory });
  const sent: Buffer[] = [];
  const got: Buffer[] = [];
  for (let round = 0; round < 60; round += 1) {
    for (let i = 0; i < (round * 7) % 11; i += 1) {
      const chunk = randomBytes(1 + ((round * 13 + i * 37) % 9_000));
      sent.push(chunk);
      queue.push(chunk);
    }
    for (let i = 0; i < (round * 5) % 9 && queue.pendingBytes > 0; i += 1) got.push(Buffer.from((await queue.take()) ?? []));
    expect(readdirSync(directory)).toEqual([]);
  }
  queue.end();
  got.push(await takeAll(queue));
  await queue.close();
  expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
});

test('uses the file once memory is full, and its start again once that is read', async () => {
  const queue = new SpillQueue({ memoryBytes: 1_000, fileBytes: 3_000, directory: folder() });
  for (let round = 0; round < 5; round += 1) {
    const sent = [randomBytes(900), randomBytes(900), randomBytes(90)];
    for (const chunk of sent) queue.push(chunk);
    const got: Buffer[] = [];
    while (queue.pendingBytes > 0) got.push(Buffer.from((await queue.take()) ?? []));
    expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
  }
  await queue.close();
});

test.each([
  ['without a file', { memoryBytes: 1_000, fileBytes: 0 }, 2],
  ['with a full file', { memoryBytes: 1_000, fileBytes: 2_000, directory: '.' }, 6],
])('%s more than the limit is SOURCE_BUFFER_LIMIT', async (_, options, chunks) => {
  const queue = new SpillQueue('directory' in options ? { ...options, directory: folder() } : options);
  for (let i = 0; i < chunks; i += 1) queue.push(Buffer.alloc(900));
  await waitFor(() => queue.pendingBytes > 0);
  await expect(takeAll(queue)).rejects.toMatchObject({ code: 'SOURCE_BUFFER_LIMIT' });
  await queue.close();
});

test('a folder that is not there is SOURCE_BUFFER_LIMIT, not a crash', async () => {
  const queue = new SpillQueue({ memoryBytes: 1_000, fileBytes: 10_000, directory: `${folder()}/absent` });
  queue.push(Buffer.alloc(900));
  queue.push(Buffer.alloc(900));
  queue.end();
  await expect(takeAll(queue)).rejects.toMatchObject({ code: 'SOURCE_BUFFER_LIMIT' });
  await queue.close();
});

test('a waiting reader hears of the end and of a failure', async () => {
  const ends = new SpillQueue({ memoryBytes: 10, fileBytes: 0 });
  const end = ends.take();
  ends.end();
  expect(await end).toBeUndefined();
  const fails = new SpillQueue({ memoryBytes: 10, fileBytes: 0 });
  const failure = fails.take();
  fails.fail(new Error('over'));
  await expect(failure).rejects.toThrow('over');
});
