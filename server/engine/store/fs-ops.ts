import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { newFile } from './new-file.js';

/** An open file, as far as the store needs it. */
export interface FileOps {
  /** Writes all of `chunk` at the current end; past the page cache where it begins and ends on pages, in memory and in the file, and the file system can. */
  append(chunk: Uint8Array): Promise<void>;
  /** Fills `into` from `position`; returns the bytes read, 0 at the end. */
  read(into: Uint8Array, position: bigint): Promise<number>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface EntryStat {
  kind: 'file' | 'folder' | 'other';
  size: bigint;
  modifiedAt: Date;
}

/** Every file system call of the store, in one place. Each rejects with Node's system errors (`error.code`). */
export interface FsOps {
  /** Creates a file that must not exist, mode 0600. */
  createFile(path: string): Promise<FileOps>;
  openFile(path: string): Promise<FileOps>;
  readFile(path: string): Promise<Uint8Array>;
  /** Like link(2): never overwrites. */
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** One level, mode 0700. */
  createFolder(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
  names(path: string): Promise<string[]>;
  /** Does not follow links. */
  stat(path: string): Promise<EntryStat>;
  syncFolder(path: string): Promise<void>;
  freeBytes(path: string): Promise<bigint>;
}

const opened = (handle: fs.FileHandle): FileOps => ({
  append: () => Promise.reject(new Error('The file is open for reading.')),
  read: async (into, position) => (await handle.read(into, 0, into.length, Number(position))).bytesRead,
  sync: () => handle.sync(),
  close: () => handle.close(),
});

export const nodeFsOps: FsOps = {
  createFile: async (path) => newFile(await fs.open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)),
  openFile: async (path) => opened(await fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW)),
  readFile: (path) => fs.readFile(path),
  link: (from, to) => fs.link(from, to),
  rename: (from, to) => fs.rename(from, to),
  unlink: (path) => fs.unlink(path),
  createFolder: (path) => fs.mkdir(path, 0o700),
  removeFolder: (path) => fs.rmdir(path),
  names: (path) => fs.readdir(path),
  stat: async (path) => {
    const found = await fs.lstat(path, { bigint: true });
    return { kind: found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other', size: found.size, modifiedAt: found.mtime };
  },
  syncFolder: async (path) => {
    const handle = await fs.open(path, constants.O_RDONLY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  freeBytes: async (path) => {
    const found = await fs.statfs(path, { bigint: true });
    return found.bavail * found.bsize;
  },
};
