import { DomainError, abortReason } from '../../domain/errors.js';

/** An object under construction. Calls come one after the other; a chunk may be reused once its `write` has settled. */
export interface ObjectWriter {
  /** Appends. After a fault the object is discarded for good: nothing of it is retried, every later call fails. */
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Makes the object durable, then visible under its key; only now do `read`, `stat` and `list` know it.
   * CONFLICT when the key was taken meanwhile. An object whose commit fails never becomes visible; where its outcome was lost on the way
   * it is looked for, and taken back or counted as committed. Only a store that then cannot be reached at all leaves that open: such an
   * object is whole or not there, and what is to be done about it is for those to say who find it.
   */
  commit(): Promise<void>;
  /** Discards what was written. Without effect after `commit` or a second time. */
  abort(): Promise<void>;
}

export interface StoredObject {
  key: string;
  /** Bytes. */
  size: bigint;
  modifiedAt: Date;
}

export interface StoreHealth {
  writable: boolean;
  /** Bytes that can still be written, or null where the store cannot tell. */
  freeBytes: bigint | null;
  /** Why the store is not writable. */
  problem: DomainError | null;
}

export type StoreKind = 'FILE_SYSTEM' | 'S3';

export interface CallOptions {
  /** Ends the call early where the store can; a file system finishes what it has begun. */
  signal?: AbortSignal | undefined;
}

export interface ListOptions extends CallOptions {
  /** Only what comes behind this key. */
  after?: string | undefined;
}

export interface ReadOptions extends CallOptions {
  /** First byte, default 0. */
  offset?: bigint | undefined;
  /** Bytes wanted, default: to the end. What lies behind the end is left out: the result may be short, or empty. */
  length?: bigint | undefined;
}

export interface SweepOptions extends CallOptions {
  olderThan: Date;
  keep: (key: string) => boolean;
}

/**
 * Where archives live: write-once objects under keys. Every implementation passes `test/conformance/store/suite.ts`;
 * retries, limits and timeouts are wrappers of this contract.
 *
 * Errors: NOT_FOUND (read of an unknown key), CONFLICT (create of a taken key), BAD_INPUT (a key or range of the wrong shape),
 * STORAGE_FULL, STORAGE_PERMISSION, STORAGE_IO; an aborted signal gives its reason. Each names operation and key.
 */
export interface Store {
  readonly kind: StoreKind;
  /** Identity of the store's content, kept in its marker: survives moving the store, differs between two stores. */
  readonly id: string;
  /** Where it is, for people. Holds no secret. */
  readonly location: string;
  /** @param options.signal also ends the writer's calls. */
  create(key: string, options?: CallOptions): Promise<ObjectWriter>;
  /** Reads at the speed of the consumer, holding at most about 1 MiB. A chunk is the consumer's until it asks for the next one. */
  read(key: string, options?: ReadOptions): AsyncIterable<Uint8Array>;
  /** Null when there is no such object. */
  stat(key: string, options?: CallOptions): Promise<StoredObject | null>;
  /** Removes durably. An unknown key is no error, so that a removal can be repeated. */
  remove(key: string, options?: CallOptions): Promise<void>;
  /** Objects whose key starts with `prefix` (empty, or ending in a slash), in ascending byte order of their keys. */
  list(prefix: string, options?: ListOptions): AsyncIterable<StoredObject>;
  /**
   * Proves by writing and removing a small temporary whether the store takes data. Reports, does not throw. Where each proof has a price, the
   * answer may be up to 30 seconds old.
   */
  check(options?: CallOptions): Promise<StoreHealth>;
  /**
   * Discards unsealed temporaries last written to before `olderThan`, except those whose key `keep` claims.
   * Returns the keys they were meant for.
   */
  sweep(options: SweepOptions): Promise<string[]>;
  /** Id of the catalogue that the marker names as this store's, read anew at each call; null while none has claimed it. */
  owner(options?: CallOptions): Promise<string | null>;
  /**
   * Makes the store a catalogue's, durably, unless it is no longer `from`'s. Returns whose it is then. Of two catalogues that claim it at
   * the same moment the later one has it, and the other finds out when it next asks for the owner.
   */
  claim(catalogueId: string, from: string | null, options?: CallOptions): Promise<string | null>;
  /** Lets go of connections. Nothing is under way then. */
  close(): Promise<void>;
}

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const MAX_KEY_LENGTH = 512;

/** Whether it is a key that `assertKey` lets pass. */
export const isKey = (key: string): boolean => key.length <= MAX_KEY_LENGTH && key.split('/').every((segment) => SEGMENT.test(segment));

/**
 * Refuses keys that are not made of plain segments (`[A-Za-z0-9_][A-Za-z0-9_.-]*`, joined by `/`): ids only, nothing a person named.
 * Such keys mean the same on every file system and in S3, and cannot leave the store's root.
 */
export const assertKey = (key: string): void => {
  if (!isKey(key)) {
    throw new DomainError('BAD_INPUT', `Not an object key: ${JSON.stringify(key.slice(0, MAX_KEY_LENGTH))}.`, {
      hint: 'Keys are segments of letters, digits, "_", "-" and ".", joined by "/".',
    });
  }
};

/** Refuses list prefixes that are neither empty nor whole segments ending in a slash. */
export const assertPrefix = (prefix: string): void => {
  if (prefix === '') return;
  if (!prefix.endsWith('/')) {
    throw new DomainError('BAD_INPUT', `Not a list prefix: ${JSON.stringify(prefix.slice(0, MAX_KEY_LENGTH))}.`, {
      hint: 'A prefix is empty or ends in "/".',
    });
  }
  assertKey(prefix.slice(0, -1));
};

export const assertRange = (key: string, { offset, length }: ReadOptions): void => {
  if ((offset !== undefined && offset < 0n) || (length !== undefined && length < 0n)) {
    throw new DomainError('BAD_INPUT', `Read of ${key}: offset and length must not be negative.`);
  }
};

export const assertNotAborted = (signal: AbortSignal | undefined): void => {
  if (signal?.aborted === true) throw abortReason(signal);
};

export const keyTaken = (key: string, location: string, cause?: unknown): DomainError =>
  new DomainError('CONFLICT', `Object ${key} exists already in ${location}.`, { hint: 'Objects are written once; remove it first.', cause });

/** What reading an unknown key comes to. */
export const noSuchObject = (key: string, location: string, cause?: unknown): DomainError =>
  new DomainError('NOT_FOUND', `There is no object ${key} in ${location}.`, { cause, details: { key } });
