import { constants } from 'node:fs';
import { mkdtemp, open, readFile, readdir, readlink, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newFile, type WriteHandle } from '../../../server/engine/store/new-file.js';
import { Staging, STAGE_BYTES } from '../../../server/engine/store/staging.js';
import { randomBytesOf } from '../archive/archive-kit.js';

const PAGE = 4096;
const fault = (code: string): Error => Object.assign(new Error(`${code}: injected`), { code });

/** Bytes in memory that begins on a page, as a store's writer has them. */
const inPages = (bytes: Uint8Array): Uint8Array => {
  const staging = new Staging();
  if (staging.take(bytes) !== bytes.length) throw new Error('too long');
  return staging.content;
};

describe('a new file', () => {
  let folder: string;
  let path: string;
  let handle: FileHandle;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'snapback-file-'));
    path = join(folder, 'file');
    handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  });
  afterEach(async () => {
    await handle.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** How this process has the file open: the flags of each descriptor. */
  const openFlags = async (): Promise<number[]> => {
    const flags = await Promise.all((await readdir('/proc/self/fd')).map(async (fd) => {
      if (await readlink(`/proc/self/fd/${fd}`).catch(() => '') !== path) return [];
      return [parseInt(/^flags:\s+(\d+)$/m.exec(await readFile(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!, 8)];
    }));
    return flags.flat();
  };
  /** One that writes like the file itself, as told by `act`, which gets the number of the write. */
  const acting = (act: (turn: number, length: number) => number): { handle: WriteHandle; writes: number[]; closed: () => number } => {
    const writes: number[] = [];
    let closed = 0;
    const write = (chunk: Uint8Array, offset: number, length: number, position: number) => {
      const most = act(writes.push(length), length);
      return handle.write(chunk, offset, Math.min(most, length), position);
    };
    return { handle: { write: (async (...args: Parameters<typeof write>) => write(...args)) as WriteHandle['write'], close: () => { closed += 1; return Promise.resolve(); } }, writes, closed: () => closed };
  };

  it('is what was appended, in pieces of any length from memory of any place', async () => {
    const pieces = [PAGE, 3 * PAGE, 1, PAGE - 1, 2 * PAGE, 0, 17, 64 * PAGE, STAGE_BYTES, PAGE].map((length, at) => randomBytesOf(length, at));
    const file = newFile(handle);
    for (const [at, piece] of pieces.entries()) await file.append(at % 3 === 2 ? piece : inPages(piece));
    await file.sync();
    await file.close();
    expect((await readFile(path)).equals(Buffer.concat(pieces))).toBe(true);
    expect(await openFlags()).toEqual([]);
  });

  it('takes whole pages past the page cache where its file system can', async () => {
    const can = await open(path, constants.O_WRONLY | constants.O_DIRECT).then(async (direct) => {
      const written = await direct.write(inPages(Buffer.alloc(PAGE)), 0, PAGE, 0).then(() => true, () => false);
      await direct.close();
      return written;
    }, () => false);
    const file = newFile(handle);
    await file.append(Buffer.alloc(PAGE - 1));
    expect((await openFlags()).length).toBe(1);
    await file.append(Buffer.alloc(1));
    await file.append(inPages(randomBytesOf(2 * PAGE, 1)));
    expect((await openFlags()).some((flags) => (flags & constants.O_DIRECT) !== 0)).toBe(can);
    await file.close();
  });

  it.each([1, 2, 5])('goes on through the page cache when its file system refuses write %i', async (turn) => {
    const direct = acting((now, length) => { if (now >= turn) throw fault('EINVAL'); return length; });
    const pieces = Array.from({ length: 6 }, (_, at) => randomBytesOf(2 * PAGE, at));
    const file = newFile(handle, () => Promise.resolve(direct.handle));
    for (const piece of pieces) await file.append(inPages(piece));
    await file.close();
    expect((await readFile(path)).equals(Buffer.concat(pieces))).toBe(true);
    // It is asked no more.
    expect([direct.writes.length, direct.closed()]).toEqual([turn, 1]);
  });

  it('does without where it cannot be opened so', async () => {
    let asked = 0;
    const file = newFile(handle, () => { asked += 1; return Promise.resolve(null); });
    const pieces = [randomBytesOf(PAGE, 1), randomBytesOf(PAGE, 2)];
    for (const piece of pieces) await file.append(inPages(piece));
    await file.close();
    expect((await readFile(path)).equals(Buffer.concat(pieces))).toBe(true);
    expect(asked).toBe(1);
  });

  it.each([['whole pages', PAGE], ['no whole pages', 1000]])('finishes a write of which %s were done', async (_, most) => {
    const direct = acting(() => most);
    const pieces = Array.from({ length: 3 }, (__, at) => randomBytesOf(4 * PAGE, at));
    const file = newFile(handle, () => Promise.resolve(direct.handle));
    for (const piece of pieces) await file.append(inPages(piece));
    await file.close();
    expect((await readFile(path)).equals(Buffer.concat(pieces))).toBe(true);
    expect(direct.writes[0]).toBe(4 * PAGE);
  });

  it.each(['EIO', 'ENOSPC'])('fails with what a write fails with: %s', async (code) => {
    const direct = acting((now, length) => { if (now === 2) throw fault(code); return length; });
    const file = newFile(handle, () => Promise.resolve(direct.handle));
    await file.append(inPages(randomBytesOf(PAGE, 1)));
    await expect(file.append(inPages(randomBytesOf(PAGE, 2)))).rejects.toMatchObject({ code });
    await file.close();
    expect(direct.closed()).toBe(1);
  });

  it('closes what is being opened when it is closed', async () => {
    const direct = acting((_, length) => length);
    let opened = (): void => undefined;
    const file = newFile(handle, () => new Promise((resolve) => { opened = () => { resolve(direct.handle); }; }));
    const writing = file.append(inPages(randomBytesOf(PAGE, 1))).catch(() => undefined);
    const closing = file.close();
    opened();
    await Promise.all([writing, closing]);
    expect(direct.closed()).toBe(1);
  });
});

describe('a stage', () => {
  it('takes what it has room for, and is another one\'s memory only when released', () => {
    const first = new Staging();
    expect(first.take(Buffer.alloc(STAGE_BYTES - 10, 1))).toBe(STAGE_BYTES - 10);
    expect([first.full, first.take(Buffer.alloc(100, 2)), first.full, first.take(Buffer.alloc(1))]).toEqual([false, 10, true, 0]);
    const content = first.content;
    expect([content[0], content.at(-1), content.length, content.byteOffset % PAGE]).toEqual([1, 2, STAGE_BYTES, 0]);
    const second = new Staging();
    second.take(Buffer.alloc(STAGE_BYTES, 3));
    expect(content[0]).toBe(1);
    first.clear();
    expect([first.full, first.content.length]).toEqual([false, 0]);
    first.release();
    new Staging().take(Buffer.alloc(1, 9));
    expect(content[0]).toBe(9);
  });
});
