import { type Repositories, type Scope } from '../../server/services/ports.js';

/*
 * Read by the compiler only. What tenants own is read with their scope, or not at all: a repository method that forgets it, and a call that does, do not
 * compile.
 */
type Owned = 'instances' | 'policies' | 'slots' | 'recovery' | 'backups' | 'leases' | 'inspections' | 'jobs' | 'events' | 'plans' | 'restores' | 'restoreDetails' | 'idempotency' | 'audit' | 'apiKeys';
type Reading = 'get' | 'getMany' | 'list' | 'count' | 'latestByInstance' | 'latestByBackup' | 'getByInstances' | 'ofInstances' | 'runningByInstance' | 'ofJob' | 'ofProject' | 'keys' | 'find' | 'isRead' | 'chain';

type First<Method> = Method extends (first: infer Argument, ...rest: never[]) => unknown ? Argument : never;
/** Names of methods whose first argument is anything else. */
type Unscoped = { [Noun in Owned]: { [Method in keyof Repositories[Noun] & Reading]: Scope extends First<Repositories[Noun][Method]> ? never : `${Noun}.${Method}` }[keyof Repositories[Noun] & Reading] }[Owned];

const takesNever = <T extends never>(): T[] => [];
takesNever<Unscoped>();

export const forgotten = (db: Repositories): unknown[] => [
  // @ts-expect-error it names no tenant
  db.backups.get('bak_1'),
  // @ts-expect-error it names no tenant
  db.jobs.list({}, { order: 'NEWEST_FIRST', forward: true, limit: 1, from: null }),
  // @ts-expect-error a scope without its tenant
  db.restores.getMany({ instanceIds: ['ins_1'] }, []),
];
