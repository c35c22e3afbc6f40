import { type Readable } from 'node:stream';
import { type S3Client } from '@aws-sdk/client-s3';
import { locationOf, openS3Client, type S3ClientOptions, type Sdk } from './s3-client.js';
import { codeOf, notS3, s3Error, statusOf } from './s3-errors.js';
import { type StoredObject } from './store.js';

/** Metadata that says which writer an object is of, so that one whose answer was lost can be told from another's. */
const WRITE_ID = 'snapback-write';

export interface S3Head extends StoredObject {
  /** Undefined where the server keeps no metadata. */
  writeId: string | undefined;
}

export interface S3Upload {
  key: string;
  uploadId: string;
  initiatedAt: Date;
}

export interface WriteOptions {
  writeId: string;
  /** Only if there is none of that key. Servers that do not know of conditions write all the same, or refuse. */
  onlyIfAbsent: boolean;
  signal?: AbortSignal | undefined;
}

/** TAKEN: there is one of that key, and the condition held. NO_UPLOAD: the server knows no such upload (any more). */
export type Outcome = 'DONE' | 'TAKEN' | 'NO_UPLOAD';

/** One page of a list. */
export interface Page<T> {
  entries: T[];
  next: string | undefined;
}

/**
 * What the store asks of S3: one request each, tried once. Keys are those of the store, without its prefix. Faults are DomainErrors that
 * name operation, key and place; those that pass are `retryable`.
 */
export interface S3Calls {
  readonly location: string;
  put(key: string, body: Uint8Array, options: WriteOptions): Promise<Outcome>;
  /** Null when there is no such object. */
  head(key: string, signal?: AbortSignal): Promise<S3Head | null>;
  /** A body of bytes from `start` to `end` (not included; undefined: the end). Empty behind the end; null when there is no such object. */
  get(key: string, range: { start: bigint; end: bigint | undefined }, signal?: AbortSignal): Promise<AsyncIterable<Buffer> | null>;
  remove(key: string, signal?: AbortSignal): Promise<void>;
  /** @param from a page's `next`, or `{ after }` a key */
  list(prefix: string, from: { after?: string | undefined; next?: string | undefined }, signal?: AbortSignal): Promise<Page<StoredObject>>;
  /** First segments of what lies there, at most a page of them. */
  roots(signal?: AbortSignal): Promise<string[]>;
  createUpload(key: string, writeId: string, signal?: AbortSignal): Promise<string>;
  /** Resolves with what `completeUpload` wants to know of the part. */
  uploadPart(key: string, uploadId: string, number: number, body: Uint8Array, signal?: AbortSignal): Promise<string>;
  /** @param etags of the parts from the first on */
  completeUpload(key: string, uploadId: string, etags: readonly string[], options: Omit<WriteOptions, 'writeId'>): Promise<Outcome>;
  /** One that is gone is no error. */
  abortUpload(key: string, uploadId: string, signal?: AbortSignal): Promise<void>;
  /** Uploads neither completed nor aborted, of keys that begin with `prefix`. Of several with one key, a page that begins among them may lack some. */
  uploads(prefix: string, next: string | undefined, signal?: AbortSignal): Promise<Page<S3Upload>>;
  /** When the youngest of an upload's parts came in; null when it has none, or is gone. */
  lastPartAt(key: string, uploadId: string, signal?: AbortSignal): Promise<Date | null>;
  close(): void;
}

export const openS3Calls = async (options: S3ClientOptions): Promise<S3Calls> => {
  const { sdk, client, close } = await openS3Client(options);
  return new SdkCalls(sdk, client, close, options.place.bucket, options.place.prefix, locationOf(options.place));
};

/** Two markers in one `next`. */
const SEPARATOR = '\n';

/** No such object; a bucket that is not there is another matter. */
const isMissing = (error: unknown): boolean => statusOf(error) === 404 && codeOf(error) !== 'NoSuchBucket';

async function* nothing(): AsyncGenerator<Buffer> {
  // Behind the end.
}

class SdkCalls implements S3Calls {
  constructor(
    private readonly sdk: Sdk,
    private readonly client: S3Client,
    readonly close: () => void,
    private readonly bucket: string,
    private readonly prefix: string,
    readonly location: string,
  ) {}

  async put(key: string, body: Uint8Array, { writeId, onlyIfAbsent, signal }: WriteOptions): Promise<Outcome> {
    return this.condition('write', key, signal, async () => {
      const { ETag } = await this.client.send(new this.sdk.PutObjectCommand({
        ...this.at(key), Body: body, ContentLength: body.length, Metadata: { [WRITE_ID]: writeId }, ...(onlyIfAbsent ? { IfNoneMatch: '*' } : {}),
      }), { abortSignal: signal });
      if (ETag === undefined) throw notS3('write', key, this.location, 'the answer has no ETag');
    });
  }

  async head(key: string, signal?: AbortSignal): Promise<S3Head | null> {
    try {
      const { ContentLength, LastModified, Metadata } = await this.client.send(new this.sdk.HeadObjectCommand(this.at(key)), { abortSignal: signal });
      if (ContentLength === undefined || LastModified === undefined) throw notS3('look for', key, this.location, 'the answer has no size and time');
      return { key, size: BigInt(ContentLength), modifiedAt: LastModified, writeId: Metadata?.[WRITE_ID] };
    } catch (error) {
      if (statusOf(error) === 404) return null;
      throw s3Error('look for', key, this.location, error, signal);
    }
  }

  async get(key: string, { start, end }: { start: bigint; end: bigint | undefined }, signal?: AbortSignal): Promise<AsyncIterable<Buffer> | null> {
    const whole = start === 0n && end === undefined;
    const operation = `read from byte ${start} of`;
    try {
      const { Body, ContentRange, ContentLength } = await this.client.send(new this.sdk.GetObjectCommand({
        ...this.at(key), ...(whole ? {} : { Range: `bytes=${start}-${end === undefined ? '' : end - 1n}` }),
      }), { abortSignal: signal });
      const body = Body as Readable;
      if (!whole && !(ContentRange ?? '').startsWith(`bytes ${start}-`)) {
        body.destroy();
        throw notS3('read', key, this.location, 'the answer is not the part that was asked for');
      }
      return this.counted(body, { key, start, length: ContentLength, signal });
    } catch (error) {
      if (statusOf(error) === 416) return nothing();
      if (isMissing(error)) return null;
      throw s3Error(operation, key, this.location, error, signal);
    }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    await this.call('remove', key, signal, async () => {
      try {
        await this.client.send(new this.sdk.DeleteObjectCommand(this.at(key)), { abortSignal: signal });
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  list(prefix: string, { after, next }: { after?: string | undefined; next?: string | undefined }, signal?: AbortSignal): Promise<Page<StoredObject>> {
    return this.call('list', prefix === '' ? 'all objects' : prefix, signal, async () => {
      const { Contents = [], IsTruncated, NextContinuationToken, $metadata, KeyCount } = await this.client.send(new this.sdk.ListObjectsV2Command({
        Bucket: this.bucket, Prefix: `${this.prefix}${prefix}`,
        ...(next !== undefined ? { ContinuationToken: next } : after !== undefined ? { StartAfter: `${this.prefix}${after}` } : {}),
      }), { abortSignal: signal });
      if (KeyCount === undefined && IsTruncated === undefined) throw notS3('list', prefix, this.location, `the answer (status ${String($metadata.httpStatusCode)}) is no list`);
      if (IsTruncated === true && NextContinuationToken === undefined) throw notS3('list', prefix, this.location, 'a page says that there are more and not where');
      return {
        entries: Contents.flatMap(({ Key, Size, LastModified }) =>
          Key === undefined || LastModified === undefined ? [] : [{ key: Key.slice(this.prefix.length), size: BigInt(Size ?? 0), modifiedAt: LastModified }]),
        next: IsTruncated === true ? NextContinuationToken : undefined,
      };
    });
  }

  roots(signal?: AbortSignal): Promise<string[]> {
    return this.call('list', 'all objects', signal, async () => {
      const { Contents = [], CommonPrefixes = [] } = await this.client.send(new this.sdk.ListObjectsV2Command({ Bucket: this.bucket, Prefix: this.prefix, Delimiter: '/' }), { abortSignal: signal });
      return [...Contents.map(({ Key }) => Key), ...CommonPrefixes.map(({ Prefix }) => Prefix)].flatMap((name) => (name === undefined ? [] : [name.slice(this.prefix.length).replace(/\/$/, '')]))
        // Consoles make "folders" by an empty object of the prefix itself.
        .filter((name) => name !== '');
    });
  }

  createUpload(key: string, writeId: string, signal?: AbortSignal): Promise<string> {
    return this.call('begin', key, signal, async () => {
      const { UploadId } = await this.client.send(new this.sdk.CreateMultipartUploadCommand({ ...this.at(key), Metadata: { [WRITE_ID]: writeId } }), { abortSignal: signal });
      if (UploadId === undefined) throw notS3('begin', key, this.location, 'the answer has no upload id');
      return UploadId;
    });
  }

  uploadPart(key: string, uploadId: string, number: number, body: Uint8Array, signal?: AbortSignal): Promise<string> {
    return this.call(`write part ${number} of`, key, signal, async () => {
      const { ETag } = await this.client.send(new this.sdk.UploadPartCommand({ ...this.at(key), UploadId: uploadId, PartNumber: number, Body: body, ContentLength: body.length }), { abortSignal: signal });
      if (ETag === undefined) throw notS3(`write part ${number} of`, key, this.location, 'the answer has no ETag');
      return ETag;
    });
  }

  completeUpload(key: string, uploadId: string, etags: readonly string[], { onlyIfAbsent, signal }: Omit<WriteOptions, 'writeId'>): Promise<Outcome> {
    return this.condition('complete', key, signal, async () => {
      const { ETag } = await this.client.send(new this.sdk.CompleteMultipartUploadCommand({
        ...this.at(key), UploadId: uploadId, MultipartUpload: { Parts: etags.map((etag, at) => ({ ETag: etag, PartNumber: at + 1 })) }, ...(onlyIfAbsent ? { IfNoneMatch: '*' } : {}),
      }), { abortSignal: signal });
      if (ETag === undefined) throw notS3('complete', key, this.location, 'the answer has no ETag');
    });
  }

  async abortUpload(key: string, uploadId: string, signal?: AbortSignal): Promise<void> {
    await this.call('discard', key, signal, async () => {
      try {
        await this.client.send(new this.sdk.AbortMultipartUploadCommand({ ...this.at(key), UploadId: uploadId }), { abortSignal: signal });
      } catch (error) {
        if (codeOf(error) !== 'NoSuchUpload') throw error;
      }
    });
  }

  uploads(prefix: string, next: string | undefined, signal?: AbortSignal): Promise<Page<S3Upload>> {
    const [keyMarker, idMarker] = next?.split(SEPARATOR) ?? [];
    const ask = (UploadIdMarker?: string) => this.client.send(new this.sdk.ListMultipartUploadsCommand({
      Bucket: this.bucket, Prefix: `${this.prefix}${prefix}`, KeyMarker: keyMarker, UploadIdMarker,
    }), { abortSignal: signal });
    return this.call('list uploads of', prefix === '' ? 'all objects' : prefix, signal, async () => {
      const { Uploads = [], IsTruncated, NextKeyMarker = '', NextUploadIdMarker = '' } = await ask(idMarker).catch((error: unknown) => {
        // Versity S3 Gateway (1.8) does not take back the upload it ended a page with, and others need not know one that was discarded meanwhile.
        if (idMarker === undefined || !['InvalidArgument', 'NoSuchUpload'].includes(codeOf(error))) throw error;
        return ask();
      });
      return {
        entries: Uploads.flatMap(({ Key, UploadId, Initiated }) =>
          Key === undefined || UploadId === undefined || Initiated === undefined ? [] : [{ key: Key.slice(this.prefix.length), uploadId: UploadId, initiatedAt: Initiated }]),
        next: IsTruncated === true && NextKeyMarker !== '' ? `${NextKeyMarker}${SEPARATOR}${NextUploadIdMarker}` : undefined,
      };
    });
  }

  lastPartAt(key: string, uploadId: string, signal?: AbortSignal): Promise<Date | null> {
    return this.call('list parts of', key, signal, async () => {
      let youngest: Date | null = null;
      let marker: string | undefined;
      try {
        do {
          const { Parts = [], IsTruncated, NextPartNumberMarker }: { Parts?: { LastModified?: Date | undefined }[] | undefined; IsTruncated?: boolean | undefined; NextPartNumberMarker?: string | undefined } =
            await this.client.send(new this.sdk.ListPartsCommand({ ...this.at(key), UploadId: uploadId, PartNumberMarker: marker }), { abortSignal: signal });
          for (const { LastModified } of Parts) if (LastModified !== undefined && (youngest === null || LastModified > youngest)) youngest = LastModified;
          marker = IsTruncated === true && Parts.length > 0 ? NextPartNumberMarker : undefined;
        } while (marker !== undefined);
      } catch (error) {
        if (codeOf(error) !== 'NoSuchUpload') throw error;
      }
      return youngest;
    });
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: `${this.prefix}${key}` };
  }

  private async call<T>(operation: string, subject: string, signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw s3Error(operation, subject, this.location, error, signal);
    }
  }

  private condition(operation: string, key: string, signal: AbortSignal | undefined, run: () => Promise<void>): Promise<Outcome> {
    return this.call(operation, key, signal, async () => {
      try {
        await run();
        return 'DONE';
      } catch (error) {
        if (statusOf(error) === 412) return 'TAKEN';
        if (codeOf(error) === 'NoSuchUpload') return 'NO_UPLOAD';
        throw error;
      }
    });
  }

  /** The body's chunks; a body that breaks off is a fault at the byte where it did, however it ended. */
  private async *counted(body: Readable, { key, start, length, signal }: { key: string; start: bigint; length: number | undefined; signal: AbortSignal | undefined }): AsyncGenerator<Buffer, void, undefined> {
    let position = start;
    try {
      for await (const chunk of body) {
        position += BigInt((chunk as Buffer).length);
        yield chunk as Buffer;
      }
    } catch (error) {
      throw s3Error(`read from byte ${position} of`, key, this.location, error, signal);
    }
    if (length !== undefined && position !== start + BigInt(length)) throw notS3(`read from byte ${position} of`, key, this.location, 'the answer ended too early');
  }
}
