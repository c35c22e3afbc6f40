import type { Connection } from './connection.js';
import type {
  CreateRestorePlanInput, JobEventFragment, JobFragment, RestoreBackupInput, RestoreFilter, RestoreFragment, RestorePlanFragment,
} from './generated/operations.js';
import { CreateRestorePlanDocument, GetRestoreDocument, GetRestorePlanDocument, ListRestoresDocument, RestoreBackupDocument } from './generated/restore.documents.js';
import type { Jobs, WaitOptions, WatchOptions } from './jobs.js';
import { createList, splitListInput, type List, type ListOptions } from './list.js';
import type { Loaded } from './nouns.js';
import type { CallOptions } from './options.js';
import type { Tries } from './outcome.js';
import { found, fulfilled, idOf, keyed, type Ref } from './payload.js';
import { follow, within } from './stream.js';

/** A restore, its id, or what `run` returns. */
export type RestoreRef = Ref | { readonly restore: { readonly id: string }; readonly job: { readonly id: string } };

export interface RestoreAndJob {
  restore: RestoreFragment;
  job: JobFragment;
}

/** How to carry out a plan, where the plan itself is given. */
export interface RunOptions extends CallOptions {
  /** The target instance's name, typed by the person who answers for it. Without it the service refuses with CONFIRMATION_REQUIRED. */
  confirmation?: string;
  /** Names of the plan's warnings that must be accepted, and are. */
  acceptedWarnings?: string[];
}

export interface RestoreMutations {
  /**
   * What a restore would do; writes nothing. Waits for the job that fills the plan, where there is one, so `state` is not PREPARING.
   * Read `blockers` and `warnings` before `run`.
   */
  plan(input: CreateRestorePlanInput, options?: CallOptions): Promise<RestorePlanFragment>;
  /** Carries out a plan: `run(plan, { confirmation, acceptedWarnings })`. Returns at once; follow it with `watch` or `wait`. */
  run(plan: Ref | RestoreBackupInput, options?: RunOptions): Promise<RestoreAndJob>;
}

export interface Restores extends RestoreMutations, Tries<RestoreMutations> {
  /** A plan as it stands now, or null when there is none. */
  getPlan(plan: Ref, options?: CallOptions): Promise<RestorePlanFragment | null>;
  list(filter?: RestoreFilter & ListOptions, options?: CallOptions): List<RestoreFragment>;
  /** A restore, or null when there is none. */
  get(restore: RestoreRef, options?: CallOptions): Promise<RestoreFragment | null>;
  /** The events of the restore's job; see `jobs.watch`. */
  watch(restore: RestoreRef, options?: WatchOptions): AsyncIterableIterator<JobEventFragment>;
  /** The restore after its end. Throws JobFailedError when it did not succeed; `get` then tells which data the target holds. */
  wait(restore: RestoreRef, options?: WaitOptions): Promise<RestoreFragment>;
}

const restoreId = (ref: RestoreRef): string => (typeof ref === 'object' && 'restore' in ref ? ref.restore.id : idOf(ref));

export const createRestores = (connection: Connection, jobs: Jobs): Loaded<Restores> => {
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
      const { signal, retry, headers } = options;
      const answer = await connection.execute(CreateRestorePlanDocument, { input }, keyed(options, input));
      const { plan } = fulfilled('createRestorePlan', answer.createRestorePlan);
      if (plan.state !== 'PREPARING' || plan.job === null) return plan;
      await jobs.wait(plan.job, { signal, retry, headers });
      return found(await getPlan(plan, options), `restore plan ${plan.id}`);
    },
    getPlan,
    run: async (plan, { confirmation = '', acceptedWarnings, ...options } = {}) => {
      const input: RestoreBackupInput = typeof plan === 'object' && 'planId' in plan ? plan : { planId: idOf(plan), confirmation, acceptedWarnings };
      return fulfilled('restoreBackup', (await connection.execute(RestoreBackupDocument, { input }, keyed(options, input))).restoreBackup);
    },
    list: (input = {}, options) => {
      const { filter, list } = splitListInput<RestoreFilter>(input);
      return createList('ListRestores', list, async (page) => (await connection.execute(ListRestoresDocument, { filter, ...page }, options)).restores);
    },
    get,
    watch: (restore, options = {}) =>
      follow(connection.following, `Watching ${restoreId(restore)}`, options, async function* (signal) {
        yield* jobs.watch(await jobOf(restore, { ...options, signal, timeoutMs: undefined }), { ...options, signal });
      }),
    wait: (restore, options = {}) => {
      const id = restoreId(restore);
      const { retry, headers } = options;
      return within(`Waiting for ${id}`, options, async (signal) => {
        await jobs.wait(await jobOf(restore, { signal, retry, headers }), { ...options, signal, timeoutMs: undefined });
        return found(await get(id, { signal, retry, headers }), `restore ${id}`);
      });
    },
  };
};
