import { DomainError } from './errors.js';

export const ROLES = ['VIEWER', 'OPERATOR', 'ADMIN'] as const;
export type Role = (typeof ROLES)[number];

/** How a caller proves who it is: an API key, or a token of the OpenID provider. */
export const CREDENTIAL_KINDS = ['API_KEY', 'TOKEN'] as const;
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number];

/**
 * What a caller wants to do; each service method names exactly one as its first act. `extend` makes instances, which a caller that is limited to some cannot
 * be given; `observe` and `govern` are about the whole service: its metrics and projects, and who may do what in any of them.
 */
export type Verb = 'read' | 'operate' | 'extend' | 'administer' | 'observe' | 'govern';

const GRANTS: Readonly<Record<Role, ReadonlySet<Verb>>> = {
  VIEWER: new Set<Verb>(['read', 'observe']),
  OPERATOR: new Set<Verb>(['read', 'operate', 'extend', 'observe']),
  ADMIN: new Set<Verb>(['read', 'operate', 'extend', 'administer', 'observe', 'govern']),
};
/** What no caller may that is limited to some instances: it would reach further than the limit. */
const UNLIMITED: ReadonlySet<Verb> = new Set<Verb>(['extend', 'administer', 'observe', 'govern']);
const SERVICE_WIDE: ReadonlySet<Verb> = new Set<Verb>(['observe', 'govern']);

/** Whom somebody's rights are about, whatever proved it. */
export interface Rights {
  readonly projectId: string;
  readonly role: Role;
  /** Besides its project: the service as a whole. */
  readonly serviceWide: boolean;
  /** The only instances that are there for it, with all that belongs to them; null: all of the project. */
  readonly instanceIds: readonly string[] | null;
  readonly expiresAt: Date | null;
}

/** Who is calling. */
export interface Principal extends Rights {
  readonly credential: CredentialKind;
  /** The key's id; for a token, a name made from its issuer and subject (`tok_…`), the same for each of them. */
  readonly keyId: string;
  /** What people know it by: the key's name, or the token's subject. */
  readonly name: string;
  /** The address that the call came from, where it came over the network. */
  readonly from?: string | undefined;
}

export const may = ({ role, serviceWide, instanceIds }: Rights, verb: Verb): boolean =>
  GRANTS[role].has(verb) && (instanceIds === null || !UNLIMITED.has(verb)) && (serviceWide || !SERVICE_WIDE.has(verb));

/** Whether an instance, and what belongs to it, is there for a caller of that project. */
export const reaches = ({ instanceIds }: { readonly instanceIds?: readonly string[] | null | undefined }, instanceId: string): boolean =>
  instanceIds == null || instanceIds.includes(instanceId);

/** Whether `now` is all that `before` was: a socket that was opened with the one goes on under the other. */
export const sameRights = (before: Rights, now: Rights): boolean =>
  before.projectId === now.projectId && before.role === now.role && before.serviceWide === now.serviceWide
  && before.expiresAt?.getTime() === now.expiresAt?.getTime()
  && JSON.stringify(before.instanceIds) === JSON.stringify(now.instanceIds);

const forbidden = (principal: Principal, verb: Verb): DomainError => {
  const { role, instanceIds } = principal;
  if (!GRANTS[role].has(verb)) return new DomainError('FORBIDDEN', `A key with the role ${role} may not do this.`, { hint: 'Use a key with a higher role.' });
  if (instanceIds !== null) return new DomainError('FORBIDDEN', 'A key that is limited to some instances may not do this.', { hint: 'Use a key of the whole project.' });
  return new DomainError('FORBIDDEN', 'A key of one project may not do this.', { hint: 'Use a service-wide key.' });
};

/** Refuses a missing principal with UNAUTHENTICATED and a missing right with FORBIDDEN. The first line of every service method. */
export function authorise(principal: Principal | undefined, verb: Verb): asserts principal is Principal {
  if (!principal) {
    throw new DomainError('UNAUTHENTICATED', 'This request carries no valid API key.', {
      hint: 'Send the header "Authorization: Bearer sb_…" (WebSocket: the connection parameter "authorization").',
    });
  }
  if (!may(principal, verb)) throw forbidden(principal, verb);
}
