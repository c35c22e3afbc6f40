import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DomainError } from '../../domain/errors.js';
import { isMissing, storageError, systemCode } from './fs-errors.js';
import { type FsOps } from './fs-ops.js';
import { decodeMarker, encodeMarker, MARKER_NAME, noMarkerButContent, type Marker } from './marker.js';

/** What a fresh volume may carry and still count as empty. */
const VOLUME_FURNITURE: ReadonlySet<string> = new Set(['lost+found', '.snapshot', '.Trashes', '.fseventsd']);

/** A store's marker, or null when the folder carries none. A marker that cannot be understood is STORAGE_IO. */
export const readMarker = async (fs: FsOps, root: string): Promise<Marker | null> => {
  let text: string;
  try {
    text = Buffer.from(await fs.readFile(join(root, MARKER_NAME))).toString('utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw storageError('read the marker', MARKER_NAME, root, error);
  }
  return decodeMarker(text, root);
};

/** Writes a marker under a temporary name, lets `place` give it its own, durably. */
const writeMarker = async (fs: FsOps, root: string, marker: Marker, place: (temporary: string, path: string) => Promise<void>): Promise<void> => {
  const temporary = join(root, `${MARKER_NAME}.${randomUUID()}`);
  const file = await fs.createFile(temporary);
  try {
    try {
      await file.append(encodeMarker(marker));
      await file.sync();
    } finally {
      await file.close();
    }
    await place(temporary, join(root, MARKER_NAME));
    await fs.syncFolder(root);
  } finally {
    await fs.unlink(temporary).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  }
};

/** Where all archives lie; `archive/layout.ts` makes their keys. */
export const ARCHIVES_FOLDER = 'backups';
/** What a store holds besides its marker. */
const STORE_CONTENT: ReadonlySet<string> = new Set([ARCHIVES_FOLDER, '.tmp']);

/**
 * Makes a folder a store. Several processes may try at once: one marker wins and all return it.
 * A folder with foreign content and no marker is refused, since it may be the mount point of a volume that is not there.
 * @param options.overContent also where archives lie without a marker, as after a copy that left it out
 */
export const createMarker = async (fs: FsOps, root: string, marker: Marker, options: { overContent: boolean } = { overContent: false }): Promise<Marker> => {
  const foreign = (await fs.names(root)).filter((name) =>
    !name.startsWith(MARKER_NAME) && !VOLUME_FURNITURE.has(name) && !(options.overContent && STORE_CONTENT.has(name)));
  const already = await readMarker(fs, root);
  if (already !== null) return already;
  if (foreign.length > 0) {
    throw noMarkerButContent(root);
  }
  await writeMarker(fs, root, marker, (temporary, path) =>
    fs.link(temporary, path).catch(async (error: unknown) => {
      if (systemCode(error) !== 'EEXIST') await fs.rename(temporary, path);
    }));
  const winner = await readMarker(fs, root);
  if (winner === null) throw new DomainError('STORAGE_IO', `The marker just written to ${root} is gone.`);
  return winner;
};

/** Puts a marker in the place of the one that is there; at no moment is there none. */
export const replaceMarker = (fs: FsOps, root: string, marker: Marker): Promise<void> =>
  writeMarker(fs, root, marker, (temporary, path) => fs.rename(temporary, path));
