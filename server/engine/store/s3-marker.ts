import { DomainError } from '../../domain/errors.js';
import { type Backoff, retrying } from './backoff.js';
import { decodeMarker, encodeMarker, MARKER_NAME, noMarkerButContent, type Marker } from './marker.js';
import { PROBE_PREFIX } from './s3-probe.js';
import { type S3Calls } from './s3-calls.js';
import { NOTE_PREFIX } from './s3-upload-notes.js';
import { type Conditions } from './s3-writer.js';

/** A marker is one line; what is longer is none. */
const MAX_BYTES = 4096n;

/** The store's marker, or null when there is none. A bucket that is not there, or a marker that cannot be understood, is STORAGE_IO. */
export const readMarker = async (calls: S3Calls, signal?: AbortSignal): Promise<Marker | null> => {
  const body = await calls.get(MARKER_NAME, { start: 0n, end: MAX_BYTES }, signal);
  if (body === null) return null;
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return decodeMarker(Buffer.concat(parts).toString('utf8'), calls.location);
};

/** Puts a marker where there is none or, replacing it, where there is one. At no moment is there a half one. */
export const writeMarker = (calls: S3Calls, marker: Marker, { onlyIfAbsent, writeId, signal }: { onlyIfAbsent: boolean; writeId: string; signal?: AbortSignal | undefined }): Promise<unknown> =>
  calls.put(MARKER_NAME, encodeMarker(marker), { writeId, onlyIfAbsent, signal });

/** What a store holds besides its marker. */
const isOurs = (name: string, overContent: boolean): boolean =>
  name === MARKER_NAME || name.startsWith(PROBE_PREFIX) || (overContent && (name === 'backups' || name.startsWith(NOTE_PREFIX)));

/**
 * Makes a prefix a store. Of several processes that try at once one marker wins and all return it; where the server knows no conditions,
 * the one that was written last, for those who look after it.
 */
export const createMarker = async (
  calls: S3Calls, marker: Marker, { overContent, conditions, backoff, writeId }: { overContent: boolean; conditions: Conditions; backoff: Backoff; writeId: string },
): Promise<Marker> => {
  const again = <T>(run: () => Promise<T>): Promise<T> => retrying(run, backoff);
  const foreign = (await again(() => calls.roots())).filter((name) => !isOurs(name, overContent));
  const already = await again(() => readMarker(calls));
  if (already !== null) return already;
  if (foreign.length > 0) throw noMarkerButContent(calls.location);
  await again(() => writeMarker(calls, marker, { onlyIfAbsent: conditions.puts, writeId }));
  const winner = await again(() => readMarker(calls));
  if (winner === null) throw new DomainError('STORAGE_IO', `The marker just written to ${calls.location} is gone.`);
  return winner;
};
