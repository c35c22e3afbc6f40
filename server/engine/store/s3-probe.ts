import { randomBytes, randomUUID } from 'node:crypto';
import { DomainError } from '../../domain/errors.js';
import { retrying, type Backoff } from './backoff.js';
import { type Outcome, type S3Calls } from './s3-calls.js';
import { type Conditions } from './s3-writer.js';

/** What begins so is a probe's, and nobody can ask for it as an object. */
export const PROBE_PREFIX = '.snapback-probe';

export const probeKey = (): string => `${PROBE_PREFIX}.${randomUUID()}`;

export interface S3Support {
  conditions: Conditions;
  /** How unfinished uploads can be found, to be swept: by the beginning of their keys, by a whole key, or not at all. */
  listsUploads: 'BY_PREFIX' | 'BY_KEY' | 'NOT';
}

/** Whether a write that may only be done while there is nothing is left undone while there is something. A server that refuses the condition itself does not know it. */
const isHeld = async (write: () => Promise<Outcome>): Promise<boolean> => {
  try {
    return (await write()) === 'TAKEN';
  } catch (error) {
    if (error instanceof DomainError && !error.retryable && error.code === 'STORAGE_IO') return false;
    throw error;
  }
};

const differs = (location: string): DomainError =>
  new DomainError('STORAGE_IO', `What was written to ${location} is not what can be read there.`, {
    hint: 'Look at the server of the store, and at what stands between: a backup kept there could not be trusted.',
  });

const readBack = async (calls: S3Calls, key: string): Promise<Buffer> => {
  const body = await calls.get(key, { start: 1n, end: undefined });
  if (body === null) throw differs(calls.location);
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
};

/**
 * Writes, reads back, and removes, in every way the store will: what is missing shows now and not when a backup is needed. Finds out what the server
 * knows of conditions. Leaves nothing behind, but for what a fault in the middle leaves; the sweep takes that.
 */
export const probeS3 = async (calls: S3Calls, backoff: Backoff): Promise<S3Support> => {
  const [key, writeId, body] = [probeKey(), randomUUID(), randomBytes(64)];
  const again = <T>(run: () => Promise<T>): Promise<T> => retrying(run, backoff);
  // Without the right to list the bucket, what is missing would be forbidden.
  await again(() => calls.head(key));
  await again(() => calls.put(key, body, { writeId, onlyIfAbsent: false }));
  try {
    const found = await again(() => readBack(calls, key));
    const head = await again(() => calls.head(key));
    if (!found.equals(body.subarray(1)) || head?.size !== BigInt(body.length)) throw differs(calls.location);
    const puts = await again(() => isHeld(() => calls.put(key, body, { writeId, onlyIfAbsent: true })));
    const uploadId = await again(() => calls.createUpload(key, writeId));
    try {
      const etag = await again(() => calls.uploadPart(key, uploadId, 1, body));
      const isListedBy = async (prefix: string): Promise<boolean> => (await again(() => calls.uploads(prefix, undefined))).entries.some((upload) => upload.uploadId === uploadId);
      const listsUploads = (await isListedBy(PROBE_PREFIX)) ? 'BY_PREFIX' : (await isListedBy(key)) ? 'BY_KEY' : 'NOT';
      const uploads = await again(() => isHeld(() => calls.completeUpload(key, uploadId, [etag], { onlyIfAbsent: true })));
      return { conditions: { puts, uploads }, listsUploads };
    } finally {
      await again(() => calls.abortUpload(key, uploadId));
    }
  } finally {
    await again(() => calls.remove(key));
  }
};
