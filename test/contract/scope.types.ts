import { type Repositories, type Scope } from '../../server/services/ports.js';

/*
 * Read by the compiler only. What tenants own is read with their scope, or not at all: a repository method that forgets it, and a call that does, do not
 * compile. Whatever method takes none, nor a row that says whose it is, stands below with the reason why; a new one that does not, does not compile either.
 */
type First<Method> = Method extends (first: infer Argument, ...rest: never[]) => unknown ? Argument : never;
type Noun = { [Name in keyof Repositories]: Repositories[Name] extends (...args: never[]) => unknown ? never : Name }[keyof Repositories];
/** Whether a method's first argument is a scope, or a row with its tenant. */
type Scoped<Argument> = [Argument] extends [never] ? false : Scope extends Argument ? true : Argument extends { readonly projectId: string } ? true : false;
type Unscoped = { [Name in Noun]: { [Method in keyof Repositories[Name] & string]: Scoped<First<Repositories[Name][Method]>> extends true ? never : `${Name}.${Method}` }[keyof Repositories[Name] & string] }[Noun];

/** Why they take no scope. */
export const BEYOND = {
  'tenants themselves, and who calls before it is known of which': [
    'apiKeys.findForLogin', 'apiKeys.projectOf', 'apiKeys.standing', 'apiKeys.touch', 'projects.findByName', 'projects.get', 'projects.insert',
    'projects.list',
  ],
  'of the whole service, no tenant\'s': [
    'locks.hold', 'locks.release', 'locks.renew', 'locks.take', 'settings.claim', 'settings.get', 'settings.put', 'audit.makeId', 'events.since',
    'jobs.runningOnServer', 'notices.append', 'notices.claim', 'notices.settle', 'syncs.end', 'syncs.insert', 'syncs.ofServer', 'syncDelays.claimDead',
    'syncDelays.giveUp', 'syncDelays.isClaimed', 'syncDelays.settled',
  ],
  'by an id that was found within the scope, in the same transaction': [
    'jobs.change', 'policies.lock', 'leases.remove', 'leases.renew',
  ],
  'the worker that holds the job': [
    'runs.bindServer', 'runs.claim', 'runs.expired', 'runs.giveBack', 'runs.hold', 'runs.owns', 'runs.renew', 'runs.takeBack', 'runs.waiting',
  ],
  'a pass over all tenants, which no caller can ask for': [
    'audit.ends', 'events.forgetOld', 'idempotency.forgetOld', 'inspections.notUnder', 'inspections.reseal', 'leases.forgetOld', 'links.forgetOld',
    'notices.forgetOld', 'policies.due', 'policies.planned', 'recovery.ofPolicy', 'recovery.promised', 'recovery.setLate', 'restoreDetails.forgetOld',
    'restoreDetails.notUnder', 'slots.endWaiting', 'slots.lockWaiting', 'slots.waiting', 'slots.waitingOf', 'syncs.forgetOld', 'upkeep.abandoned',
    'upkeep.available', 'upkeep.backups', 'upkeep.endSlotsWithoutJob', 'upkeep.instancesWithExpired', 'upkeep.lockBackups', 'upkeep.projectOfInstance',
    'upkeep.replaceSecrets', 'upkeep.retention', 'upkeep.secretsNotUnder', 'upkeep.unsettledRestores',
  ],
} as const satisfies Readonly<Record<string, readonly Unscoped[]>>;

const takesNever = <T extends never>(): T[] => [];
takesNever<Exclude<Unscoped, (typeof BEYOND)[keyof typeof BEYOND][number]>>();

export const forgotten = (db: Repositories): unknown[] => [
  // @ts-expect-error it names no tenant
  db.backups.get('bak_1'),
  // @ts-expect-error it names no tenant
  db.jobs.list({}, { order: 'NEWEST_FIRST', forward: true, limit: 1, from: null }),
  // @ts-expect-error a scope without its tenant
  db.restores.getMany({ instanceIds: ['ins_1'] }, []),
];
