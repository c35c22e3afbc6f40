import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { systemCode } from './fs-errors.js';
import { type FileOps } from './fs-ops.js';

/** Of memory, of lengths and of places in files: a multiple of this suits every device. */
const ALIGNMENT = 4096;

/** How file systems without direct I/O answer, some when the file is opened and some when it is written to. */
const NOT_SO: ReadonlySet<unknown> = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP']);

/** As much of a handle as writing takes. */
export type WriteHandle = Pick<FileHandle, 'write' | 'close'>;

/** The same file once more, past the page cache. Null where that cannot be had. */
const openDirectly = (file: FileHandle): Promise<WriteHandle | null> =>
  open(`/proc/self/fd/${String(file.fd)}`, constants.O_WRONLY | constants.O_DIRECT).catch(() => null);

/**
 * A new file that is written from its beginning. Whole pages go past the page cache: archives are large and seldom read, and in the cache they
 * would push out what others on this machine work with, count as this process's memory in a container, and be copied once more (on virtual machines
 * that give free memory back, into pages that the host has to find first: a third of the CPU time of a backup, measured).
 */
export const newFile = (file: FileHandle, openDirect: (file: FileHandle) => Promise<WriteHandle | null> = openDirectly): FileOps => {
  let end = 0;
  let direct: Promise<WriteHandle | null> | undefined;
  /** Returns what is left. */
  const writeSome = async (to: WriteHandle, chunk: Uint8Array): Promise<Uint8Array> => {
    const { bytesWritten } = await to.write(chunk, 0, chunk.length, end);
    end += bytesWritten;
    return chunk.subarray(bytesWritten);
  };
  const writePages = async (chunk: Uint8Array): Promise<Uint8Array> => {
    let rest = chunk;
    while (rest.length > 0 && [rest.byteOffset, rest.length, end].every((value) => value % ALIGNMENT === 0)) {
      const to = await (direct ??= openDirect(file));
      if (to === null) return rest;
      try {
        rest = await writeSome(to, rest);
      } catch (error) {
        if (!NOT_SO.has(systemCode(error))) throw error;
        direct = Promise.resolve(null);
        await to.close();
      }
    }
    return rest;
  };
  return {
    append: async (chunk) => {
      let rest = await writePages(chunk);
      while (rest.length > 0) rest = await writeSome(file, rest);
    },
    read: () => Promise.reject(new Error('The file is open for writing.')),
    // Of the file, whichever handle wrote it.
    sync: () => file.sync(),
    close: async () => {
      try {
        await (await direct)?.close();
      } finally {
        await file.close();
      }
    },
  };
};
