import { createHash } from 'node:crypto';
import { DomainError } from '../domain/errors.js';
import { type Repositories, type Scope } from './ports.js';

export const IDEMPOTENCY_SECONDS = 24 * 3600;
const MAX_KEY_LENGTH = 128;

const inputHash = (input: Readonly<Record<string, unknown>>): string =>
  createHash('sha256')
    .update(JSON.stringify(Object.entries(input).filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1))))
    .digest('hex');

export interface Once {
  mutation: string;
  key: string | null | undefined;
  /** What has to be equal for the same key. */
  input: Readonly<Record<string, unknown>>;
  /** Ids of what `make` makes. None of the caller's own: they are stored before anybody has looked at them, and the input has them. */
  ids: Record<string, string>;
  at: Date;
}

const checkKey = (key: string): void => {
  if (key.length >= 1 && key.length <= MAX_KEY_LENGTH && !/[^\x20-\x7e]/.test(key)) return;
  throw new DomainError('BAD_INPUT', `An idempotency key has 1 to ${MAX_KEY_LENGTH} printable ASCII characters.`, { field: ['idempotencyKey'] });
};

const sameInput = (earlier: { inputHash: string; result: Record<string, string> }, hash: string): Record<string, string> => {
  if (earlier.inputHash === hash) return earlier.result;
  throw new DomainError('IDEMPOTENCY_CONFLICT', 'This idempotency key was used before with another input.', {
    hint: 'Use a new key for a new request.', field: ['idempotencyKey'],
  });
};

/**
 * The ids of the first call with this key, null when there was none: for calls that ask others before they write. Says nothing about a
 * call that is still under way; `once` does.
 */
export const repeated = async (repositories: Repositories, scope: Scope, { mutation, key, input, at }: Omit<Once, 'ids'>): Promise<Record<string, string> | null> => {
  if (key == null) return null;
  checkKey(key);
  const earlier = await repositories.idempotency.find(scope, { mutation, key, at });
  return earlier && sameInput(earlier, inputHash(input));
};

/**
 * Runs `make` once per key, inside the caller's transaction, and answers repeats with `recall` over the ids of the first call. What
 * fails is rolled back together with the key, so errors are not stored. A racing repeat waits for the first call's commit.
 */
export const once = async <T>(
  tx: Repositories,
  scope: Scope,
  { mutation, key, input, ids, at }: Once,
  make: () => Promise<T>,
  recall: (ids: Record<string, string>) => Promise<T>,
): Promise<T> => {
  if (key == null) return make();
  checkKey(key);
  const hash = inputHash(input);
  const earlier = await tx.idempotency.claim(scope, { mutation, key, inputHash: hash, result: ids, at });
  return earlier ? recall(sameInput(earlier, hash)) : make();
};

/** What a recalled id stands for; it is there unless somebody removed rows by hand. */
export const recalled = <T>(value: T | null): T => {
  if (value === null) throw new DomainError('NOT_FOUND', 'What the first call with this idempotency key made is no longer there.');
  return value;
};
