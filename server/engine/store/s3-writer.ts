import { randomUUID } from 'node:crypto';
import { DomainError, abortReason } from '../../domain/errors.js';
import { retrying, type Backoff } from './backoff.js';
import { type Outcome, type S3Calls } from './s3-calls.js';
import { partBytes, MAX_PARTS } from './s3-part-sizes.js';
import { s3Error } from './s3-errors.js';
import { MultipartUpload } from './s3-upload.js';
import { keyTaken, type ObjectWriter } from './store.js';

/** Which writes the server only carries out while there is no object of that key. */
export interface Conditions {
  puts: boolean;
  uploads: boolean;
}

export interface S3WriterOptions {
  calls: S3Calls;
  key: string;
  conditions: Conditions;
  backoff: Backoff;
  signal: AbortSignal | undefined;
  /** Whether uploads need notes to be found by a sweep. */
  noted: boolean;
  /** Runs one at a time among all writers of that key in this process. */
  inTurn: (key: string, run: () => Promise<void>) => Promise<void>;
  /** Size of the nth part. Default: `s3-part-sizes.ts`. */
  sizeOf?: ((number: number) => number) | undefined;
}

/** Most that putting in order after a fault may take. What it leaves is for a sweep. */
const CLEAN_UP_MS = 20_000;
const FIRST_BUFFER_BYTES = 64 * 1024;

/**
 * Gathers a part at a time. What fits into one becomes an object by one PutObject; anything larger by a multipart upload, which S3 shows
 * once it is completed. At most three parts are in memory.
 */
export class S3ObjectWriter implements ObjectWriter {
  private state: 'open' | 'committed' | 'discarded' = 'open';
  private fault: DomainError | undefined;
  private readonly writeId = randomUUID();
  private readonly upload: MultipartUpload;
  private readonly sizeOf: (number: number) => number;
  private readonly spare: Buffer[] = [];
  private buffer: Buffer;
  private filled = 0;
  private size = 0n;
  /** Something was asked for whose outcome is not known. */
  private uncertain = false;

  constructor(private readonly options: S3WriterOptions) {
    this.sizeOf = options.sizeOf ?? partBytes;
    this.upload = new MultipartUpload({ ...options, writeId: this.writeId });
    this.buffer = Buffer.allocUnsafeSlow(Math.min(FIRST_BUFFER_BYTES, this.partSize()));
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.step('write', async () => {
      for (let done = 0; done < chunk.length; ) {
        if (this.filled === this.partSize()) await this.sendPart();
        const taken = this.fill(chunk.subarray(done));
        done += taken;
        this.size += BigInt(taken);
      }
    });
  }

  async commit(): Promise<void> {
    await this.step('commit', () => (this.upload.parts === 0 ? this.commitWhole() : this.commitParts()));
    this.state = 'committed';
    this.drop();
    await this.upload.forget();
  }

  async abort(): Promise<void> {
    if (this.state !== 'open') return;
    await this.discard();
  }

  private async step(operation: string, run: () => Promise<void>): Promise<void> {
    const { key, calls, signal } = this.options;
    if (this.state !== 'open') {
      throw this.fault ?? new DomainError('CONFLICT', `Object ${key} is ${this.state}; it takes no more writes.`);
    }
    try {
      if (signal?.aborted === true) throw abortReason(signal);
      await run();
    } catch (error) {
      this.fault = s3Error(operation, key, calls.location, error);
      await this.discard().catch((left: unknown) => {
        this.fault = new DomainError(this.fault?.code ?? 'STORAGE_IO', `${this.fault?.message ?? ''} What was sent of it could not be discarded either; a later sweep will.`, {
          ...this.fault, cause: new AggregateError([error, left]),
        });
      });
      throw this.fault;
    }
  }

  private partSize(): number {
    return this.sizeOf(this.upload.parts + 1);
  }

  private fill(chunk: Uint8Array): number {
    if (this.filled === this.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.buffer.length * 4, this.partSize()));
      this.buffer.copy(larger);
      this.buffer = larger;
    }
    const taken = Math.min(chunk.length, this.buffer.length - this.filled);
    this.buffer.set(chunk.subarray(0, taken), this.filled);
    this.filled += taken;
    return taken;
  }

  private async sendPart(): Promise<void> {
    if (this.upload.parts === MAX_PARTS) {
      throw new DomainError('LIMIT_EXCEEDED', `Object ${this.options.key} has ${this.size} bytes, and no more can be stored in S3.`, { hint: 'Lower MAX_BACKUP_GIB; keep backups of this size in a folder.' });
    }
    await this.upload.send(this.buffer.subarray(0, this.filled), (body) => void this.spare.push(body));
    const size = this.partSize();
    this.filled = 0;
    this.buffer = this.spare.pop() ?? Buffer.allocUnsafeSlow(size);
    // Parts have grown since this one was made.
    if (this.buffer.length !== size) this.buffer = Buffer.allocUnsafeSlow(size);
  }

  private async commitWhole(): Promise<void> {
    const { calls, key, conditions, signal } = this.options;
    const body = this.buffer.subarray(0, this.filled);
    await this.publish(conditions.puts, () => calls.put(key, body, { writeId: this.writeId, onlyIfAbsent: conditions.puts, signal }));
  }

  private async commitParts(): Promise<void> {
    const { conditions } = this.options;
    if (this.filled > 0) await this.sendPart();
    await this.upload.arrived();
    await this.publish(conditions.uploads, () => this.upload.complete(conditions.uploads));
  }

  /** Without a condition looking and writing are two steps, safe among the writers of one process only. */
  private async publish(conditional: boolean, write: () => Promise<Outcome>): Promise<void> {
    const { calls, key, inTurn, backoff, signal } = this.options;
    const run = async (): Promise<void> => {
      if (!conditional && (await retrying(() => calls.head(key, signal), backoff, signal)) !== null) throw keyTaken(key, calls.location);
      await retrying(() => this.attempt(write), backoff, signal).catch((error: unknown) => this.settle(error));
    };
    await (conditional ? run() : inTurn(key, run));
  }

  private async attempt(write: () => Promise<Outcome>): Promise<void> {
    const { calls, key, signal } = this.options;
    if (this.uncertain && (await this.look(signal)) === 'OURS') return;
    this.uncertain = true;
    const outcome = await write();
    if (outcome === 'DONE' && this.upload.parts === 0) return;
    const found = await this.look(signal);
    if (found === 'OURS' || (outcome === 'DONE' && found === 'UNMARKED')) return;
    if (outcome === 'TAKEN') throw keyTaken(key, calls.location);
    const gone = outcome === 'NO_UPLOAD';
    // Some servers say 200 first, and what went wrong only in the body.
    throw new DomainError('STORAGE_IO', `Could not complete ${key} in ${calls.location}: ${gone ? 'its parts are gone' : 'the server says that it is done, and it is not there'}.`, {
      hint: gone ? 'A sweep or a rule of the bucket has removed them; start the work again.' : 'Look at the server of the store.', retryable: !gone,
    });
  }

  /** What lies under the key: nothing, what this writer wrote, or something that does not say whose it is. CONFLICT when it is another's. */
  private async look(signal: AbortSignal | undefined): Promise<'NONE' | 'OURS' | 'UNMARKED'> {
    const { calls, key } = this.options;
    const found = await calls.head(key, signal);
    if (found === null) return 'NONE';
    if (found.writeId !== undefined && found.writeId !== this.writeId) throw keyTaken(key, calls.location);
    if (found.size !== this.size) throw new DomainError('STORAGE_IO', `Object ${key} in ${calls.location} has ${found.size} bytes instead of ${this.size}.`, { hint: 'Look at the server of the store.' });
    return found.writeId === undefined ? 'UNMARKED' : 'OURS';
  }

  /** After a fault nobody may go on to make the object: first the upload is taken away, then it is looked what has come of it. */
  private async settle(error: unknown): Promise<void> {
    if (!this.uncertain) throw error;
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    const { backoff } = this.options;
    const found = await this.upload.discard(signal).then(() => retrying(() => this.look(signal), backoff, signal)).catch(() => 'NONE');
    if (found !== 'OURS') throw error;
  }

  private async discard(): Promise<void> {
    this.state = 'discarded';
    this.drop();
    await this.upload.discard(AbortSignal.timeout(CLEAN_UP_MS));
  }

  private drop(): void {
    this.buffer = Buffer.alloc(0);
    this.filled = 0;
    this.spare.length = 0;
  }
}
