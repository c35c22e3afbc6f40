import { SnapbackError, UserInputError } from './errors.js';
import type { UserErrorFragment } from './generated/operations.js';
import type { CallOptions } from './options.js';

/** An id, or anything that has one. */
export type Ref = string | { readonly id: string };

export const idOf = (ref: Ref): string => (typeof ref === 'string' ? ref : ref.id);

interface Payload {
  userErrors: UserErrorFragment[];
  job?: { id: string } | null;
}

type Fulfilled<P extends Payload> = { [K in Exclude<keyof P, 'userErrors'>]: NonNullable<P[K]> };

/** A mutation's objects, all there; throws its user errors. */
export const fulfilled = <P extends Payload>(operation: string, payload: P): Fulfilled<P> => {
  const { userErrors, ...objects } = payload;
  const [first, ...others] = userErrors;
  if (first !== undefined) throw new UserInputError(operation, [first, ...others], payload.job?.id);
  if (Object.values(objects).some((value) => value === null || value === undefined)) {
    throw new SnapbackError('protocol', 'UNEXPECTED_ANSWER', `${operation} was answered with neither its objects nor user errors.`);
  }
  return objects as unknown as Fulfilled<P>;
};

/** 128 random bits; `crypto.randomUUID` is missing on pages that were not served over TLS. */
const randomKey = (): string => {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return `sdk-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
};

/** The options of a call with the key that all its attempts carry: the caller's, or a new one. */
export const keyed = <Options extends CallOptions>(options: Options | undefined, input?: { idempotencyKey?: string | null | undefined }): Options & { idempotencyKey: string } =>
  ({ ...(options as Options), idempotencyKey: options?.idempotencyKey ?? input?.idempotencyKey ?? randomKey() });

/** For objects that must be there because something else named them. */
export const found = <T>(value: T | null, what: string): T => {
  if (value === null) throw new SnapbackError('graphql', 'NOT_FOUND', `There is no ${what}.`);
  return value;
};
