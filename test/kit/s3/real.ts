import { randomUUID } from 'node:crypto';
import { readConfig } from '../../../server/config/config.js';
import { openS3Calls, type Page, type S3Calls } from '../../../server/engine/store/s3-calls.js';
import { type S3Keys, type S3Place } from '../../../server/engine/store/s3-client.js';
import { ALLOW_EVERYTHING, createDial } from '../../../server/security/dial.js';

/** A prefix of its own in the bucket that S3_TEST_URL names. */
export interface RealS3 {
  place: S3Place;
  credentials: S3Keys | null;
  /** What a service is to be started with to keep its archives there. */
  settings: Readonly<Record<string, string>>;
  calls(): Promise<S3Calls>;
  /** Keys of whatever lies there, the store's marker too, and of uploads that are not finished. */
  content(): Promise<{ objects: string[]; uploads: string[] }>;
  /** Removes all of it. */
  clear(): Promise<void>;
}

const everything = async <T>(get: (next: string | undefined) => Promise<Page<T>>): Promise<T[]> => {
  const found: T[] = [];
  let next: string | undefined;
  do {
    const page = await get(next);
    found.push(...page.entries);
    next = page.next;
  } while (next !== undefined);
  return found;
};

/** @param url as STORE_URL; credentials as a service takes them, from S3_… or the usual chain of the AWS tools */
export const realS3 = (url: string, label: string): RealS3 => {
  const given = Object.fromEntries(['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY', 'S3_SESSION_TOKEN'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined || value === '' ? [] : [[name, value]];
  }));
  const there = new URL(url);
  there.pathname = `${there.pathname.replace(/\/$/, '')}/${label}-${randomUUID()}`;
  const settings = { STORE_URL: there.href, ...given };
  const { store: place, s3Credentials: credentials } = readConfig(settings);
  if (place.kind !== 'S3') throw new Error('S3_TEST_URL must begin with s3://');
  const calls = (): Promise<S3Calls> => openS3Calls({ place, credentials, dial: createDial(ALLOW_EVERYTHING), idleMs: 60_000 });
  const withCalls = async <T>(run: (calls: S3Calls) => Promise<T>): Promise<T> => {
    const opened = await calls();
    try {
      return await run(opened);
    } finally {
      opened.close();
    }
  };
  const look = async (opened: S3Calls) => ({
    objects: await everything((next) => opened.list('', { next })),
    uploads: await everything((next) => opened.uploads('', next)),
  });
  return {
    place, credentials, settings, calls,
    content: () => withCalls(async (opened) => {
      const { objects, uploads } = await look(opened);
      return { objects: objects.map(({ key }) => key), uploads: uploads.map(({ key }) => key) };
    }),
    clear: () => withCalls(async (opened) => {
      const { objects, uploads } = await look(opened);
      const removals = [...uploads.map(({ key, uploadId }) => () => opened.abortUpload(key, uploadId)), ...objects.map(({ key }) => () => opened.remove(key))];
      for (let at = 0; at < removals.length; at += 20) await Promise.all(removals.slice(at, at + 20).map((remove) => remove()));
    }),
  };
};
