import { Arg, Ctx, FieldResolver, Int, Mutation, Resolver, Root } from 'type-graphql';
import { type InstanceRecord, type PlannedRunRecord, type PolicyRecord } from '../../services/records.js';
import { type GraphContext } from '../context.js';
import { SetBackupPolicyInput } from '../inputs/policy.input.js';
import { loadRequired } from '../loaders.js';
import { type Payload, toPayload } from '../payload.js';
import { Instance } from '../types/instance.type.js';
import { BackupPolicy, PlannedRun, SetBackupPolicyPayload } from '../types/policy.type.js';

@Resolver(() => BackupPolicy)
export class PolicyResolver {
  @Mutation(() => SetBackupPolicyPayload)
  setBackupPolicy(@Arg('input', () => SetBackupPolicyInput) input: SetBackupPolicyInput, @Ctx() context: GraphContext): Promise<Payload<{ policy: PolicyRecord }>> {
    return toPayload(context, async () => ({ policy: await context.services.policies.set(context.caller, input) }));
  }

  @FieldResolver(() => Instance)
  instance(@Root() policy: PolicyRecord, @Ctx() { loaders }: GraphContext): Promise<InstanceRecord> {
    return loadRequired(loaders.instances, policy.instanceId, `The policy ${policy.id}`);
  }

  @FieldResolver(() => [PlannedRun])
  upcomingRuns(
    @Root() policy: PolicyRecord, @Arg('first', () => Int, { defaultValue: 7 }) first: number, @Ctx() { services, caller }: GraphContext,
  ): PlannedRunRecord[] {
    return services.policies.upcomingRuns(caller, policy, first);
  }
}
