import { type AuditActor, type AuditDraft } from '../domain/audit.js';
import { DomainError } from '../domain/errors.js';
import { type Principal } from '../domain/principal.js';
import { type Clock, type Log } from '../engine/ports.js';
import { type Services } from './api.js';
import { appendAudit } from './audit-chain.js';
import { type Database, type Repositories } from './ports.js';
import { type ApiKeyRecord } from './records.js';

export const actorOf = ({ credential, keyId, name, from }: Principal): AuditActor => ({ credential, keyId, name, from });

/** What a caller has done: in the transaction that does it, and last in it. @param what.projectId default: the caller's own */
export const noted = (tx: Repositories, caller: Principal, what: Omit<AuditDraft, 'projectId' | 'actor' | 'outcome' | 'code'> & { projectId?: string }): Promise<void> =>
  appendAudit(tx, { projectId: caller.projectId, ...what, actor: actorOf(caller), outcome: 'DONE' });

/** Which fields of an input were given, for what is noted of a change: their names, never their values. */
export const givenFields = ({ instanceId: _id, idempotencyKey: _key, ...input }: object & { instanceId?: unknown; idempotencyKey?: unknown }): string =>
  Object.entries(input).filter(([, value]) => value !== undefined).map(([name]) => name).sort().join(', ');

const REMEMBERED = 10_000;

/** Whether something is new, or was last so long ago: what is tried over and over again is noted as often as that. */
export class Seldom {
  private readonly seen = new Map<string, number>();

  constructor(private readonly everyMs: number, private readonly elapsed: () => number = () => performance.now()) {}

  isDue(what: string): boolean {
    const now = this.elapsed();
    const last = this.seen.get(what);
    if (last !== undefined && now - last < this.everyMs) return false;
    if (this.seen.size >= REMEMBERED) this.seen.clear();
    this.seen.set(what, now);
    return true;
  }
}

/** Notes refusals: alone in a transaction of their own, since nothing else happens with them. Never fails. */
export type NoteRefusal = (event: Omit<AuditDraft, 'outcome' | 'at'>) => Promise<void>;

export const refusalNotes = ({ db, clock, log }: { db: Database; clock: Clock; log: Log }): NoteRefusal => async (event) => {
  await db.transaction((tx) => appendAudit(tx, { ...event, outcome: 'REFUSED', at: clock.now() })).catch((error: unknown) => log.error('A refusal could not be noted.', { action: event.action, error: String(error) }));
};

/** Who has the secret of a key that lets nobody in any more: its project should know. */
export const noteRefusedKey = (note: NoteRefusal, seldom = new Seldom(60_000)) => async ({ id, projectId, name, revokedAt }: ApiKeyRecord, from: string | undefined): Promise<void> => {
  if (!seldom.isDue(`${id} ${from ?? ''}`)) return;
  await note({
    projectId, actor: { credential: null, keyId: id, name, from }, action: 'LOGIN', code: 'UNAUTHENTICATED', objectId: id, details: { because: revokedAt === null ? 'it has expired' : 'it was revoked' },
  });
};

type Method = (caller: Principal | undefined, ...args: unknown[]) => unknown;

/**
 * The same services, and every FORBIDDEN is noted. Whoever was refused once in a minute is noted once in it. A caller that is nobody belongs to no
 * project, so nothing is noted of it here.
 */
export const notingRefusals = (services: Services, note: NoteRefusal, seldom = new Seldom(60_000)): Services => {
  const wrapped = (operation: string, method: Method): Method => {
    const refused = async (caller: Principal | undefined, error: unknown): Promise<never> => {
      if (caller && error instanceof DomainError && error.code === 'FORBIDDEN' && seldom.isDue(`${caller.keyId} ${caller.from ?? ''} ${operation}`)) {
        await note({ projectId: caller.projectId, actor: actorOf(caller), action: 'ACCESS', code: 'FORBIDDEN', details: { operation } });
      }
      throw error;
    };
    return (caller, ...args) => {
      const answer = method(caller, ...args);
      return answer instanceof Promise ? answer.catch((error: unknown) => refused(caller, error)) : answer;
    };
  };
  const nouns = Object.entries(services as unknown as Record<string, Record<string, Method>>).map(([noun, methods]) =>
    [noun, Object.fromEntries(Object.entries(methods).map(([name, method]) => [name, wrapped(`${noun}.${name}`, method)]))] as const);
  return Object.fromEntries(nouns) as unknown as Services;
};
