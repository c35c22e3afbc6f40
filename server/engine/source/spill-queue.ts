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

/** Unit of memory, and of reading the file. */
const SLAB_BYTES = 512 * 1024;

/** Bytes in order, copied into memory that is used again. */
class SlabList {
  bytes = 0;
  private slabs: { memory: Buffer; from: number; to: number }[] = [];
  private lent: Buffer | undefined;

  constructor(private readonly spare: Buffer[]) {}

  add(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    for (let done = 0; done < chunk.length; ) {
      let last = this.slabs.at(-1);
      if (last === undefined || last.to === SLAB_BYTES) {
        last = { memory: this.spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES), from: 0, to: 0 };
        this.slabs.push(last);
      }
      const part = Math.min(chunk.length - done, SLAB_BYTES - last.to);
      last.memory.set(chunk.subarray(done, done + part), last.to);
      last.to += part;
      done += part;
    }
  }

  /** The first bytes. Their memory is used again once this is called again. */
  shift(): Buffer | undefined {
    if (this.lent) this.spare.push(this.lent);
    this.lent = undefined;
    const [first] = this.slabs;
    // Where all is taken from a slab that is not full, more will be put into it.
    if (first === undefined || first.from === first.to) return undefined;
    const piece = first.memory.subarray(first.from, first.to);
    first.from = first.to;
    this.bytes -= piece.length;
    if (first.to === SLAB_BYTES) this.lent = this.slabs.shift()?.memory;
    return piece;
  }
}

/**
 * A queue of bytes between a source that must not wait and a sink that may be slower: memory first, then a file. One
 * producer, one consumer. Order: `head` (memory), then the file, then `tail` (memory, on its way into the file). What is pushed
 * is copied, into memory that is used over and over: a fresh buffer for each piece would keep the collector of garbage busier than all else.
 */
export class SpillQueue {
  private readonly head: SlabList;
  private readonly tail: SlabList;
  /** Taken from the tail, and not yet in the file. */
  private beingWritten = 0;
  private file: FileHandle | undefined;
  private readMemory: Buffer | undefined;
  private readAt = 0;
  private writeAt = 0;
  private writing: Promise<void> | undefined;
  private ended = false;
  private failure: unknown;
  private wake: (() => void) | undefined;

  /** @param onFailure called once with the first failure, so that its producer can stop at once */
  constructor(private readonly options: SpillOptions, private readonly onFailure: (error: unknown) => void = () => undefined) {
    const spare: Buffer[] = [];
    this.head = new SlabList(spare);
    this.tail = new SlabList(spare);
  }

  /** Bytes pushed and not yet taken. */
  get pendingBytes(): number {
    return this.head.bytes + this.unwrittenBytes + (this.writeAt - this.readAt);
  }

  /** Bytes in memory on their way into the file. */
  get unwrittenBytes(): number {
    return this.tail.bytes + this.beingWritten;
  }

  /** Never waits. A queue that is over its limits fails with SOURCE_BUFFER_LIMIT at the next `take`. */
  push(chunk: Uint8Array): void {
    if (this.failure !== undefined || this.ended) return;
    const inMemoryOnly = this.unwrittenBytes === 0 && this.writeAt === this.readAt && this.writing === undefined;
    if (inMemoryOnly && this.head.bytes + chunk.length <= this.options.memoryBytes) {
      this.head.add(chunk);
    } else if (this.unwrittenBytes + chunk.length > this.options.memoryBytes || !this.fileTakes(chunk.length)) {
      this.fail(
        new DomainError('SOURCE_BUFFER_LIMIT', `The source sent faster than its backup could be stored: ${this.pendingBytes} bytes were waiting.`, {
          hint: 'Use a faster store or a replica of Redis 6.2 or newer as the source; those wait for us.',
          retryable: true,
        }),
      );
      return;
    } else {
      this.tail.add(chunk);
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

  /** The next bytes, or undefined at the end. Waits for them. Their memory is the queue's again with the next call. */
  async take(): Promise<Buffer | undefined> {
    for (;;) {
      if (this.failure !== undefined) throw this.failure;
      const piece = this.head.shift();
      if (piece) return piece;
      if (this.file && this.writeAt > this.readAt) return await this.readFile(this.file);
      if (this.unwrittenBytes === 0 && this.writing === undefined && this.ended) return undefined;
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
    return this.options.directory !== undefined && this.writeAt + this.unwrittenBytes + bytes <= this.options.fileBytes;
  }

  private async writeTail(): Promise<void> {
    try {
      this.file ??= await this.openFile();
      for (let piece = this.tail.shift(); piece && this.failure === undefined; piece = this.tail.shift()) {
        this.beingWritten = piece.length;
        let at = this.writeAt;
        for (let done = 0; done < piece.length; ) {
          const { bytesWritten } = await this.file.write(piece, done, piece.length - done, at);
          done += bytesWritten;
          at += bytesWritten;
        }
        this.writeAt = at;
        this.beingWritten = 0;
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
    this.readMemory ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
    const buffer = this.readMemory;
    const { bytesRead } = await file.read(buffer, 0, Math.min(SLAB_BYTES, this.writeAt - this.readAt), this.readAt).catch((error: unknown) => {
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
