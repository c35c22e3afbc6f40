import { DomainError } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';

const KEY = /^(?:bearer +)?([A-Za-z0-9._~+/=-]{1,8192})$/i;

/**
 * Whom a credential belongs to; undefined when it is unknown, expired or revoked.
 * @param from the address it came from
 */
export type FindCaller = (token: string, from?: string) => Promise<Principal | undefined>;

/**
 * @param credential `Bearer <key>`, or the bare key where the transport has no schemes
 * @throws DomainError UNAUTHENTICATED when there is none or nobody has it
 */
export const callerOf = async (find: FindCaller, credential: string | undefined, from?: string): Promise<Principal> => {
  const token = KEY.exec(credential?.trim() ?? '')?.[1];
  const principal = token === undefined ? undefined : await find(token, from);
  if (principal) return { ...principal, from };
  throw new DomainError('UNAUTHENTICATED', credential ? 'This API key is unknown, expired or revoked.' : 'This request carries no API key.', {
    hint: 'Send the header "Authorization: Bearer sb_…" (WebSocket: the connection parameter "authorization").',
  });
};
