import { Arg, Args, ArgsType, Ctx, Field, FieldResolver, ID, Info, Mutation, Query, Resolver, Root } from 'type-graphql';
import { type GraphQLResolveInfo } from 'graphql';
import { isId } from '../../domain/ids.js';
import { type BackupRecord, type InstanceRecord, type JobRecord, type PolicyRecord } from '../../services/records.js';
import { type ListedBackup } from '../../services/wanted.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { InstanceFilter, ProbeInstanceInput, RegisterInstanceInput, RemoveInstanceInput, UpdateInstanceInput } from '../inputs/instance.input.js';
import { loadRequired } from '../loaders.js';
import { type Payload, toPayload } from '../payload.js';
import { wantedOfBackups } from '../selection.js';
import { Backup, BackupConnection } from '../types/backup.type.js';
import {
  Instance, InstanceConnection, ProbeInstancePayload, RegisterInstancePayload, RemoveInstancePayload, UpdateInstancePayload,
} from '../types/instance.type.js';
import { Job } from '../types/job.type.js';
import { BackupPolicy } from '../types/policy.type.js';
import { BackupListArgs } from './backup.resolver.js';

@ArgsType()
class InstanceListArgs extends ListArgs {
  @Field(() => InstanceFilter, { nullable: true }) filter?: InstanceFilter | null;
}

type InstancePayload = Payload<{ instance: InstanceRecord }>;

@Resolver(() => Instance)
export class InstanceResolver {
  @Query(() => Instance, { nullable: true })
  async instance(@Arg('id', () => ID) id: string, @Ctx() { services, caller }: GraphContext): Promise<InstanceRecord | null> {
    return isId('instance', id) ? services.instances.get(caller, id) : null;
  }

  @Query(() => InstanceConnection)
  async instances(@Args(() => InstanceListArgs) args: InstanceListArgs, @Ctx() { services, caller }: GraphContext): Promise<ConnectionRecord<InstanceRecord>> {
    return toConnection(await services.instances.list(caller, args.filter ?? {}, pageOf(args)));
  }

  @Mutation(() => RegisterInstancePayload)
  registerInstance(@Arg('input', () => RegisterInstanceInput) input: RegisterInstanceInput, @Ctx() context: GraphContext): Promise<InstancePayload> {
    return toPayload(context, async () => ({ instance: await context.services.instances.register(context.caller, input) }));
  }

  @Mutation(() => UpdateInstancePayload)
  updateInstance(@Arg('input', () => UpdateInstanceInput) input: UpdateInstanceInput, @Ctx() context: GraphContext): Promise<InstancePayload> {
    return toPayload(context, async () => ({ instance: await context.services.instances.update(context.caller, input) }));
  }

  @Mutation(() => RemoveInstancePayload)
  removeInstance(@Arg('input', () => RemoveInstanceInput) input: RemoveInstanceInput, @Ctx() context: GraphContext): Promise<InstancePayload> {
    return toPayload(context, async () => ({ instance: await context.services.instances.remove(context.caller, input) }));
  }

  @Mutation(() => ProbeInstancePayload)
  probeInstance(@Arg('input', () => ProbeInstanceInput) input: ProbeInstanceInput, @Ctx() context: GraphContext): Promise<InstancePayload> {
    return toPayload(context, async () => ({ instance: await context.services.instances.probe(context.caller, input) }));
  }

  @FieldResolver(() => BackupPolicy)
  policy(@Root() instance: InstanceRecord, @Ctx() { loaders }: GraphContext): Promise<PolicyRecord> {
    return loadRequired(loaders.policiesByInstance, instance.id, 'The policy of an instance');
  }

  @FieldResolver(() => Backup, { nullable: true })
  latestBackup(@Root() instance: InstanceRecord, @Ctx() { loaders }: GraphContext): Promise<BackupRecord | null> {
    return loaders.latestBackupByInstance.load(instance.id);
  }

  @FieldResolver(() => BackupConnection)
  async backups(
    @Root() instance: InstanceRecord, @Args(() => BackupListArgs) args: BackupListArgs, @Ctx() { loaders }: GraphContext, @Info() info: GraphQLResolveInfo,
  ): Promise<ConnectionRecord<ListedBackup>> {
    const pages = loaders.backupsOfInstances.with({ filter: args.filter ?? {}, page: pageOf(args), wanted: wantedOfBackups(info) });
    return toConnection(await loadRequired(pages, instance.id, 'The backups of an instance'));
  }

  @FieldResolver(() => Job, { nullable: true })
  runningJob(@Root() instance: InstanceRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord | null> {
    return loaders.runningJobByInstance.load(instance.id);
  }
}
