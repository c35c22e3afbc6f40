import { randomBytes } from 'node:crypto';
import { link, lstat, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { DomainError } from '../domain/errors.js';

/** A file that is there whole, or not at all. */
export interface OutputFile {
  readonly path: string;
  write(bytes: Uint8Array): Promise<void>;
  /** Durable, then under its name. CONFLICT when something has got that name meanwhile. */
  commit(): Promise<void>;
  /** Leaves nothing. Without effect after `commit`. */
  abort(): Promise<void>;
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : String(error));

const taken = (path: string): DomainError => new DomainError('CONFLICT', `${path} is there already.`, { hint: 'Choose another name, or add --force to replace it.' });

const fault = (what: string, path: string, cause: unknown): DomainError => {
  const code = codeOf(cause);
  return new DomainError(code === 'ENOSPC' || code === 'EDQUOT' ? 'STORAGE_FULL' : 'STORAGE_IO', `${path} cannot be ${what} (${code}).`, { hint: 'Check the folder, its rights, and the room there.', cause });
};

/** File systems without hard links (some sticks and shares): the name is claimed first, and then given to what was written. */
const publishWithoutLinks = async (from: string, path: string): Promise<void> => {
  await (await open(path, 'wx', 0o600)).close();
  await rename(from, path);
};

/**
 * Begins a file of mode 0600 beside its final name. What has that name stays as it is until `commit`, and for good unless `replace` is given.
 * CONFLICT at once when there is something that may not be replaced.
 */
export const createOutputFile = async (target: string, { replace }: { replace: boolean }): Promise<OutputFile> => {
  const path = resolve(target);
  const there = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return null;
    throw fault('written', path, error);
  });
  if (there && (!replace || there.isDirectory())) throw taken(path);
  const partial = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.partial`);
  const file: FileHandle = await open(partial, 'wx', 0o600).catch((error: unknown) => {
    throw fault('written', path, error);
  });
  let ended = false;
  const publish = async (): Promise<void> => {
    if (replace) return rename(partial, path);
    try {
      // A link, unlike a rename, never goes over what somebody else has put there meanwhile.
      await link(partial, path);
    } catch (error) {
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(codeOf(error))) throw error;
      return publishWithoutLinks(partial, path);
    }
    await rm(partial);
  };
  return {
    path,
    async write(bytes) {
      try {
        for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done, bytes.length - done)).bytesWritten;
      } catch (error) {
        throw fault('written', path, error);
      }
    },
    async commit() {
      try {
        await file.sync();
        await file.close();
        await publish();
        ended = true;
        const folder = await open(dirname(path), 'r');
        await folder.sync().finally(() => folder.close());
      } catch (error) {
        throw codeOf(error) === 'EEXIST' ? taken(path) : fault('completed', path, error);
      }
    },
    async abort() {
      if (ended) return;
      ended = true;
      // Closed already when only its name could not be given.
      await file.close().catch(() => undefined);
      await rm(partial, { force: true });
    },
  };
};
