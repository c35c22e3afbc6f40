import { randomUUID } from 'node:crypto';
import { DomainError } from '../../domain/errors.js';
import { type Dial, type Log } from '../ports.js';
import { BACKOFF, retrying, type Backoff } from './backoff.js';
import { anotherStore, MARKER_NAME, notAStore, type Marker } from './marker.js';
import { oneAtATimePerKey } from './one-at-a-time.js';
import { openS3Calls, type Page, type S3Calls, type S3Upload } from './s3-calls.js';
import { type S3Keys, type S3Place } from './s3-client.js';
import { createMarker, readMarker, writeMarker } from './s3-marker.js';
import { PROBE_PREFIX, probeKey, probeS3, type S3Support } from './s3-probe.js';
import { keyOfNote, NOTE_PREFIX } from './s3-upload-notes.js';
import { S3ObjectWriter } from './s3-writer.js';
import {
  assertKey, assertNotAborted, assertPrefix, assertRange, isKey, keyTaken, noSuchObject, type CallOptions, type ListOptions, type ObjectWriter, type ReadOptions, type Store, type StoreHealth,
  type StoredObject, type SweepOptions,
} from './store.js';

export interface S3StoreOptions {
  place: S3Place;
  /** null: the usual chain of the AWS tools. */
  credentials: S3Keys | null;
  dial: Dial;
  log: Log;
  /** Make it a store when it is none yet; `overContent`: also where archives lie already. Without it a missing marker is STORAGE_IO. */
  create: boolean | 'overContent';
  /** Id for a store made now; default random. */
  storeId?: string | undefined;
  /** Whose archives a store made now will hold; default: nobody's yet. */
  catalogueId?: string | undefined;
  /** Only to be read from: nothing is probed, so that credentials without the right to write will do. Default false. */
  readOnly?: boolean | undefined;
  /** How parts of an object under construction are tried again, and what is asked at the start. */
  backoff?: Backoff | undefined;
  /** Longest silence on a connection in the middle of a request. Default 60,000. */
  idleMs?: number | undefined;
  /** Size of the nth part, from 1; default as in `s3-part-sizes.ts`. Servers refuse less than 5 MiB for all but the last. */
  sizeOf?: ((number: number) => number) | undefined;
}

const IDLE_MS = 60_000;
/** Proving that a bucket takes data costs three requests, and readiness is asked for every few seconds. */
const HEALTHY_FOR_MS = 30_000;
const NOTHING_KNOWN: S3Support = { conditions: { puts: true, uploads: true }, listsUploads: 'BY_PREFIX' };

const tell = ({ conditions, listsUploads }: S3Support, location: string, log: Log): void => {
  if (!conditions.puts || !conditions.uploads) {
    log.warn('The server of the store does not know conditional writes: two processes that write the same object at the same moment are not kept apart.', { location, ...conditions });
  }
  if (listsUploads === 'NOT') log.warn('The server of the store does not list unfinished uploads: let a rule of the bucket remove them.', { location });
};

/**
 * Opens a prefix of a bucket as a store: objects lie under their keys, `.snapback-store` is the marker, what is under construction is a multipart upload.
 * Fails with STORAGE_IO (cannot be reached, no marker and not to be created, foreign content, what is read is not what was written),
 * STORAGE_PERMISSION (credentials, rights), UNSUPPORTED_FORMAT.
 */
export const openS3Store = async (options: S3StoreOptions): Promise<Store> => {
  const { place, credentials, dial, log, create, storeId, catalogueId, readOnly = false, backoff = BACKOFF, idleMs = IDLE_MS, sizeOf } = options;
  const calls = await openS3Calls({ place, credentials, dial, idleMs });
  try {
    const there = await retrying(() => readMarker(calls), backoff);
    if (there === null && create === false) throw notAStore(calls.location);
    const support = readOnly ? NOTHING_KNOWN : await probeS3(calls, backoff);
    tell(support, calls.location, log);
    const fresh = { storeId: storeId ?? randomUUID(), catalogueId: catalogueId ?? null };
    const marker = there ?? (await createMarker(calls, fresh, { overContent: create === 'overContent', conditions: support.conditions, backoff, writeId: randomUUID() }));
    return new S3Store(calls, marker.storeId, support, backoff, sizeOf);
  } catch (error) {
    calls.close();
    throw error;
  }
};

class S3Store implements Store {
  readonly kind = 'S3';
  readonly location: string;
  private readonly inTurn = oneAtATimePerKey();
  private checking: Promise<StoreHealth> | undefined;
  private healthyUntil = -Infinity;

  constructor(
    private readonly calls: S3Calls,
    readonly id: string,
    private readonly support: S3Support,
    private readonly backoff: Backoff,
    private readonly sizeOf: ((number: number) => number) | undefined,
  ) {
    this.location = calls.location;
  }

  async create(key: string, { signal }: CallOptions = {}): Promise<ObjectWriter> {
    if ((await this.stat(key, { signal })) !== null) throw keyTaken(key, this.location);
    const { calls, backoff, inTurn, sizeOf, support: { conditions, listsUploads } } = this;
    return new S3ObjectWriter({ calls, key, conditions, backoff, signal, inTurn, sizeOf, noted: listsUploads === 'BY_KEY' });
  }

  async *read(key: string, { offset = 0n, length, signal }: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    assertKey(key);
    assertRange(key, { offset, length });
    assertNotAborted(signal);
    // There is no range of no bytes.
    const body = length === 0n ? ((await this.calls.head(key, signal)) === null ? null : []) : await this.calls.get(key, { start: offset, end: length === undefined ? undefined : offset + length }, signal);
    if (body === null) {
      await this.assertThere(signal);
      throw noSuchObject(key, this.location);
    }
    for await (const chunk of body) {
      assertNotAborted(signal);
      yield chunk;
    }
    assertNotAborted(signal);
  }

  async stat(key: string, { signal }: CallOptions = {}): Promise<StoredObject | null> {
    assertKey(key);
    assertNotAborted(signal);
    const found = await this.calls.head(key, signal);
    if (found !== null) return { key, size: found.size, modifiedAt: found.modifiedAt };
    await this.assertThere(signal);
    return null;
  }

  async remove(key: string, { signal }: CallOptions = {}): Promise<void> {
    assertKey(key);
    await this.assertThere(signal);
    await this.calls.remove(key, signal);
  }

  async *list(prefix: string, { after, signal }: ListOptions = {}): AsyncGenerator<StoredObject, void, undefined> {
    assertPrefix(prefix);
    await this.assertThere(signal);
    for (let next: string | undefined, first = true; first || next !== undefined; first = false) {
      const page = await this.calls.list(prefix, { after, next }, signal);
      // What is not a key of ours is not an object that anybody could read: the marker, say.
      for (const object of page.entries) if (isKey(object.key)) yield object;
      assertNotAborted(signal);
      next = page.next;
    }
  }

  async check({ signal }: CallOptions = {}): Promise<StoreHealth> {
    if (performance.now() < this.healthyUntil) return HEALTHY;
    this.checking ??= this.probe(signal).finally(() => {
      this.checking = undefined;
    });
    return this.checking;
  }

  async sweep(options: SweepOptions): Promise<string[]> {
    const { calls } = this;
    const { olderThan, keep, signal } = options;
    await this.again(() => this.assertThere(signal), signal);
    const swept: string[] = [];
    for await (const upload of this.pages((next) => calls.uploads('', next, signal), signal)) {
      const isProbe = upload.key.startsWith(PROBE_PREFIX);
      if (!isProbe && (!isKey(upload.key) || keep(upload.key))) continue;
      if ((await this.discard(upload, options)) && !isProbe) swept.push(upload.key);
    }
    for await (const { key: note, modifiedAt } of this.pages((next) => calls.list(NOTE_PREFIX, { next }, signal), signal)) {
      const key = keyOfNote(note);
      if (modifiedAt < olderThan && isKey(key) && !keep(key)) swept.push(...(await this.sweepNoted(note, key, options)));
    }
    for await (const { key, modifiedAt } of this.pages((next) => calls.list(PROBE_PREFIX, { next }, signal), signal)) {
      if (modifiedAt < olderThan) await this.again(() => calls.remove(key, signal), signal);
    }
    return swept;
  }

  async owner({ signal }: CallOptions = {}): Promise<string | null> {
    return (await this.assertThere(signal)).catalogueId;
  }

  async claim(catalogueId: string, from: string | null, { signal }: CallOptions = {}): Promise<string | null> {
    const marker = await this.assertThere(signal);
    if (marker.catalogueId === from && catalogueId !== from) {
      await writeMarker(this.calls, { ...marker, catalogueId }, { onlyIfAbsent: false, writeId: randomUUID(), signal });
    }
    return this.owner({ signal });
  }

  async close(): Promise<void> {
    this.calls.close();
  }

  /** An upload that is begun and discarded: nothing of it is ever an object, not even in a bucket that keeps old versions. */
  private async probe(signal: AbortSignal | undefined): Promise<StoreHealth> {
    const { calls } = this;
    try {
      await this.again(() => this.assertThere(signal), signal);
      const key = probeKey();
      const uploadId = await this.again(() => calls.createUpload(key, randomUUID(), signal), signal);
      try {
        await this.again(() => calls.uploadPart(key, uploadId, 1, Buffer.alloc(64), signal), signal);
      } finally {
        await this.again(() => calls.abortUpload(key, uploadId, signal), signal);
      }
      this.healthyUntil = performance.now() + HEALTHY_FOR_MS;
      return HEALTHY;
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      return { writable: false, freeBytes: null, problem: error };
    }
  }

  /** Discards an upload whose last sign of life is old enough. */
  private async discard({ key, uploadId, initiatedAt }: S3Upload, { olderThan, signal }: SweepOptions): Promise<boolean> {
    const { calls } = this;
    if (initiatedAt >= olderThan) return false;
    const lastPartAt = await this.again(() => calls.lastPartAt(key, uploadId, signal), signal);
    if (lastPartAt !== null && lastPartAt >= olderThan) return false;
    await this.again(() => calls.abortUpload(key, uploadId, signal), signal);
    return true;
  }

  /** The uploads of the key that a note names. The note goes with the last of them. */
  private async sweepNoted(note: string, key: string, options: SweepOptions): Promise<string[]> {
    const { calls } = this;
    const { signal } = options;
    const swept: string[] = [];
    let left = 0;
    for await (const upload of this.pages((next) => calls.uploads(key, next, signal), signal)) {
      if (upload.key !== key) continue;
      if (await this.discard(upload, options)) swept.push(key);
      else left += 1;
    }
    if (left === 0) await this.again(() => calls.remove(note, signal), signal);
    return swept;
  }

  private async *pages<T>(get: (next: string | undefined) => Promise<Page<T>>, signal: AbortSignal | undefined): AsyncGenerator<T, void, undefined> {
    for (let next: string | undefined, first = true; first || next !== undefined; first = false) {
      const page = await this.again(() => get(next), signal);
      yield* page.entries;
      next = page.next;
    }
  }

  /** For one request among many, which would all have to be made anew. */
  private again<T>(run: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return retrying(run, this.backoff, signal);
  }

  /** Compares the marker: a bucket that was emptied or exchanged must not look like a store whose objects are gone. */
  private async assertThere(signal: AbortSignal | undefined): Promise<Marker> {
    const found = await readMarker(this.calls, signal);
    if (found === null) {
      throw new DomainError('STORAGE_IO', `The store ${this.location} has lost its marker ${MARKER_NAME}.`, {
        hint: 'Was the bucket emptied or exchanged? Nothing is written or counted as deleted until the marker is back.', details: { location: this.location },
      });
    }
    if (found.storeId !== this.id) throw anotherStore(this.location, found.storeId, this.id);
    return found;
  }
}

const HEALTHY: StoreHealth = { writable: true, freeBytes: null, problem: null };
