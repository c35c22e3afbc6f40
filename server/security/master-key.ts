import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { DomainError } from '../domain/errors.js';
import { writeSecretFile } from './secret-file.js';

/** A master key. Only keys derived from it, one per purpose, ever touch data. */
export interface MasterKey {
  /** First 8 hexadecimal digits of a digest of the key; names it without telling anything about it. */
  readonly id: string;
  /** 32 bytes for one purpose (HKDF-SHA-256). */
  derive(purpose: string): Buffer;
}

const fromBytes = (key: Buffer): MasterKey => ({
  id: createHash('sha256').update('snapback master key id').update(key).digest('hex').slice(0, 8),
  derive: (purpose) => Buffer.from(hkdfSync('sha256', key, 'snapback', purpose, 32)),
});

/** Several while keys are changed: everything new is sealed under `current`, everything sealed under any of `all` can be opened. */
export interface MasterKeys {
  readonly current: MasterKey;
  readonly all: readonly MasterKey[];
}

const parseKey = (text: string, from: string): MasterKey => {
  if (!/^[0-9a-f]{64}$/i.test(text)) {
    throw new DomainError('KEY_UNAVAILABLE', `${from} does not hold a master key.`, {
      hint: 'It must be 64 hexadecimal digits. Without the right key nothing that was sealed can be read: put the old one back.',
    });
  }
  return fromBytes(Buffer.from(text, 'hex'));
};

const parseKeys = (texts: readonly string[], from: string): MasterKeys => {
  const [current, ...others] = texts.map((text) => parseKey(text, from));
  const all = current ? [current, ...others] : [parseKey('', from)];
  if (new Set(all.map(({ id }) => id)).size < all.length) {
    throw new DomainError('KEY_UNAVAILABLE', `${from} holds a master key twice.`, { hint: 'Give each key once, the one to seal under first.' });
  }
  return { current: all[0] as MasterKey, all };
};

/** Keys separated by commas, the current one first. */
export const masterKeysFromText = (text: string): MasterKeys => parseKeys(text.split(',').map((part) => part.trim()), 'MASTER_KEY');

/** A key a line, the current one first. */
const masterKeysFromFileText = (text: string, path: string): MasterKeys => parseKeys(text.split('\n').map((line) => line.trim()).filter((line) => line !== ''), path);

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : String(error));

/** What stands in the file, or undefined when there is none. */
const read = (path: string): Promise<string | undefined> =>
  readFile(path, 'utf8').catch((cause: unknown) => {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw new DomainError('KEY_UNAVAILABLE', `The master key file ${path} cannot be read (${codeOf(cause)}).`, {
      hint: 'Let the user that this service runs as read it.', cause,
    });
  });

/**
 * Reads the key file (a key of 64 hexadecimal digits a line, the current one first). With `create`, a missing one is made: mode 0600, whole and synced before it is used, and
 * never over an existing file; of several processes that make it at once, all get the same key. Without it, a missing file is
 * KEY_UNAVAILABLE: a new key would make everything sealed unreadable.
 */
export const masterKeysFromFile = async (path: string, options: { create: boolean }): Promise<{ keys: MasterKeys; created: boolean }> => {
  const existing = await read(path);
  if (existing !== undefined) return { keys: masterKeysFromFileText(existing, path), created: false };
  if (!options.create) {
    throw new DomainError('KEY_UNAVAILABLE', `The master key file ${path} is missing.`, {
      hint: 'Put back the file that this database and store were used with.',
    });
  }
  const created = await writeSecretFile(path, `${randomBytes(32).toString('hex')}\n`, { replace: false }).catch((cause: unknown) => {
    throw new DomainError('KEY_UNAVAILABLE', `A master key cannot be kept in ${path} (${codeOf(cause)}).`, {
      hint: 'Let the user that this service runs as write there, or set MASTER_KEY_FILE to another place.', cause,
    });
  });
  return { keys: masterKeysFromFileText((await read(path)) ?? '', path), created };
};
