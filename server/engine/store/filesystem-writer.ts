import { dirname, join } from 'node:path';
import { DomainError, abortReason } from '../../domain/errors.js';
import { isMissing, storageError, systemCode } from './fs-errors.js';
import { type FileOps, type FsOps } from './fs-ops.js';
import { Staging } from './staging.js';
import { keyTaken, type ObjectWriter } from './store.js';

/** Where an object will be and what it is called until then. */
export interface Placement {
  fs: FsOps;
  root: string;
  key: string;
  temporary: string;
  /** Runs one at a time among all writers of this store. */
  exclusively: (run: () => Promise<void>) => Promise<void>;
}

/** Creates the folders above `key` and makes each durable in its parent. */
const makeFolders = async (fs: FsOps, root: string, key: string): Promise<void> => {
  let parent = root;
  for (const segment of key.split('/').slice(0, -1)) {
    const folder = join(parent, segment);
    try {
      await fs.createFolder(folder);
      await fs.syncFolder(parent);
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error;
    }
    parent = folder;
  }
};

/** File systems without hard links (FAT, some network mounts) answer one of these. */
const NO_LINKS: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);
/** A removal may take an emptied folder away between our mkdir and our link; each turn makes it anew. */
const LINK_ATTEMPTS = 5;

/**
 * Gives the temporary file its final name, never replacing another object. Without link(2) looking and renaming are two
 * steps, safe among the writers of one service only.
 */
const publish = async ({ fs, root, key, temporary, exclusively }: Placement): Promise<void> => {
  const path = join(root, key);
  for (let attempt = 1; ; attempt += 1) {
    try {
      await makeFolders(fs, root, key);
      await fs.link(temporary, path);
      return;
    } catch (error) {
      if (systemCode(error) === 'EEXIST') throw keyTaken(key, root, error);
      if (isMissing(error) && attempt < LINK_ATTEMPTS) continue;
      if (!NO_LINKS.has(systemCode(error))) throw error;
    }
    await exclusively(async () => {
      const taken = await fs.stat(path).then(() => true, (error: unknown) => {
        if (isMissing(error)) return false;
        throw error;
      });
      if (taken) throw keyTaken(key, root);
      await fs.rename(temporary, path);
    });
    return;
  }
};

/** What waits in memory to become durable: the disk is told in between, so that the last fsync of a large object finds little left to do. */
const SYNC_EVERY = 32 * 1024 * 1024;

/** Order of a commit: write what is staged, fsync the file, close it, link it to its name, fsync the folder, drop the temporary name. */
export class FilesystemObjectWriter implements ObjectWriter {
  private state: 'open' | 'committed' | 'discarded' = 'open';
  private fault: DomainError | undefined;
  private readonly staging = new Staging();
  private unsynced = 0;
  /** One at a time. What it fails with counts as the last fsync's failure does. */
  private syncing: Promise<void> | undefined;
  private syncFault: { error: unknown } | undefined;

  constructor(
    private readonly at: Placement,
    private readonly file: FileOps,
    private readonly signal: AbortSignal | undefined,
  ) {}

  async write(chunk: Uint8Array): Promise<void> {
    await this.step('write', async () => {
      if (this.syncFault !== undefined) throw this.syncFault.error;
      for (let taken = 0; taken < chunk.length; ) {
        taken += this.staging.take(taken === 0 ? chunk : chunk.subarray(taken));
        if (this.staging.full) await this.unstage();
      }
    });
    if (this.unsynced >= SYNC_EVERY && this.syncing === undefined) this.syncing = this.syncAhead();
  }

  async commit(): Promise<void> {
    const { fs, root, key, temporary } = this.at;
    await this.step('write', () => this.unstage());
    // A failed fsync may have dropped dirty pages and a second one would then succeed: the first answer is final.
    await this.step('fsync', async () => {
      await this.syncing;
      if (this.syncFault !== undefined) throw this.syncFault.error;
      await this.file.sync();
    });
    await this.step('close', () => this.file.close(), { closed: true });
    // Only here: a write that was given up may go on reading.
    this.staging.release();
    await this.step('publish', () => publish(this.at), { closed: true });
    await this.step('fsync the folder of', () => fs.syncFolder(dirname(join(root, key))), { closed: true, published: true });
    this.state = 'committed';
    try {
      await fs.unlink(temporary);
    } catch (error) {
      // The rename of a file system without links has already used the name up.
      if (!isMissing(error)) throw storageError('drop the temporary name of', key, root, error);
    }
  }

  async abort(): Promise<void> {
    if (this.state !== 'open') return;
    await this.discard({ closed: false, published: false });
  }

  private async unstage(): Promise<void> {
    const { content } = this.staging;
    if (content.length === 0) return;
    await this.file.append(content);
    this.unsynced += content.length;
    this.staging.clear();
  }

  /** Does not hold up the writes that follow, and never rejects. */
  private async syncAhead(): Promise<void> {
    this.unsynced = 0;
    try {
      await this.file.sync();
    } catch (error) {
      this.syncFault = { error };
    } finally {
      this.syncing = undefined;
    }
  }

  private async step(operation: string, run: () => Promise<void>, reached: { closed?: boolean; published?: boolean } = {}): Promise<void> {
    const { root, key } = this.at;
    if (this.state !== 'open') {
      throw this.fault ?? new DomainError('CONFLICT', `Object ${key} is ${this.state}; it takes no more writes.`);
    }
    try {
      if (this.signal?.aborted === true) throw abortReason(this.signal);
      await run();
    } catch (error) {
      this.fault = storageError(operation, key, root, error);
      try {
        await this.discard({ closed: reached.closed ?? false, published: reached.published ?? false });
      } catch (left) {
        throw new DomainError(this.fault.code, `${this.fault.message} Its temporary file could not be removed either.`, {
          hint: this.fault.hint, retryable: this.fault.retryable, details: this.fault.details, cause: new AggregateError([error, left]),
        });
      }
      throw this.fault;
    }
  }

  private async discard({ closed, published }: { closed: boolean; published: boolean }): Promise<void> {
    const { fs, root, key, temporary } = this.at;
    this.state = 'discarded';
    const outcomes = await Promise.allSettled([
      closed ? Promise.resolve() : this.file.close(),
      fs.unlink(temporary),
      published ? fs.unlink(join(root, key)) : Promise.resolve(),
    ]);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected' && !isMissing(outcome.reason)) throw storageError('discard', key, root, outcome.reason);
    }
  }
}
