import { createHash } from 'node:crypto';
import { DomainError } from '../domain/errors.js';
import { type Repositories, type Scope } from './ports.js';

export const IDEMPOTENCY_SECONDS = 24 * 3600;
const MAX_KEY_LENGTH = 128;

const inputHash = ({ input, by }: Pick<Once, 'input' | 'by'>): string => {
  const fields = Object.entries(input).filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(by === undefined ? fields : [by, fields])).digest('hex');
};

export interface Once {
  mutation: string;
  key: string | null | undefined;
  /** What has to be equal for the same key. */
  input: Readonly<Record<string, unknown>>;
  /** Whose answer it is, where others must not be given it: for any other caller the key is used up. */
  by?: string;
  /** Ids of what `make` makes. None of the caller's own: they are stored before anybody has looked at them, and the input has them. */
  ids: Record<string, string>;
  at: Date;
}

const checkKey = (key: string): void => {
  if (key.length >= 1 && key.length <= MAX_KEY_LENGTH && !/[^\x20-\x7e]/.test(key)) return;
  throw new DomainError('BAD_INPUT', `An idempotency key has 1 to ${MAX_KEY_LENGTH} printable ASCII characters.`, { field: ['idempotencyKey'] });
};

const sameInput = (earlier: { inputHash: string; result: Record<string, string> }, call: Pick<Once, 'input' | 'by'>): Record<string, string> => {
  if (earlier.inputHash === inputHash(call)) return earlier.result;
  throw new DomainError('IDEMPOTENCY_CONFLICT', `This idempotency key was used before with another input${call.by === undefined ? '' : ', or by another caller'}.`, {
    hint: 'Use a new key for a new request.', field: ['idempotencyKey'],
  });
};

/**
 * The ids of the first call with this key, null when there was none: for calls that ask others before they write. Says nothing about a
 * call that is still under way; `once` does.
 */
export const repeated = async (repositories: Repositories, scope: Scope, call: Omit<Once, 'ids'>): Promise<Record<string, string> | null> => {
  const { mutation, key, at } = call;
  if (key == null) return null;
  checkKey(key);
  const earlier = await repositories.idempotency.find(scope, { mutation, key, at });
  return earlier && sameInput(earlier, call);
};

/**
 * Runs `make` once per key, inside the caller's transaction, and answers repeats with `recall` over the ids of the first call. What
 * fails is rolled back together with the key, so errors are not stored. A racing repeat waits for the first call's commit.
 * @param keep what `recall` needs besides the ids and only `make` can tell
 */
export const once = async <T>(
  tx: Repositories,
  scope: Scope,
  call: Once,
  make: () => Promise<T>,
  recall: (ids: Record<string, string>) => Promise<T>,
  keep?: (made: T) => Record<string, string>,
): Promise<T> => {
  const { mutation, key, ids, at } = call;
  if (key == null) return make();
  checkKey(key);
  const earlier = await tx.idempotency.claim(scope, { mutation, key, inputHash: inputHash(call), result: ids, at });
  if (earlier) return recall(sameInput(earlier, call));
  const made = await make();
  if (keep) await tx.idempotency.keep(scope, { mutation, key, result: { ...ids, ...keep(made) } });
  return made;
};

/** What the first call made cannot be used any more: its answer would be of no use, and its secret is not to be given out again. */
export const notAnyMore = (what: string): DomainError =>
  new DomainError('CONFLICT', `What the first call with this idempotency key made ${what}.`, { hint: 'Make another one with a new key.', field: ['idempotencyKey'] });

/** What a recalled id stands for; it is there unless somebody removed rows by hand. */
export const recalled = <T>(value: T | null): T => {
  if (value === null) throw new DomainError('NOT_FOUND', 'What the first call with this idempotency key made is no longer there.');
  return value;
};
