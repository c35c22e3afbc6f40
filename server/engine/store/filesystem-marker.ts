import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DomainError } from '../../domain/errors.js';
import { isMissing, storageError, systemCode } from './fs-errors.js';
import { type FsOps } from './fs-ops.js';

export const MARKER_NAME = '.snapback-store';
const MARKER_FORMAT = 1;
/** What a fresh volume may carry and still count as empty. */
const VOLUME_FURNITURE: ReadonlySet<string> = new Set(['lost+found', '.snapshot', '.Trashes', '.fseventsd']);

/** The store's id from its marker, or null when the folder carries none. A marker that cannot be understood is STORAGE_IO. */
export const readMarker = async (fs: FsOps, root: string): Promise<string | null> => {
  let text: string;
  try {
    text = Buffer.from(await fs.readFile(join(root, MARKER_NAME))).toString('utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw storageError('read the marker', MARKER_NAME, root, error);
  }
  const broken = (cause?: unknown): DomainError => new DomainError('STORAGE_IO', `The marker ${join(root, MARKER_NAME)} is damaged.`, {
    hint: 'Put the marker back from a copy of the store; it is one line of JSON with "format" and "storeId".', cause,
  });
  let marker: unknown;
  try {
    marker = JSON.parse(text);
  } catch (error) {
    throw broken(error);
  }
  if (typeof marker !== 'object' || marker === null || !('format' in marker) || !('storeId' in marker)) throw broken();
  if (typeof marker.storeId !== 'string' || !/^[A-Za-z0-9_-]{1,64}$/.test(marker.storeId)) throw broken();
  if (marker.format !== MARKER_FORMAT) {
    throw new DomainError('UNSUPPORTED_FORMAT', `The store in ${root} has layout ${String(marker.format)}; this version knows ${String(MARKER_FORMAT)}.`, {
      hint: 'Use the version of Snapback that made this store, or a newer one.',
    });
  }
  return marker.storeId;
};

/**
 * Makes an empty folder a store. Several processes may try at once: one marker wins and all return its id.
 * A folder with foreign content and no marker is refused, since it may be the mount point of a volume that is not there.
 */
export const createMarker = async (fs: FsOps, root: string, storeId: string): Promise<string> => {
  const path = join(root, MARKER_NAME);
  const temporary = join(root, `${MARKER_NAME}.${randomUUID()}`);
  const foreign = (await fs.names(root)).filter((name) => !name.startsWith(MARKER_NAME) && !VOLUME_FURNITURE.has(name));
  const already = await readMarker(fs, root);
  if (already !== null) return already;
  if (foreign.length > 0) {
    throw new DomainError('STORAGE_IO', `${root} holds other files and no store marker.`, {
      hint: `Choose an empty folder. If this is a Snapback store, its marker ${MARKER_NAME} is missing: put it back from a copy.`,
    });
  }
  const file = await fs.createFile(temporary);
  try {
    try {
      await file.append(Buffer.from(`${JSON.stringify({ format: MARKER_FORMAT, storeId })}\n`, 'utf8'));
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.link(temporary, path).catch(async (error: unknown) => {
      if (systemCode(error) !== 'EEXIST') await fs.rename(temporary, path);
    });
    await fs.syncFolder(root);
  } finally {
    await fs.unlink(temporary).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  }
  const winner = await readMarker(fs, root);
  if (winner === null) throw new DomainError('STORAGE_IO', `The marker just written to ${root} is gone.`);
  return winner;
};
