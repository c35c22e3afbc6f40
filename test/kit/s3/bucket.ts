import { createHash, randomBytes } from 'node:crypto';
import { canary } from '../canary.js';

/** An answer of S3 that is an error. */
export class S3Error extends Error {
  constructor(readonly status: number, readonly code: string) {
    super(code);
  }
}

export interface Held {
  body: Buffer;
  etag: string;
  modifiedAt: Date;
  metadata: Readonly<Record<string, string>>;
}

export interface Upload {
  id: string;
  key: string;
  initiatedAt: Date;
  metadata: Readonly<Record<string, string>>;
  parts: Map<number, Held>;
}

export interface Condition {
  ifNoneMatch: boolean;
  ifMatch: string | undefined;
}

const md5 = (body: Uint8Array): Buffer => createHash('md5').update(body).digest();
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const hold = (body: Buffer, metadata: Held['metadata'] = {}): Held => ({ body, etag: `"${md5(body).toString('hex')}"`, modifiedAt: new Date(), metadata });
const TOLD_BYTES = 64 * 1024;
/** For who looks for secrets: an object, or a part of one, with its name and what is said of it. Large ones are sealed data. */
const told = (key: string, body: Buffer, metadata: Held['metadata'] = {}): void => canary?.sent('an object in S3', `${key} ${JSON.stringify(metadata)} ${body.subarray(0, TOLD_BYTES).toString()}`);

/** What a bucket does, each call at once and whole. */
export class Bucket {
  readonly objects = new Map<string, Held>();
  readonly uploads = new Map<string, Upload>();

  constructor(private readonly minPartBytes: number) {}

  put(key: string, body: Buffer, metadata: Held['metadata'], condition: Condition): Held {
    this.assert(key, condition);
    told(key, body, metadata);
    const held = hold(body, metadata);
    this.objects.set(key, held);
    return held;
  }

  get(key: string): Held {
    const held = this.objects.get(key);
    if (!held) throw new S3Error(404, 'NoSuchKey');
    return held;
  }

  list(prefix: string, after: string, max: number): { keys: string[]; truncated: boolean } {
    const all = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && byBytes(key, after) > 0).sort(byBytes);
    return { keys: all.slice(0, max), truncated: all.length > max };
  }

  createUpload(key: string, metadata: Held['metadata']): string {
    told(key, Buffer.alloc(0), metadata);
    const id = randomBytes(12).toString('base64url');
    this.uploads.set(id, { id, key, initiatedAt: new Date(), metadata, parts: new Map() });
    return id;
  }

  upload(key: string, id: string): Upload {
    const upload = this.uploads.get(id);
    if (upload?.key !== key) throw new S3Error(404, 'NoSuchUpload');
    return upload;
  }

  putPart(key: string, id: string, number: number, body: Buffer): string {
    if (!(number >= 1 && number <= 10_000)) throw new S3Error(400, 'InvalidArgument');
    told(key, body);
    const part = hold(body);
    this.upload(key, id).parts.set(number, part);
    return part.etag;
  }

  complete(key: string, id: string, named: readonly { number: number; etag: string }[], condition: Condition): Held {
    const upload = this.upload(key, id);
    this.assert(key, condition);
    if (named.length === 0) throw new S3Error(400, 'MalformedXML');
    if (named.some(({ number }, at) => at > 0 && number <= (named[at - 1]?.number ?? 0))) throw new S3Error(400, 'InvalidPartOrder');
    const parts = named.map(({ number, etag }) => {
      const part = upload.parts.get(number);
      if (part?.etag !== etag) throw new S3Error(400, 'InvalidPart');
      return part;
    });
    if (parts.slice(0, -1).some(({ body }) => body.length < this.minPartBytes)) throw new S3Error(400, 'EntityTooSmall');
    const held = { ...hold(Buffer.concat(parts.map(({ body }) => body)), upload.metadata), etag: `"${md5(Buffer.concat(parts.map(({ body }) => md5(body)))).toString('hex')}-${parts.length}"` };
    this.objects.set(key, held);
    this.uploads.delete(id);
    return held;
  }

  abort(key: string, id: string): void {
    this.uploads.delete(this.upload(key, id).id);
  }

  private assert(key: string, { ifNoneMatch, ifMatch }: Condition): void {
    const there = this.objects.get(key);
    if ((ifNoneMatch && there) || (ifMatch !== undefined && there?.etag !== ifMatch)) throw new S3Error(412, 'PreconditionFailed');
  }
}
