import { Arg, Args, ArgsType, Ctx, Field, FieldResolver, ID, Info, Mutation, Query, Resolver, Root } from 'type-graphql';
import { type GraphQLResolveInfo } from 'graphql';
import { consistencyOf, type Consistency, VERIFICATION_LEVELS, type VerificationLevel } from '../../domain/backup.js';
import { isId } from '../../domain/ids.js';
import { type BackupRecord, type DownloadLinkRecord, type InstanceRecord, type JobRecord, type VerificationRecord } from '../../services/records.js';
import { type ListedBackup } from '../../services/wanted.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { ConsistencyEnum, VerificationLevelEnum } from '../enums.js';
import { BackupFilter, BackupNowInput, CreateDownloadLinkInput, DeleteBackupInput, RevokeDownloadLinksInput, VerifyBackupInput } from '../inputs/backup.input.js';
import { loadRequired } from '../loaders.js';
import { type Payload, toJobPayload, toPayload } from '../payload.js';
import { wantedOfBackups } from '../selection.js';
import {
  Backup, BackupConnection, BackupNowPayload, BackupVerification, Coverage, CreateDownloadLinkPayload, DeleteBackupPayload, RevokeDownloadLinksPayload, VerifyBackupPayload,
} from '../types/backup.type.js';
import { Instance } from '../types/instance.type.js';
import { Job } from '../types/job.type.js';

@ArgsType()
export class BackupListArgs extends ListArgs {
  @Field(() => BackupFilter, { nullable: true }) filter?: BackupFilter | null;
}

type WorkPayload = Payload<{ backup: BackupRecord; job: JobRecord }>;

@Resolver(() => Backup)
export class BackupResolver {
  @Query(() => Backup, { nullable: true })
  async backup(@Arg('id', () => ID) id: string, @Ctx() { services, caller }: GraphContext): Promise<BackupRecord | null> {
    return isId('backup', id) ? services.backups.get(caller, id) : null;
  }

  @Query(() => BackupConnection)
  async backups(@Args(() => BackupListArgs) args: BackupListArgs, @Ctx() { services, caller }: GraphContext, @Info() info: GraphQLResolveInfo): Promise<ConnectionRecord<ListedBackup>> {
    return toConnection(await services.backups.list(caller, args.filter ?? {}, pageOf(args), wantedOfBackups(info)));
  }

  @Mutation(() => BackupNowPayload)
  backupNow(@Arg('input', () => BackupNowInput) input: BackupNowInput, @Ctx() context: GraphContext): Promise<WorkPayload> {
    return toJobPayload(context, () => context.services.backups.backupNow(context.caller, input));
  }

  @Mutation(() => VerifyBackupPayload)
  verifyBackup(@Arg('input', () => VerifyBackupInput) input: VerifyBackupInput, @Ctx() context: GraphContext): Promise<WorkPayload> {
    return toJobPayload(context, () => context.services.backups.verify(context.caller, input));
  }

  @Mutation(() => DeleteBackupPayload)
  deleteBackup(@Arg('input', () => DeleteBackupInput) input: DeleteBackupInput, @Ctx() context: GraphContext): Promise<WorkPayload> {
    return toJobPayload(context, () => context.services.backups.delete(context.caller, input));
  }

  @Mutation(() => CreateDownloadLinkPayload)
  createDownloadLink(
    @Arg('input', () => CreateDownloadLinkInput) input: CreateDownloadLinkInput, @Ctx() context: GraphContext,
  ): Promise<Payload<{ link: DownloadLinkRecord }>> {
    return toPayload(context, async () => ({ link: await context.services.backups.createDownloadLink(context.caller, input) }));
  }

  @Mutation(() => RevokeDownloadLinksPayload)
  revokeDownloadLinks(
    @Arg('input', () => RevokeDownloadLinksInput) input: RevokeDownloadLinksInput, @Ctx() context: GraphContext,
  ): Promise<Payload<{ revokedCount: number }>> {
    return toPayload(context, async () => ({ revokedCount: await context.services.backups.revokeDownloadLinks(context.caller, input) }));
  }

  @FieldResolver(() => Instance)
  instance(@Root() backup: BackupRecord, @Ctx() { loaders }: GraphContext): Promise<InstanceRecord> {
    return loadRequired(loaders.instances, backup.instanceId, `The backup ${backup.id}`);
  }

  @FieldResolver(() => Job, { nullable: true })
  async job(@Root() backup: BackupRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord | null> {
    return backup.jobId === null ? null : loaders.jobs.load(backup.jobId);
  }

  @FieldResolver(() => ConsistencyEnum)
  consistency(@Root() { captureMethod }: BackupRecord): Consistency {
    return consistencyOf(captureMethod);
  }

  @FieldResolver(() => Coverage)
  coverage(@Root() { coverage }: BackupRecord): Coverage {
    return { kind: coverage.kind, slots: coverage.kind === 'SHARD' ? coverage.slots : [] };
  }
  @FieldResolver(() => BackupVerification, { nullable: true })
  verification(
    @Root() { verifications }: BackupRecord, @Arg('level', () => VerificationLevelEnum, { nullable: true }) level?: VerificationLevel | null,
  ): VerificationRecord | null {
    const least = level == null ? 0 : VERIFICATION_LEVELS.indexOf(level);
    return verifications.find((made) => VERIFICATION_LEVELS.indexOf(made.level) >= least) ?? null;
  }
}

@Resolver(() => BackupVerification)
export class BackupVerificationResolver {
  @FieldResolver(() => Job, { nullable: true })
  async job(@Root() verification: VerificationRecord, @Ctx() { loaders }: GraphContext): Promise<JobRecord | null> {
    return verification.jobId === null ? null : loaders.jobs.load(verification.jobId);
  }
}
