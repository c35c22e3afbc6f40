import { Arg, Args, ArgsType, Ctx, Field, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import { isId } from '../../domain/ids.js';
import { type BackupRecord, type InstanceRecord, type JobRecord, type RestorePlanRecord, type RestoreRecord } from '../../services/records.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { CreateRestorePlanInput, RestoreBackupInput, RestoreFilter } from '../inputs/restore.input.js';
import { loadRequired } from '../loaders.js';
import { type Payload, toJobPayload, toPayload } from '../payload.js';
import { Backup } from '../types/backup.type.js';
import { Instance } from '../types/instance.type.js';
import { Job } from '../types/job.type.js';
import { CreateRestorePlanPayload, Restore, RestoreBackupPayload, RestoreConnection, RestorePlan } from '../types/restore.type.js';

@ArgsType()
class RestoreListArgs extends ListArgs {
  @Field(() => RestoreFilter, { nullable: true }) filter?: RestoreFilter | null;
}

@Resolver(() => RestorePlan)
export class RestorePlanResolver {
  @Query(() => RestorePlan, { nullable: true })
  async restorePlan(@Arg('id', () => ID) id: string, @Ctx() { services, caller }: GraphContext): Promise<RestorePlanRecord | null> {
    return isId('restorePlan', id) ? services.restores.getPlan(caller, id) : null;
  }

  @Mutation(() => CreateRestorePlanPayload)
  createRestorePlan(
    @Arg('input', () => CreateRestorePlanInput) input: CreateRestorePlanInput, @Ctx() context: GraphContext,
  ): Promise<Payload<{ plan: RestorePlanRecord }>> {
    return toPayload(context, async () => ({ plan: await context.services.restores.createPlan(context.caller, input) }));
  }

  @FieldResolver(() => Backup)
  backup(@Root() plan: RestorePlanRecord, @Ctx() { loaders }: GraphContext): Promise<BackupRecord> {
    return loadRequired(loaders.backups, plan.backupId, `The restore plan ${plan.id}`);
  }

  @FieldResolver(() => Instance)
  instance(@Root() plan: RestorePlanRecord, @Ctx() { loaders }: GraphContext): Promise<InstanceRecord> {
    return loadRequired(loaders.instances, plan.instanceId, `The restore plan ${plan.id}`);
  }

  @FieldResolver(() => Job, { nullable: true })
  async job(@Root() plan: RestorePlanRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord | null> {
    return plan.jobId === null ? null : loaders.jobs.load(plan.jobId);
  }
}

@Resolver(() => Restore)
export class RestoreResolver {
  @Query(() => Restore, { nullable: true })
  async restore(@Arg('id', () => ID) id: string, @Ctx() { services, caller }: GraphContext): Promise<RestoreRecord | null> {
    return isId('restore', id) ? services.restores.get(caller, id) : null;
  }

  @Query(() => RestoreConnection)
  async restores(@Args(() => RestoreListArgs) args: RestoreListArgs, @Ctx() { services, caller }: GraphContext): Promise<ConnectionRecord<RestoreRecord>> {
    return toConnection(await services.restores.list(caller, args.filter ?? {}, pageOf(args)));
  }

  @Mutation(() => RestoreBackupPayload)
  restoreBackup(
    @Arg('input', () => RestoreBackupInput) input: RestoreBackupInput, @Ctx() context: GraphContext,
  ): Promise<Payload<{ restore: RestoreRecord; job: JobRecord }>> {
    return toJobPayload(context, () => context.services.restores.restoreBackup(context.caller, input));
  }

  @FieldResolver(() => RestorePlan)
  plan(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<RestorePlanRecord> {
    return loadRequired(loaders.plans, restore.planId, `The restore ${restore.id}`);
  }

  @FieldResolver(() => Backup)
  backup(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<BackupRecord> {
    return loadRequired(loaders.backups, restore.backupId, `The restore ${restore.id}`);
  }

  @FieldResolver(() => Instance)
  instance(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<InstanceRecord> {
    return loadRequired(loaders.instances, restore.instanceId, `The restore ${restore.id}`);
  }

  @FieldResolver(() => Backup, { nullable: true })
  async safetyBackup(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<BackupRecord | null> {
    return restore.safetyBackupId === null ? null : loaders.backups.load(restore.safetyBackupId);
  }

  @FieldResolver(() => Job)
  job(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord> {
    return loadRequired(loaders.jobs, restore.jobId, `The restore ${restore.id}`);
  }
}
