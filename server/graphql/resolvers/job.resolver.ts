import { type GraphQLResolveInfo } from 'graphql';
import { Arg, Args, ArgsType, Ctx, Field, FieldResolver, ID, Info, Int, Mutation, Query, Resolver, Root, Subscription } from 'type-graphql';
import { isId } from '../../domain/ids.js';
import { type BackupRecord, type InstanceRecord, type JobEventRecord, type JobPage, type JobRecord, type RestoreRecord } from '../../services/records.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { CancelJobInput, JobFilter } from '../inputs/job.input.js';
import { type Payload, toPayload } from '../payload.js';
import { isSelected } from '../selection.js';
import { Backup } from '../types/backup.type.js';
import { Instance } from '../types/instance.type.js';
import { CancelJobPayload, Job, JobConnection, JobEvent } from '../types/job.type.js';
import { Restore } from '../types/restore.type.js';

@ArgsType()
class JobListArgs extends ListArgs {
  @Field(() => JobFilter, { nullable: true }) filter?: JobFilter | null;
}

@ArgsType()
class JobProgressArgs {
  @Field(() => ID) jobId!: string;
  @Field(() => Int, { nullable: true }) afterSequence?: number | null;
}

@ArgsType()
class JobEventsArgs {
  @Field(() => JobFilter, { nullable: true }) filter?: JobFilter | null;
  @Field(() => String, { nullable: true }) after?: string | null;
}

/** What type-graphql hands to `subscribe`. */
interface Subscribing<TArgs> {
  args: TArgs;
  context: GraphContext;
}

@Resolver(() => Job)
export class JobResolver {
  @Query(() => Job, { nullable: true })
  async job(@Arg('id', () => ID) id: string, @Ctx() { services, caller }: GraphContext): Promise<JobRecord | null> {
    return isId('job', id) ? services.jobs.get(caller, id) : null;
  }

  @Query(() => JobConnection)
  async jobs(
    @Args(() => JobListArgs) args: JobListArgs, @Ctx() { services, caller }: GraphContext, @Info() info: GraphQLResolveInfo,
  ): Promise<ConnectionRecord<JobRecord> & Pick<JobPage, 'feedCursor'>> {
    const page = await services.jobs.list(caller, args.filter ?? {}, pageOf(args), { feedCursor: isSelected(info, 'feedCursor') });
    return { ...toConnection(page), feedCursor: page.feedCursor };
  }

  @Mutation(() => CancelJobPayload)
  cancelJob(@Arg('input', () => CancelJobInput) input: CancelJobInput, @Ctx() context: GraphContext): Promise<Payload<{ job: JobRecord }>> {
    return toPayload(context, async () => ({ job: await context.services.jobs.cancel(context.caller, input) }));
  }

  @Subscription(() => JobEvent, {
    subscribe: ({ args, context }: Subscribing<JobProgressArgs>) => context.services.jobs.progress(context.caller, args),
  })
  jobProgress(@Root() event: JobEventRecord, @Args(() => JobProgressArgs) _args: JobProgressArgs): JobEventRecord {
    return event;
  }

  @Subscription(() => JobEvent, {
    subscribe: ({ args, context }: Subscribing<JobEventsArgs>) =>
      context.services.jobs.events(context.caller, { filter: args.filter ?? {}, after: args.after }),
  })
  jobEvents(@Root() event: JobEventRecord, @Args(() => JobEventsArgs) _args: JobEventsArgs): JobEventRecord {
    return event;
  }

  @FieldResolver(() => Instance, { nullable: true })
  async instance(@Root() job: JobRecord, @Ctx() { loaders }: GraphContext): Promise<InstanceRecord | null> {
    return job.instanceId === null ? null : loaders.instances.load(job.instanceId);
  }

  @FieldResolver(() => Backup, { nullable: true })
  async backup(@Root() job: JobRecord, @Ctx() { loaders }: GraphContext): Promise<BackupRecord | null> {
    return job.backupId === null ? null : loaders.backups.load(job.backupId);
  }

  @FieldResolver(() => Restore, { nullable: true })
  async restore(@Root() job: JobRecord, @Ctx() { loaders }: GraphContext): Promise<RestoreRecord | null> {
    return job.restoreId === null ? null : loaders.restores.load(job.restoreId);
  }
}

@Resolver(() => JobConnection)
export class JobConnectionResolver {
  /** It had to be read before the page, so the page has it. */
  @FieldResolver(() => String)
  feedCursor(@Root() { feedCursor }: Pick<JobPage, 'feedCursor'>): string | null {
    return feedCursor;
  }
}
