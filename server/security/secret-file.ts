import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Writes a secret to a file of mode 0600 that is there whole or not at all, also after a power failure: a temporary file beside it,
 * synced, then moved to its name, then the folder synced. A missing folder is made with mode 0700. Fails with the file system's error.
 * @param options.replace false: an existing file stays, and the answer is false
 */
export const writeSecretFile = async (path: string, text: string, { replace }: { replace: boolean }): Promise<boolean> => {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const partial = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    const file = await open(partial, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    if (replace) await rename(partial, path);
    // A link, unlike a rename, never goes over what another process has put there meanwhile.
    else await link(partial, path);
  } catch (error) {
    if (!replace && error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(partial, { force: true });
  }
  await syncFolder(folder);
  return true;
};

const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};
