import { randomBytes, randomUUID } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { DomainError, abortReason } from '../../domain/errors.js';
import { ARCHIVES_FOLDER, createMarker, readMarker, replaceMarker } from './filesystem-marker.js';
import { FilesystemObjectWriter } from './filesystem-writer.js';
import { isMissing, storageError, systemCode } from './fs-errors.js';
import { type FsOps, nodeFsOps } from './fs-ops.js';
import { anotherStore, MARKER_NAME, notAStore, type Marker } from './marker.js';
import { oneAtATime } from './one-at-a-time.js';
import {
  assertKey, assertPrefix, assertRange, keyTaken, noSuchObject, type CallOptions, type ListOptions, type ObjectWriter, type ReadOptions, type Store, type StoreHealth, type StoredObject,
  type SweepOptions,
} from './store.js';

const TEMPORARIES = '.tmp';
/** Name of the temporary that `check` writes; not an object anybody can ask for. */
const PROBE_KEY = 'probe';
const READ_BYTES = 512 * 1024;

/** Keys hold no `+` and no `~`: a temporary's name says which object it was meant for. */
const temporaryName = (key: string): string => `${key.replaceAll('/', '+')}~${randomBytes(9).toString('hex')}`;
const keyOfTemporary = (name: string): string => (name.split('~')[0] ?? '').replaceAll('+', '/');

export interface FilesystemStoreOptions {
  /** Folder of the store, better a mount point's child than the mount point: an absent volume is then noticed by its missing marker. */
  root: string;
  /** Make the folder and its marker when they are not there; `overContent`: also where archives lie already. Without it a missing marker is STORAGE_IO. */
  create: boolean | 'overContent';
  /** Id for a store made now; default random. An existing store keeps its own. */
  storeId?: string | undefined;
  /** Whose archives a store made now will hold; default: nobody's yet. */
  catalogueId?: string | undefined;
  /** Nothing is made, and a marker is not asked for where archives lie: a copy of a store may have left it out. */
  readOnly?: boolean | undefined;
  /** Replaces the file system calls, so that faults can be had on demand. */
  fs?: FsOps | undefined;
}

const missingMarker = (root: string): DomainError =>
  new DomainError('STORAGE_IO', `The store in ${root} has lost its marker: is its volume not mounted?`, {
    hint: 'Mount the volume again. Nothing is written or counted as deleted until the marker is back.', retryable: true,
    details: { location: root },
  });

/** For those who only read. An empty mount point has neither a marker nor archives. */
const markerOfCopy = async (fs: FsOps, root: string): Promise<Marker> => {
  const names = await fs.names(root).catch((error: unknown) => {
    if (isMissing(error)) throw notAStore(root);
    throw error;
  });
  if (names.includes(ARCHIVES_FOLDER)) return { storeId: 'copy', catalogueId: null };
  const marker = await readMarker(fs, root);
  if (marker === null) throw notAStore(root);
  return { ...marker, storeId: 'copy' };
};

const makeRoot = async (fs: FsOps, path: string): Promise<void> => {
  try {
    await fs.createFolder(path);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return;
    if (!isMissing(error) || dirname(path) === path) throw error;
    await makeRoot(fs, dirname(path));
    await makeRoot(fs, path);
    return;
  }
  await fs.syncFolder(dirname(path));
};

/**
 * Opens a folder as a store: objects are files under their keys, unsealed ones lie in `.tmp`, `.snapback-store` is the marker.
 * Fails with STORAGE_IO (no marker and not to be created, or foreign content), STORAGE_PERMISSION, UNSUPPORTED_FORMAT.
 */
export const openFilesystemStore = async (options: FilesystemStoreOptions): Promise<Store> => {
  const fs = options.fs ?? nodeFsOps;
  const root = resolve(options.root);
  try {
    if (options.readOnly) return new FilesystemStore(fs, root, (await markerOfCopy(fs, root)).storeId, true);
    if (options.create !== false) await makeRoot(fs, root);
    let marker = await readMarker(fs, root);
    if (marker === null && options.create !== false) {
      const fresh = { storeId: options.storeId ?? randomUUID(), catalogueId: options.catalogueId ?? null };
      marker = await createMarker(fs, root, fresh, { overContent: options.create === 'overContent' });
    }
    if (marker === null) throw notAStore(root);
    await fs.createFolder(join(root, TEMPORARIES)).catch((error: unknown) => {
      // A store on a read-only volume can still be read; writing will say what is wrong.
      if (!['EEXIST', 'EROFS', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) throw error;
    });
    return new FilesystemStore(fs, root, marker.storeId);
  } catch (error) {
    throw storageError('open', 'the store', root, error);
  }
};

class FilesystemStore implements Store {
  readonly kind = 'FILE_SYSTEM';
  readonly location: string;
  private readonly exclusively = oneAtATime();

  constructor(private readonly fs: FsOps, private readonly root: string, readonly id: string, private readonly readOnly = false) {
    this.location = root;
  }

  async create(key: string, { signal }: CallOptions = {}): Promise<ObjectWriter> {
    assertKey(key);
    if (signal?.aborted === true) throw abortReason(signal);
    // `stat` finds the marker gone too, before a temporary is written to an empty mount point.
    if (await this.stat(key) !== null) throw keyTaken(key, this.root);
    const temporary = join(this.root, TEMPORARIES, temporaryName(key));
    try {
      const file = await this.fs.createFile(temporary).catch(async (error: unknown) => {
        if (!isMissing(error)) throw error;
        await this.fs.createFolder(join(this.root, TEMPORARIES));
        return this.fs.createFile(temporary);
      });
      return new FilesystemObjectWriter({ fs: this.fs, root: this.root, key, temporary, exclusively: this.exclusively }, file, signal);
    } catch (error) {
      throw storageError('create', key, this.root, error);
    }
  }

  async *read(key: string, options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    assertKey(key);
    assertRange(key, options);
    const { signal } = options;
    const aborted = (): void => { if (signal?.aborted === true) throw abortReason(signal); };
    aborted();
    const file = await this.fs.openFile(join(this.root, key)).catch(async (error: unknown) => {
      if (!isMissing(error)) throw storageError('open', key, this.root, error);
      await this.assertMounted();
      throw noSuchObject(key, this.root, error);
    });
    const buffers: Buffer[] = [];
    let position = options.offset ?? 0n;
    let left = options.length;
    /** Begins the next read, into the buffer that the consumer has given back. Undefined when nothing is left to be read. */
    const begin = (turn: number): Promise<Buffer> | undefined => {
      if (left === 0n) return undefined;
      const size = left === undefined || left > BigInt(READ_BYTES) ? READ_BYTES : Number(left);
      const buffer = (buffers[turn % 2] ??= Buffer.allocUnsafeSlow(size)).subarray(0, size);
      const reading = file.read(buffer, position).then((got) => buffer.subarray(0, got), (error: unknown) => {
        throw storageError(`read at byte ${String(position)} of`, key, this.root, error);
      });
      // Whoever leaves early does not hear of it.
      reading.catch(() => undefined);
      return reading;
    };
    let reading = begin(0);
    try {
      for (let turn = 1; reading !== undefined; turn += 1) {
        const chunk = await reading;
        aborted();
        if (chunk.length === 0) return;
        position += BigInt(chunk.length);
        if (left !== undefined) left -= BigInt(chunk.length);
        reading = begin(turn);
        yield chunk;
        aborted();
      }
    } finally {
      await reading?.catch(() => undefined);
      await file.close();
    }
  }

  async stat(key: string): Promise<StoredObject | null> {
    assertKey(key);
    try {
      const found = await this.fs.stat(join(this.root, key));
      return found.kind === 'file' ? { key, size: found.size, modifiedAt: found.modifiedAt } : null;
    } catch (error) {
      if (!isMissing(error)) throw storageError('stat', key, this.root, error);
      await this.assertMounted();
      return null;
    }
  }

  async remove(key: string): Promise<void> {
    assertKey(key);
    const path = join(this.root, key);
    try {
      await this.fs.unlink(path).catch(async (error: unknown) => {
        if (!isMissing(error)) throw error;
        await this.assertMounted();
      });
      await this.dropEmptyFolders(dirname(path));
    } catch (error) {
      throw storageError('remove', key, this.root, error);
    }
  }

  async *list(prefix: string, { signal, after }: ListOptions = {}): AsyncGenerator<StoredObject, void, undefined> {
    assertPrefix(prefix);
    await this.assertMounted();
    for await (const object of this.walk(prefix, signal)) if (after === undefined || object.key > after) yield object;
  }

  async check(): Promise<StoreHealth> {
    let freeBytes: bigint | null = null;
    try {
      await this.assertMounted();
      freeBytes = await this.fs.freeBytes(this.root).catch((error: unknown) => {
        throw storageError('ask for the free space of', 'the volume', this.root, error);
      });
      const temporary = join(this.root, TEMPORARIES, temporaryName(PROBE_KEY));
      const file = await this.fs.createFile(temporary);
      try {
        await file.append(Buffer.alloc(4096));
        await file.sync();
      } finally {
        await Promise.all([file.close(), this.fs.unlink(temporary)]);
      }
      return { writable: true, freeBytes, problem: null };
    } catch (error) {
      return { writable: false, freeBytes, problem: storageError('write a probe to', 'the store', this.root, error) };
    }
  }

  async sweep({ olderThan, keep }: SweepOptions): Promise<string[]> {
    await this.assertMounted();
    const swept: string[] = [];
    try {
      for (const name of await this.namesOf(join(this.root, TEMPORARIES))) {
        const path = join(this.root, TEMPORARIES, name);
        const key = keyOfTemporary(name);
        const found = await this.statOrNull(path);
        if (found === null || found.kind !== 'file' || found.modifiedAt >= olderThan || keep(key)) continue;
        await this.fs.unlink(path).catch((error: unknown) => {
          if (!isMissing(error)) throw error;
        });
        swept.push(key);
      }
      await this.sweepRemains(olderThan);
    } catch (error) {
      throw storageError('sweep', 'temporaries', this.root, error);
    }
    return swept;
  }

  async owner(): Promise<string | null> {
    return (await this.assertMounted()).catalogueId;
  }

  async claim(catalogueId: string, from: string | null): Promise<string | null> {
    const marker = await this.assertMounted();
    if (marker.catalogueId === from && catalogueId !== from) {
      try {
        await replaceMarker(this.fs, this.root, { ...marker, catalogueId });
      } catch (error) {
        throw storageError('write', 'the marker', this.root, error);
      }
    }
    return this.owner();
  }

  async close(): Promise<void> {
    // Holds nothing between two calls.
  }

  /** What a process leaves that is killed between two steps of a commit or of an adoption: folders without objects, markers that were not put in place. */
  private async sweepRemains(olderThan: Date): Promise<void> {
    for (const name of await this.namesOf(this.root)) {
      const path = join(this.root, name);
      if (name.startsWith(`${MARKER_NAME}.`) && (await this.isOlder(path, olderThan))) await this.gone(this.fs.unlink(path));
    }
    for (const name of await this.namesOf(join(this.root, ARCHIVES_FOLDER))) {
      const path = join(this.root, ARCHIVES_FOLDER, name);
      if (await this.isOlder(path, olderThan, 'folder')) await this.gone(this.fs.removeFolder(path));
    }
  }

  private async isOlder(path: string, than: Date, kind: 'file' | 'folder' = 'file'): Promise<boolean> {
    const found = await this.statOrNull(path);
    return found?.kind === kind && found.modifiedAt < than;
  }

  /** A folder that is in use stays; what another took away is gone, too. */
  private async gone(removal: Promise<void>): Promise<void> {
    await removal.catch((error: unknown) => {
      if (!isMissing(error) && !['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw error;
    });
  }

  private async *walk(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<StoredObject, void, undefined> {
    const entries: { order: string; key: string; found: StoredObject | null }[] = [];
    try {
      for (const name of await this.namesOf(join(this.root, prefix))) {
        if (signal?.aborted === true) throw abortReason(signal);
        if (name.startsWith('.')) continue;
        const key = `${prefix}${name}`;
        const found = await this.statOrNull(join(this.root, key));
        if (found?.kind === 'file') entries.push({ order: name, key, found: { key, size: found.size, modifiedAt: found.modifiedAt } });
        if (found?.kind === 'folder') entries.push({ order: `${name}/`, key, found: null });
      }
    } catch (error) {
      throw storageError('list', prefix === '' ? 'all objects' : prefix, this.root, error);
    }
    // A folder sorts as its keys do, with the slash: "a-b" comes before "a/b".
    entries.sort((a, b) => (a.order < b.order ? -1 : 1));
    for (const { key, found } of entries) {
      if (signal?.aborted === true) throw abortReason(signal);
      if (found === null) yield* this.walk(`${key}/`, signal);
      else yield found;
    }
  }

  /**
   * Drops folders above a removed object, up to the first that is still in use, and makes the removal durable there. Folders right
   * under the root stay: all objects share them, and others are being written there while this runs.
   */
  private async dropEmptyFolders(from: string): Promise<void> {
    let folder = from;
    for (; folder !== this.root && dirname(folder) !== this.root; folder = dirname(folder)) {
      try {
        await this.fs.removeFolder(folder);
      } catch (error) {
        if (isMissing(error)) continue;
        if (!['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw error;
        break;
      }
    }
    try {
      await this.fs.syncFolder(folder);
    } catch (error) {
      // Nothing was ever stored below it, or somebody else's removal took it meanwhile and made that durable.
      if (!isMissing(error)) throw error;
    }
  }

  /** Compares the marker: an empty mount point must not look like a store whose objects are gone. */
  private async assertMounted(): Promise<Marker> {
    if (this.readOnly) return markerOfCopy(this.fs, this.root);
    const found = await readMarker(this.fs, this.root);
    if (found === null) throw missingMarker(this.root);
    if (found.storeId !== this.id) throw anotherStore(this.root, found.storeId, this.id);
    return found;
  }

  private async namesOf(folder: string): Promise<string[]> {
    return this.fs.names(folder).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
  }

  private async statOrNull(path: string): Promise<Awaited<ReturnType<FsOps['stat']>> | null> {
    return this.fs.stat(path).catch((error: unknown) => {
      if (isMissing(error)) return null;
      throw error;
    });
  }
}
