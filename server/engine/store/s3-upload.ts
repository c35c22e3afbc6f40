import { retrying, type Backoff } from './backoff.js';
import { type Outcome, type S3Calls } from './s3-calls.js';
import { removeNote, writeNote } from './s3-upload-notes.js';

/** Under way at once, beside the part that is being filled; one part always may be. */
const UNDER_WAY = { parts: 4, bytes: 16 * 1024 * 1024 };

/** What is not discarded is swept later. */
const DISCARD_ATTEMPTS = 3;

export interface S3UploadOptions {
  calls: S3Calls;
  key: string;
  writeId: string;
  backoff: Backoff;
  signal: AbortSignal | undefined;
  /** Whether the upload needs a note to be found by a sweep. */
  noted: boolean;
}

/** A multipart upload: begun with its first part, parts sent beside each other, completed or discarded as a whole. */
export class MultipartUpload {
  private uploadId: string | undefined;
  private readonly etags: string[] = [];
  private readonly underWay = new Map<Promise<void>, number>();
  private failure: { cause: unknown } | undefined;
  private readonly stopping = new AbortController();
  private readonly signal: AbortSignal;

  constructor(private readonly options: S3UploadOptions) {
    this.signal = options.signal === undefined ? this.stopping.signal : AbortSignal.any([options.signal, this.stopping.signal]);
  }

  get parts(): number {
    return this.etags.length;
  }

  /**
   * Resolves once the part is on its way, which may be after others have arrived; rejects when one of those has failed for good.
   * @param sent gets the body back once it is no longer needed
   */
  async send(body: Buffer, sent: (body: Buffer) => void): Promise<void> {
    while (this.isFull(body.length)) await Promise.race(this.underWay.keys());
    this.assertWell();
    const { calls, key, backoff } = this.options;
    const uploadId = (this.uploadId ??= await this.begin());
    const number = this.etags.push('');
    const part = retrying(() => calls.uploadPart(key, uploadId, number, body, this.signal), backoff, this.signal).then(
      (etag) => {
        this.etags[number - 1] = etag;
        sent(body);
      },
      (cause: unknown) => {
        this.failure ??= { cause };
        this.stopping.abort(cause);
      },
    ).then(() => void this.underWay.delete(part));
    this.underWay.set(part, body.length);
  }

  /** All parts have arrived. */
  async arrived(): Promise<void> {
    await Promise.all(this.underWay.keys());
    this.assertWell();
  }

  complete(onlyIfAbsent: boolean): Promise<Outcome> {
    const { calls, key, signal } = this.options;
    return calls.completeUpload(key, this.uploadId ?? '', this.etags, { onlyIfAbsent, signal });
  }

  /** Ends what is under way, then the upload. Without effect on one that was completed. May be repeated after a fault. */
  async discard(signal: AbortSignal): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.underWay.keys());
    const { calls, key, backoff } = this.options;
    const { uploadId } = this;
    if (uploadId === undefined) return;
    await retrying(() => calls.abortUpload(key, uploadId, signal), { ...backoff, attempts: Math.min(backoff.attempts, DISCARD_ATTEMPTS) }, signal);
    this.uploadId = undefined;
    await this.forget();
  }

  /** After the end, well or not. A note that stays is a sweep's. */
  async forget(): Promise<void> {
    const { calls, key, writeId, noted } = this.options;
    if (noted && this.etags.length > 0) await removeNote(calls, key, writeId).catch(() => undefined);
  }

  private async begin(): Promise<string> {
    const { calls, key, writeId, backoff, noted } = this.options;
    if (noted) await retrying(() => writeNote(calls, key, writeId, this.signal), backoff, this.signal);
    // One whose answer is lost stays behind, without parts, until a sweep.
    return retrying(() => calls.createUpload(key, writeId, this.signal), backoff, this.signal);
  }

  private isFull(next: number): boolean {
    let bytes = next;
    for (const part of this.underWay.values()) bytes += part;
    return this.underWay.size > 0 && (this.underWay.size >= UNDER_WAY.parts || bytes > UNDER_WAY.bytes);
  }

  private assertWell(): void {
    if (this.failure) throw this.failure.cause;
  }
}
