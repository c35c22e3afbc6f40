import type { Connection } from './connection.js';
import type { GetPolicyQuery, SetBackupPolicyInput } from './generated/operations.js';
import { GetPolicyDocument, SetPolicyDocument } from './generated/policy.documents.js';
import type { Loaded } from './nouns.js';
import type { CallOptions } from './options.js';
import type { Tries } from './outcome.js';
import { fulfilled, idOf, keyed, type Ref } from './payload.js';

/** When an instance's automatic backups run, with the next runs. */
export type Policy = NonNullable<GetPolicyQuery['instance']>['policy'];

export interface GetPolicyOptions extends CallOptions {
  /** How many of the next runs to bring, 1 to 100. Default 7. */
  upcomingRuns?: number;
}

export interface PolicyMutations {
  /** What is left out stays. The result brings the next 7 runs. */
  set(input: SetBackupPolicyInput, options?: CallOptions): Promise<Policy>;
}

export interface Policies extends PolicyMutations, Tries<PolicyMutations> {
  /** An instance's policy, or null when there is no such instance. */
  get(instance: Ref, options?: GetPolicyOptions): Promise<Policy | null>;
}

export const createPolicies = (connection: Connection): Loaded<Policies> => ({
  get: async (instance, { upcomingRuns = 7, ...options } = {}) =>
    (await connection.execute(GetPolicyDocument, { instanceId: idOf(instance), upcomingRuns }, options)).instance?.policy ?? null,
  set: async (input, options) => fulfilled('setBackupPolicy', (await connection.execute(SetPolicyDocument, { input }, keyed(options, input))).setBackupPolicy).policy,
});
