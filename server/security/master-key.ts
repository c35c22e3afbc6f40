import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DomainError } from '../domain/errors.js';

/** The service's master key. Only keys derived from it, one per purpose, ever touch data. */
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

const parse = (text: string, from: string): MasterKey => {
  const trimmed = text.trim();
  if (!/^[0-9a-f]{64}$/i.test(trimmed)) {
    throw new DomainError('KEY_UNAVAILABLE', `${from} does not hold a master key.`, {
      hint: 'It must be 64 hexadecimal digits. Without the right key nothing that was sealed can be read: put the old one back.',
    });
  }
  return fromBytes(Buffer.from(trimmed, 'hex'));
};

export const masterKeyFromText = (text: string): MasterKey => parse(text, 'MASTER_KEY');

/**
 * Reads the key file (64 hexadecimal digits). With `create`, a missing one is made: mode 0600, written and synced before it is used, and
 * never over an existing file. Without it, a missing file is KEY_UNAVAILABLE: a new key would make everything sealed unreadable.
 */
export const masterKeyFromFile = async (path: string, options: { create: boolean }): Promise<{ key: MasterKey; created: boolean }> => {
  const existing = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new DomainError('KEY_UNAVAILABLE', `The master key file ${path} cannot be read (${cause.code ?? cause.message}).`, { cause });
  });
  if (existing !== undefined) return { key: parse(existing, path), created: false };
  if (!options.create) {
    throw new DomainError('KEY_UNAVAILABLE', `The master key file ${path} is missing.`, {
      hint: 'Put back the file that this database and store were used with.',
    });
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const text = randomBytes(32).toString('hex');
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(`${text}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  return { key: parse(text, path), created: true };
};
