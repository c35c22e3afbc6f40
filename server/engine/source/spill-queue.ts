import { randomUUID } from 'node:crypto';
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { DomainError } from '../../domain/errors.js';

export interface SpillOptions {
  /** Bytes kept in memory before the file is used, and again at most this much on its way into the file. */
  memoryBytes: number;
  /** Size the file may reach before the reader has caught up with it once; 0 = no file. More is SOURCE_BUFFER_LIMIT. */
  fileBytes: number;
  /** Folder of the file (0600, unlinked as soon as it is open, so that not even a crash leaves it). Undefined = no file. */
  directory?: string | undefined;
}

const READ_BYTES = 256 * 1024;

/**
 * A queue of bytes between a source that must not wait and a sink that may be slower: memory first, then a file. One
 * producer, one consumer. Order: `head` (memory), then the file, then `tail` (memory, on its way into the file).
 */
export class SpillQueue {
  private readonly head: Buffer[] = [];
  private readonly tail: Buffer[] = [];
  private headBytes = 0;
  private tailBytes = 0;
  private file: FileHandle | undefined;
  private readAt = 0;
  private writeAt = 0;
  private writing: Promise<void> | undefined;
  private ended = false;
  private failure: unknown;
  private wake: (() => void) | undefined;

  /** @param onFailure called once with the first failure, so that its producer can stop at once */
  constructor(private readonly options: SpillOptions, private readonly onFailure: (error: unknown) => void = () => undefined) {}

  /** Bytes pushed and not yet taken. */
  get pendingBytes(): number {
    return this.headBytes + this.tailBytes + (this.writeAt - this.readAt);
  }

  /** Bytes in memory on their way into the file. */
  get unwrittenBytes(): number {
    return this.tailBytes;
  }

  /** Never waits. A queue that is over its limits fails with SOURCE_BUFFER_LIMIT at the next `take`. */
  push(chunk: Buffer): void {
    if (this.failure !== undefined || this.ended) return;
    const inMemoryOnly = this.tailBytes === 0 && this.writeAt === this.readAt && this.writing === undefined;
    if (inMemoryOnly && this.headBytes + chunk.length <= this.options.memoryBytes) {
      this.head.push(chunk);
      this.headBytes += chunk.length;
    } else if (this.tailBytes + chunk.length > this.options.memoryBytes || !this.fileTakes(chunk.length)) {
      this.fail(
        new DomainError('SOURCE_BUFFER_LIMIT', `The source sent faster than its backup could be stored: ${this.pendingBytes} bytes were waiting.`, {
          hint: 'Use a faster store or a replica of Redis 6.2 or newer as the source; those wait for us.',
          retryable: true,
        }),
      );
      return;
    } else {
      this.tail.push(chunk);
      this.tailBytes += chunk.length;
      this.writing ??= this.writeTail();
    }
    this.notify();
  }

  /** No more will be pushed. */
  end(): void {
    this.ended = true;
    this.notify();
  }

  /** The next `take` fails with `error`; what is queued is dropped. The first failure counts. */
  fail(error: unknown): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.notify();
    this.onFailure(error);
  }

  /** The next bytes, or undefined at the end. Waits for them. */
  async take(): Promise<Buffer | undefined> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const chunk = this.head.shift();
      if (chunk) {
        this.headBytes -= chunk.length;
        return chunk;
      }
      if (this.file && this.writeAt > this.readAt) return await this.readFile(this.file);
      if (this.tailBytes === 0 && this.writing === undefined && this.ended) return undefined;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** Gives the file back. Call exactly once, also after a failure. */
  async close(): Promise<void> {
    this.failure ??= new DomainError('INTERRUPTED', 'The transfer was closed.');
    this.notify();
    await this.writing;
    await this.file?.close();
    this.file = undefined;
  }

  private notify(): void {
    this.wake?.();
    this.wake = undefined;
  }

  private fileTakes(bytes: number): boolean {
    return this.options.directory !== undefined && this.writeAt + this.tailBytes + bytes <= this.options.fileBytes;
  }

  private async writeTail(): Promise<void> {
    try {
      this.file ??= await this.openFile();
      while (this.tail.length > 0 && this.failure === undefined) {
        const batch = this.tail.splice(0);
        const bytes = batch.reduce((sum, chunk) => sum + chunk.length, 0);
        let at = this.writeAt;
        for (const chunk of batch) {
          for (let done = 0; done < chunk.length; ) {
            const { bytesWritten } = await this.file.write(chunk, done, chunk.length - done, at);
            done += bytesWritten;
            at += bytesWritten;
          }
        }
        this.writeAt = at;
        this.tailBytes -= bytes;
        this.notify();
      }
    } catch (error) {
      this.fail(
        new DomainError('SOURCE_BUFFER_LIMIT', `Bytes of the source could not be buffered in ${this.options.directory ?? ''}.`, {
          hint: 'Check free space and rights of that folder.',
          cause: error,
        }),
      );
    } finally {
      this.writing = undefined;
      this.notify();
    }
  }

  private async openFile(): Promise<FileHandle> {
    const path = join(this.options.directory ?? '', `spill-${randomUUID()}`);
    const file = await open(path, 'wx+', 0o600);
    try {
      await unlink(path);
    } catch (error) {
      await file.close();
      throw error;
    }
    return file;
  }

  private async readFile(file: FileHandle): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, this.writeAt - this.readAt));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, this.readAt).catch((error: unknown) => {
      throw new DomainError('STORAGE_IO', `Bytes of the source could not be read back from ${this.options.directory ?? ''}.`, {
        hint: 'Check the disk that holds that folder.',
        cause: error,
      });
    });
    if (bytesRead === 0) throw new DomainError('INTERNAL', 'The buffer file of a transfer is shorter than what was written to it.');
    this.readAt += bytesRead;
    // Only an idle file starts again at its beginning: a running write has already chosen its place.
    if (this.readAt === this.writeAt && this.writing === undefined) this.readAt = this.writeAt = 0;
    return buffer.subarray(0, bytesRead);
  }
}
