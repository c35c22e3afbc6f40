import { type Connection } from './connection.js';
import { GetPolicyDocument, SetPolicyDocument, type GetPolicyQuery, type SetBackupPolicyInput } from './generated/operations.js';
import { type CallOptions } from './options.js';
import { fulfilled, idOf, type Ref } from './payload.js';

/** When an instance's automatic backups run, with the next runs. */
export type Policy = NonNullable<GetPolicyQuery['instance']>['policy'];

export interface GetPolicyOptions extends CallOptions {
  /** How many of the next runs to bring, 1 to 100. Default 7. */
  upcomingRuns?: number;
}

export interface Policies {
  /** An instance's policy, or null when there is no such instance. */
  get(instance: Ref, options?: GetPolicyOptions): Promise<Policy | null>;
  /** What is left out stays. The result brings the next 7 runs. */
  set(input: SetBackupPolicyInput, options?: CallOptions): Promise<Policy>;
}

export const createPolicies = (connection: Connection): Policies => ({
  get: async (instance, { upcomingRuns = 7, ...options } = {}) =>
    (await connection.execute(GetPolicyDocument, { instanceId: idOf(instance), upcomingRuns }, options)).instance?.policy ?? null,
  set: async (input, options) => fulfilled('setBackupPolicy', (await connection.execute(SetPolicyDocument, { input }, options)).setBackupPolicy).policy,
});
