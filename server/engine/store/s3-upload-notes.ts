import { type S3Calls } from './s3-calls.js';

/**
 * Some servers (MinIO is one) find unfinished uploads only by the exact key of the object. There each upload has a note, an empty object whose name says
 * which key is meant: written before the upload is begun, removed after it has ended.
 */
export const NOTE_PREFIX = '.snapback-upload.';

/** Keys hold no `+` and no `~`. */
export const noteFor = (key: string, writeId: string): string => `${NOTE_PREFIX}${key.replaceAll('/', '+')}~${writeId}`;

export const keyOfNote = (note: string): string => (note.slice(NOTE_PREFIX.length).split('~')[0] ?? '').replaceAll('+', '/');

export const writeNote = async (calls: S3Calls, key: string, writeId: string, signal: AbortSignal): Promise<void> => {
  await calls.put(noteFor(key, writeId), new Uint8Array(0), { writeId, onlyIfAbsent: false, signal });
};

export const removeNote = (calls: S3Calls, key: string, writeId: string, signal?: AbortSignal): Promise<void> => calls.remove(noteFor(key, writeId), signal);
