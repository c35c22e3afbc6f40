import { Arg, Args, ArgsType, Ctx, Field, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import { isId } from '../../domain/ids.js';
import { shownInstant } from '../../domain/instant.js';
import { selectsAll } from '../../domain/key-selection.js';
import { type BackupRecord, type InstanceRecord, type JobRecord, type KeyFailureRecord, type RestorePlanRecord, type RestoreRecord, type UndoRecordShown } from '../../services/records.js';
import { undoOf } from '../../services/restore-undo.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { CreateRestorePlanInput, RestoreBackupInput, RestoreFilter } from '../inputs/restore.input.js';
import { loadRequired } from '../loaders.js';
import { type Payload, toJobPayload, toPayload } from '../payload.js';
import { Backup } from '../types/backup.type.js';
import { Instance } from '../types/instance.type.js';
import { type InspectionFilter } from '../types/inspection.type.js';
import { Job } from '../types/job.type.js';
import { KeyFailure, RestoreOptions, RestoreSelection, RestoreUndo } from '../types/restore-selection.type.js';
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

  @FieldResolver(() => RestoreOptions, { nullable: true })
  async options(@Root() plan: RestorePlanRecord, @Ctx() { loaders }: GraphContext): Promise<RestoreOptions | null> {
    const detail = plan.method === 'REPLICATION_LINK' ? null : await loaders.planDetails.load(plan.id);
    if (detail === null) return null;
    const { selection, flush, ...rest } = detail.options;
    const { patterns = null, types = null, databases = null } = selection as Partial<InspectionFilter>;
    return { ...rest, keys: selectsAll(selection) ? null : { patterns, types, databases }, flushFirst: flush !== 'NOTHING' };
  }

  @FieldResolver(() => RestoreSelection, { nullable: true })
  async selected(@Root() plan: RestorePlanRecord, @Ctx() { loaders }: GraphContext): Promise<RestoreSelection | null> {
    const selected = plan.method === 'REPLICATION_LINK' ? null : ((await loaders.planDetails.load(plan.id))?.selected ?? null);
    return selected && { ...selected, sample: selected.sample.map(({ expiresAtMs, ...key }) => ({ ...key, expiresAt: expiresAtMs === null ? null : shownInstant(expiresAtMs) })) };
  }

  @FieldResolver(() => Job, { nullable: true })
  async job(@Root() plan: RestorePlanRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord | null> {
    return plan.jobId === null ? null : loaders.jobs.load(plan.jobId);
  }
}

/**
 * Restores as they are after their jobs were looked at: whoever is shown that a job is over must not be shown what the target held before. Jobs that have
 * been looked at are shown as they were then.
 */
const afterTheirJobs = async ({ loaders, services, caller }: GraphContext, restores: readonly RestoreRecord[]): Promise<RestoreRecord[]> => {
  const open = restores.filter(({ completedAt }) => completedAt === null);
  if (open.length === 0) return [...restores];
  await Promise.all(open.map(({ jobId }) => loaders.jobs.load(jobId)));
  const later = new Map((await services.restores.getMany(caller, open.map(({ id }) => id))).map((restore) => [restore?.id, restore]));
  return restores.map((restore) => later.get(restore.id) ?? restore);
};

@Resolver(() => Restore)
export class RestoreResolver {
  @Query(() => Restore, { nullable: true })
  async restore(@Arg('id', () => ID) id: string, @Ctx() context: GraphContext): Promise<RestoreRecord | null> {
    const restore = isId('restore', id) ? await context.services.restores.get(context.caller, id) : null;
    return restore && ((await afterTheirJobs(context, [restore]))[0] ?? null);
  }

  @Query(() => RestoreConnection)
  async restores(@Args(() => RestoreListArgs) args: RestoreListArgs, @Ctx() context: GraphContext): Promise<ConnectionRecord<RestoreRecord>> {
    const page = await context.services.restores.list(context.caller, args.filter ?? {}, pageOf(args));
    const settled = await afterTheirJobs(context, page.items.map(({ item }) => item));
    return toConnection({ ...page, items: page.items.map(({ cursor, item }, at) => ({ cursor, item: settled[at] ?? item })), totalCount: () => page.totalCount() });
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

  @FieldResolver(() => [KeyFailure])
  async keyFailures(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<readonly KeyFailureRecord[]> {
    return (await loaders.keyFailures.load(restore.id)) ?? [];
  }

  @FieldResolver(() => RestoreUndo, { nullable: true })
  async undo(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<UndoRecordShown | null> {
    return undoOf(restore, restore.safetyBackupId === null ? null : await loaders.backups.load(restore.safetyBackupId));
  }

  @FieldResolver(() => Job)
  job(@Root() restore: RestoreRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord> {
    return loadRequired(loaders.jobs, restore.jobId, `The restore ${restore.id}`);
  }
}
