import { DomainError } from './errors.js';

export type Role = 'VIEWER' | 'OPERATOR' | 'ADMIN';

/** What a caller wants to do; each service method names exactly one as its first act. */
export type Verb = 'read' | 'operate' | 'administer';

const GRANTS: Readonly<Record<Role, ReadonlySet<Verb>>> = {
  VIEWER: new Set<Verb>(['read']),
  OPERATOR: new Set<Verb>(['read', 'operate']),
  ADMIN: new Set<Verb>(['read', 'operate', 'administer']),
};

/** Who is calling: the key's id, its tenant and its role. */
export interface Principal {
  readonly keyId: string;
  readonly projectId: string;
  readonly role: Role;
}

export const may = ({ role }: Principal, verb: Verb): boolean => GRANTS[role].has(verb);

/** Refuses a missing principal with UNAUTHENTICATED and a missing right with FORBIDDEN. The first line of every service method. */
export function authorise(principal: Principal | undefined, verb: Verb): asserts principal is Principal {
  if (!principal) {
    throw new DomainError('UNAUTHENTICATED', 'This request carries no valid API key.', {
      hint: 'Send the header "Authorization: Bearer sb_…" (WebSocket: the connection parameter "authorization").',
    });
  }
  if (!may(principal, verb)) {
    throw new DomainError('FORBIDDEN', `A key with the role ${principal.role} may not do this.`, {
      hint: 'Use a key with a higher role.',
    });
  }
}
