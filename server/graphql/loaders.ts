import { DomainError } from '../domain/errors.js';
import { type Caller, type Services } from '../services/api.js';
import {
  type BackupFilter, type BackupRecord, type InspectedKeyRecord, type InspectionRecord, type InstanceRecord, type JobRecord, type KeyFailureRecord, type Page, type PageArgs, type PlanDetailRecord,
  type PolicyRecord, type ProjectRecord, type RecoveryRecord, type RestorePlanRecord, type RestoreRecord, type SlotFilter, type SlotRecord,
} from '../services/records.js';
import { type ListedBackup, type WantedOfBackups } from '../services/wanted.js';

export interface Loader<T> {
  load(id: string): Promise<T | null>;
  /** Forgets what was loaded, so that the next `load` asks again. */
  clear(): void;
}

/**
 * Gathers the ids asked for within one turn of the event loop's microtasks into one call, and remembers the answers until `clear`.
 * @param fetch answers in the order of the ids, null for what is missing; ids are distinct
 */
export const makeLoader = <T>(fetch: (ids: readonly string[]) => Promise<readonly (T | null)[]>): Loader<T> => {
  type Waiting = { id: string; resolve: (value: T | null) => void; reject: (error: unknown) => void };
  let known = new Map<string, Promise<T | null>>();
  let waiting: Waiting[] = [];

  const flush = async (): Promise<void> => {
    const batch = waiting;
    waiting = [];
    try {
      const found = await fetch(batch.map(({ id }) => id));
      if (found.length !== batch.length) throw new DomainError('INTERNAL', `A loader asked for ${batch.length} objects and got ${found.length}.`);
      batch.forEach(({ resolve }, at) => resolve(found[at] ?? null));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  };

  return {
    load(id) {
      const present = known.get(id);
      if (present) return present;
      const promise = new Promise<T | null>((resolve, reject) => {
        waiting.push({ id, resolve, reject });
        // Two turns: resolvers of sibling list items run in the same flush of the microtask queue as the first `load`.
        if (waiting.length === 1) process.nextTick(() => void Promise.resolve().then(flush));
      });
      known.set(id, promise);
      return promise;
    },
    clear() {
      known = new Map();
    },
  };
};

/** Loaders of one kind, one for each set of arguments that a field is asked with. */
export interface LoaderFamily<Args, T> {
  with(args: Args): Loader<T>;
  clear(): void;
}

/** @param fetch as of `makeLoader` */
export const makeLoaderFamily = <Args, T>(fetch: (args: Args, ids: readonly string[]) => Promise<readonly (T | null)[]>): LoaderFamily<Args, T> => {
  const loaders = new Map<string, Loader<T>>();
  return {
    with(args) {
      const key = JSON.stringify(args, (_name, value: unknown) => (value instanceof Set ? [...(value as Set<unknown>)] : value));
      const known = loaders.get(key) ?? makeLoader((ids) => fetch(args, ids));
      loaders.set(key, known);
      return known;
    },
    clear: () => loaders.clear(),
  };
};

export interface Loaders {
  instances: Loader<InstanceRecord>;
  policiesByInstance: Loader<PolicyRecord>;
  recoveryByInstance: Loader<RecoveryRecord>;
  backups: Loader<BackupRecord>;
  latestBackupByInstance: Loader<BackupRecord>;
  inspectionByBackup: Loader<InspectionRecord>;
  runningJobByInstance: Loader<JobRecord>;
  jobs: Loader<JobRecord>;
  restores: Loader<RestoreRecord>;
  plans: Loader<RestorePlanRecord>;
  /** By plan ids. */
  planDetails: Loader<PlanDetailRecord>;
  /** By restore ids. */
  keyFailures: Loader<readonly KeyFailureRecord[]>;
  projects: Loader<ProjectRecord>;
  /** By instance ids. */
  backupsOfInstances: LoaderFamily<{ filter: BackupFilter; page: PageArgs; wanted: WantedOfBackups }, Page<ListedBackup>>;
  /** By instance ids. */
  slotsOfInstances: LoaderFamily<{ filter: SlotFilter; page: PageArgs }, Page<SlotRecord>>;
  /** First pages, by backup ids. */
  firstKeysOfBackups: LoaderFamily<{ first: number | null | undefined }, Page<InspectedKeyRecord>>;
}

const one = <T>(get: (id: string) => Promise<T | null>) => (ids: readonly string[]): Promise<(T | null)[]> => Promise.all(ids.map(get));

/** The loaders of one request: they ask on behalf of its caller and share nothing with other requests. */
export const makeLoaders = (services: Services, caller: Caller): Loaders => {
  const inspectionByBackup = makeLoader((ids) => services.inspections.latestByBackup(caller, ids));
  return {
    instances: makeLoader((ids) => services.instances.getMany(caller, ids)),
    policiesByInstance: makeLoader((ids) => services.policies.getManyByInstance(caller, ids)),
    recoveryByInstance: makeLoader((ids) => services.recovery.getManyByInstance(caller, ids)),
    backups: makeLoader((ids) => services.backups.getMany(caller, ids)),
    latestBackupByInstance: makeLoader((ids) => services.backups.latestByInstance(caller, ids)),
    inspectionByBackup,
    runningJobByInstance: makeLoader((ids) => services.jobs.runningByInstance(caller, ids)),
    jobs: makeLoader((ids) => services.jobs.getMany(caller, ids)),
    restores: makeLoader((ids) => services.restores.getMany(caller, ids)),
    plans: makeLoader((ids) => services.restores.getPlans(caller, ids)),
    planDetails: makeLoader((ids) => services.restores.planDetails(caller, ids)),
    keyFailures: makeLoader((ids) => services.restores.keyFailures(caller, ids)),
    // Whatever names projects in a list names one and the same.
    projects: makeLoader(one((id) => services.projects.get(caller, id))),
    backupsOfInstances: makeLoaderFamily(({ filter, page, wanted }, ids) => services.backups.listByInstance(caller, ids, filter, page, wanted)),
    slotsOfInstances: makeLoaderFamily(({ filter, page }, ids) => services.slots.listByInstance(caller, ids, filter, page)),
    firstKeysOfBackups: makeLoaderFamily(async ({ first }, ids) => {
      const found = (await Promise.all(ids.map((id) => inspectionByBackup.load(id)))).filter((inspection) => inspection !== null);
      const pages = await services.inspections.firstKeys(caller, found, first);
      return ids.map((id) => pages[found.findIndex(({ backupId }) => backupId === id)] ?? null);
    }),
  };
};

export const clearLoaders = (loaders: Loaders): void => {
  for (const loader of Object.values(loaders) as { clear(): void }[]) loader.clear();
};

/** For links that the schema promises: an object that names another which is gone is a fault of ours. */
export const loadRequired = async <T>(loader: Loader<T>, id: string, from: string): Promise<T> => {
  const found = await loader.load(id);
  if (found === null) throw new DomainError('INTERNAL', `${from} names ${id}, which does not exist.`);
  return found;
};
