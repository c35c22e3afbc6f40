import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { DomainError } from '../../domain/errors.js';
import { type Store } from '../store/store.js';
import { corrupt } from './archive-errors.js';
import { KEY_OBJECT_PREFIX, archivePrefix, attemptSuffix, objectKey, parseArchiveKey } from './layout.js';
import { readWhole, writeWhole } from './whole-object.js';

/** A master key as archives use it: never itself, only what is derived from it for one purpose. */
export interface WrappingKey {
  /** 8 hexadecimal digits; part of the names of the objects that it wraps. */
  readonly id: string;
  /** 32 bytes. */
  derive(purpose: string): Buffer;
}

/** The master keys at hand: new archives are written under `current`, archives under any of `all` can be read. */
export interface KeyRing {
  readonly current: WrappingKey;
  readonly all: readonly WrappingKey[];
}

/*
 * Layout of a wrapped key, 76 bytes: magic (8) | master key id (8 ASCII bytes) | nonce (12) | wrapped key (32) | tag (16).
 * AES-256-GCM; everything before the nonce and the backup's id are associated data.
 */
const MAGIC = Buffer.from('SNAPKEY1', 'latin1');
const HEAD_BYTES = 16;
const NONCE_BYTES = 12;
const KEY_BYTES = 32;
const TAG_BYTES = 16;
const WRAPPED_BYTES = HEAD_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
const PURPOSE = 'archive keys v1';

const headOf = (masterKeyId: string): Buffer => Buffer.concat([MAGIC, Buffer.from(masterKeyId, 'latin1')]);
const boundTo = (head: Buffer, backupId: string): Buffer => Buffer.concat([head, Buffer.from(backupId, 'latin1')]);

/**
 * Which wrapped key: its master key, and whose data it is for. Each attempt at a backup has a key of its own, named after the attempt's RDB
 * object (`rdb.2` → `key.<id>.2`), so that none that was taken for dead can touch another's.
 */
interface KeyPlace {
  backupId: string;
  masterKeyId: string;
  /** `rdb` or `rdb.<n>`, as the manifest's first artifact names it. */
  artifact: string;
}

const keyAt = ({ backupId, masterKeyId, artifact }: KeyPlace): string => objectKey(backupId, `${KEY_OBJECT_PREFIX}${masterKeyId}${attemptSuffix(artifact) ?? ''}`);

const wrap = (master: WrappingKey, backupId: string, key: Uint8Array, nonce: Uint8Array): Buffer => {
  const head = headOf(master.id);
  const cipher = createCipheriv('aes-256-gcm', master.derive(PURPOSE), nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(boundTo(head, backupId));
  return Buffer.concat([head, nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
};

/** @param at where it lies, for messages */
const unwrap = (master: WrappingKey, backupId: string, at: string, wrapped: Buffer): Buffer => {
  const head = headOf(master.id);
  if (wrapped.length !== WRAPPED_BYTES) throw corrupt(at, 'key', 0, `it has ${String(wrapped.length)} bytes instead of ${String(WRAPPED_BYTES)}`);
  if (!wrapped.subarray(0, HEAD_BYTES).equals(head)) throw corrupt(at, 'key', 0, 'it does not begin as a key wrapped by that master key');
  const decipher = createDecipheriv('aes-256-gcm', master.derive(PURPOSE), wrapped.subarray(HEAD_BYTES, HEAD_BYTES + NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(boundTo(head, backupId));
  decipher.setAuthTag(wrapped.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(wrapped.subarray(HEAD_BYTES + NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw corrupt(at, 'key', 0, 'its tag is wrong', cause);
  }
};

type Random = (bytes: number) => Uint8Array;

export const makeBackupKey = (random: Random = randomBytes): Uint8Array => random(KEY_BYTES);

/** Key of the manifest's HMAC. */
export const manifestKeyFrom = (backupKey: Uint8Array): Buffer => Buffer.from(hkdfSync('sha256', backupKey, new Uint8Array(0), 'snapback v1 manifest', 32));

/** Keeps a backup's key, wrapped by `master`, durably. CONFLICT when there is one already. */
export const storeBackupKey = (
  store: Store, master: WrappingKey, of: { backupId: string; artifact: string; key: Uint8Array }, signal?: AbortSignal, random: Random = randomBytes,
): Promise<void> => writeWhole(store, keyAt({ ...of, masterKeyId: master.id }), wrap(master, of.backupId, of.key, random(NONCE_BYTES)), signal);

export const removeBackupKey = (store: Store, master: WrappingKey, of: { backupId: string; artifact: string }): Promise<void> =>
  store.remove(keyAt({ ...of, masterKeyId: master.id }));

interface WrappedKeyObject {
  object: string;
  masterKeyId: string;
  /** The rest of the object's name. */
  suffix: string;
}

const wrappedKeyAt = (key: string): WrappedKeyObject | undefined => {
  const object = parseArchiveKey(key)?.object ?? '';
  const name = object.startsWith(KEY_OBJECT_PREFIX) ? /^([0-9a-f]{8})(\.\d+)?$/.exec(object.slice(KEY_OBJECT_PREFIX.length)) : null;
  return name?.[1] === undefined ? undefined : { object: key, masterKeyId: name[1], suffix: name[2] ?? '' };
};

/** Ids of the master keys that wrap a key among these objects. @param artifact only those of its attempt */
export const masterKeysAmong = (keys: readonly string[], artifact?: string): string[] =>
  keys.flatMap((key) => {
    const wrapped = wrappedKeyAt(key);
    return wrapped && (artifact === undefined || wrapped.suffix === attemptSuffix(artifact)) ? [wrapped.masterKeyId] : [];
  });

const wrappedKeys = async (store: Store, backupId: string): Promise<WrappedKeyObject[]> => {
  const found: WrappedKeyObject[] = [];
  for await (const { key } of store.list(archivePrefix(backupId))) {
    const wrapped = wrappedKeyAt(key);
    if (wrapped) found.push(wrapped);
  }
  return found;
};

/** Null: no master key of the ring wraps it. */
const unwrapAny = async (store: Store, ring: KeyRing | undefined, { backupId, artifact }: { backupId: string; artifact: string }, signal?: AbortSignal): Promise<Buffer | null> => {
  let damage: unknown;
  for (const master of ring?.all ?? []) {
    const at = keyAt({ backupId, artifact, masterKeyId: master.id });
    const wrapped = await readWhole(store, at, WRAPPED_BYTES, signal);
    if (wrapped === null) continue;
    try {
      return unwrap(master, backupId, at, wrapped);
    } catch (error) {
      // During a rotation there are two, and one is enough.
      damage ??= error;
    }
  }
  if (damage !== undefined) throw damage;
  return null;
};

/**
 * The key of a backup. KEY_UNAVAILABLE when no master key of the ring wraps it (the message names those that do); CORRUPT when the wrapped
 * key is damaged, belongs to another backup, or is gone from the store under every master key; else the store's errors.
 */
export const loadBackupKey = async (store: Store, ring: KeyRing | undefined, of: { backupId: string; artifact: string }, signal?: AbortSignal): Promise<Buffer> => {
  for (let again = true; ; again = false) {
    const key = await unwrapAny(store, ring, of, signal);
    if (key !== null) return key;
    const ids = masterKeysAmong((await wrappedKeys(store, of.backupId)).map(({ object }) => object), of.artifact);
    if (ids.length === 0) throw corrupt(keyAt({ ...of, masterKeyId: '*' }), 'key', 0, 'it is missing');
    // A rotation that comes in between has removed one after it was found missing under the other.
    if (again && ring?.all.some(({ id }) => ids.includes(id))) continue;
    throw new DomainError('KEY_UNAVAILABLE', `The key of archive ${of.backupId} is wrapped by master key ${ids.join(' or ')}; at hand: ${ring?.all.map(({ id }) => id).join(', ') ?? 'none'}.`, {
      hint: 'Give the service the master key that this archive was written under.',
    });
  }
};

/**
 * Puts an archive under the ring's current master key alone: first the newly wrapped key, durably and read back, then the old one goes. No
 * data is touched. Can be repeated after any interruption. False when there was nothing to do; archives without a key are left as they are.
 */
export const rotateBackupKey = async (store: Store, ring: KeyRing, backupId: string, signal?: AbortSignal): Promise<boolean> => {
  const old = (await wrappedKeys(store, backupId)).filter(({ masterKeyId }) => masterKeyId !== ring.current.id);
  for (const { object, suffix } of old) {
    const of = { backupId, artifact: `rdb${suffix}` };
    const key = await loadBackupKey(store, ring, of, signal);
    await storeBackupKey(store, ring.current, { ...of, key }, signal).catch((error: unknown) => {
      // Left by a rotation that was cut off.
      if (!(error instanceof DomainError && error.code === 'CONFLICT')) throw error;
    });
    const kept = await loadBackupKey(store, { current: ring.current, all: [ring.current] }, of, signal);
    if (!kept.equals(key)) throw corrupt(object, 'key', 0, 'two master keys wrap different keys of this archive');
    await store.remove(object);
  }
  return old.length > 0;
};
