import { Args, ArgsType, Ctx, Field, FieldResolver, Resolver, Root } from 'type-graphql';
import { type InstanceRecord, type JobRecord, type SlotRecord } from '../../services/records.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { SlotFilter } from '../inputs/slot.input.js';
import { loadRequired } from '../loaders.js';
import { Instance } from '../types/instance.type.js';
import { Job } from '../types/job.type.js';
import { Slot, SlotConnection } from '../types/slot.type.js';

@ArgsType()
class SlotListArgs extends ListArgs {
  @Field(() => SlotFilter, { nullable: true }) filter?: SlotFilter | null;
}

@Resolver(() => Slot)
export class SlotResolver {
  @FieldResolver(() => Instance)
  instance(@Root() slot: SlotRecord, @Ctx() { loaders }: GraphContext): Promise<InstanceRecord> {
    return loadRequired(loaders.instances, slot.instanceId, `The slot ${slot.id}`);
  }

  @FieldResolver(() => Job, { nullable: true })
  async job(@Root() slot: SlotRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord | null> {
    return slot.jobId === null ? null : loaders.jobs.load(slot.jobId);
  }
}

@Resolver(() => Instance)
export class InstanceSlotsResolver {
  @FieldResolver(() => SlotConnection)
  async slots(
    @Root() instance: InstanceRecord, @Args(() => SlotListArgs) args: SlotListArgs, @Ctx() { loaders }: GraphContext,
  ): Promise<ConnectionRecord<SlotRecord>> {
    return toConnection(await loadRequired(loaders.slotsOfInstances.with({ filter: args.filter ?? {}, page: pageOf(args) }), instance.id, 'The slots of an instance'));
  }
}
