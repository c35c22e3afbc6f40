import { randomKey, type Connection } from './connection.js';
import {
  CreateRestorePlanDocument, GetRestoreDocument, GetRestorePlanDocument, ListRestoresDocument, RestoreBackupDocument,
  type CreateRestorePlanInput, type JobEventFragment, type JobFragment, type RestoreBackupInput, type RestoreFilter, type RestoreFragment,
  type RestorePlanFragment,
} from './generated/operations.js';
import { type Jobs, type WaitOptions, type WatchOptions } from './jobs.js';
import { createList, splitListInput, type List, type ListOptions } from './list.js';
import { type CallOptions, type KeyedCallOptions } from './options.js';
import { found, fulfilled, idOf, type Ref } from './payload.js';
import { follow } from './stream.js';

/** A restore, its id, or what `run` returns. */
export type RestoreRef = Ref | { readonly restore: { readonly id: string }; readonly job: { readonly id: string } };

export interface RestoreAndJob {
  restore: RestoreFragment;
  job: JobFragment;
}

export interface Restores {
  /**
   * What a restore would do; writes nothing. Waits for the job that fills the plan, where there is one, so `state` is not PREPARING.
   * Read `blockers` and `warnings` before `run`.
   */
  plan(input: CreateRestorePlanInput, options?: KeyedCallOptions): Promise<RestorePlanFragment>;
  /** A plan as it stands now, or null when there is none. */
  getPlan(plan: Ref, options?: CallOptions): Promise<RestorePlanFragment | null>;
  /**
   * Carries out a plan. `confirmation` is the target instance's name, typed by the person who answers for
   * it. Returns at once; follow it with `watch` or `wait`.
   */
  run(input: RestoreBackupInput, options?: KeyedCallOptions): Promise<RestoreAndJob>;
  list(filter?: RestoreFilter & ListOptions, options?: CallOptions): List<RestoreFragment>;
  /** A restore, or null when there is none. */
  get(restore: RestoreRef, options?: CallOptions): Promise<RestoreFragment | null>;
  /** The events of the restore's job; see `jobs.watch`. */
  watch(restore: RestoreRef, options?: WatchOptions): AsyncIterableIterator<JobEventFragment>;
  /** The restore after its end. Throws JobFailedError when it did not succeed; `get` then tells which data the target holds. */
  wait(restore: RestoreRef, options?: WaitOptions): Promise<RestoreFragment>;
}

const restoreId = (ref: RestoreRef): string => (typeof ref === 'object' && 'restore' in ref ? ref.restore.id : idOf(ref));

export const createRestores = (connection: Connection, jobs: Jobs): Restores => {
  const get: Restores['get'] = async (restore, options) =>
    (await connection.execute(GetRestoreDocument, { id: restoreId(restore) }, options)).restore;
  const getPlan: Restores['getPlan'] = async (plan, options) =>
    (await connection.execute(GetRestorePlanDocument, { id: idOf(plan) }, options)).restorePlan;

  const jobOf = async (ref: RestoreRef, options: CallOptions): Promise<string> => {
    if (typeof ref === 'object' && 'restore' in ref) return ref.job.id;
    const id = restoreId(ref);
    return found(await get(id, options), `restore ${id}`).job.id;
  };

  return {
    plan: async (input, options = {}) => {
      const idempotencyKey = options.idempotencyKey ?? input.idempotencyKey ?? randomKey();
      const answer = await connection.execute(CreateRestorePlanDocument, { input }, { ...options, idempotencyKey });
      const { plan } = fulfilled('createRestorePlan', answer.createRestorePlan);
      if (plan.state !== 'PREPARING' || plan.job === null) return plan;
      await jobs.wait(plan.job, { signal: options.signal });
      return found(await getPlan(plan, options), `restore plan ${plan.id}`);
    },
    getPlan,
    run: async (input, options = {}) => {
      const idempotencyKey = options.idempotencyKey ?? input.idempotencyKey ?? randomKey();
      return fulfilled('restoreBackup', (await connection.execute(RestoreBackupDocument, { input }, { ...options, idempotencyKey })).restoreBackup);
    },
    list: (input = {}, options) => {
      const { filter, list } = splitListInput<RestoreFilter>(input);
      return createList('ListRestores', list, async (page) => (await connection.execute(ListRestoresDocument, { filter, ...page }, options)).restores);
    },
    get,
    watch: (restore, options = {}) =>
      follow(`Watching ${restoreId(restore)}`, options.signal, async function* (signal) {
        yield* jobs.watch(await jobOf(restore, { signal }), { ...options, signal });
      }),
    wait: async (restore, options = {}) => {
      const id = restoreId(restore);
      const { signal } = options;
      await jobs.wait(await jobOf(restore, { signal }), options);
      return found(await get(id, { signal }), `restore ${id}`);
    },
  };
};
