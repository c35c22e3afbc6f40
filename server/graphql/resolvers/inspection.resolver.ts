import { Arg, Ctx, FieldResolver, Int, Mutation, Resolver, Root } from 'type-graphql';
import { type KeyAmount as KeyAmountRecord, type PrefixAmount as PrefixAmountRecord } from '../../domain/inspection.js';
import { type BackupRecord, type InspectedKeyRecord, type InspectionRecord, type JobRecord } from '../../services/records.js';
import { type ConnectionRecord, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { InspectBackupInput } from '../inputs/backup.input.js';
import { type Payload, toJobPayload } from '../payload.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { Backup, InspectBackupPayload } from '../types/backup.type.js';
import {
  BackupInspection, InspectedKey, InspectedKeyConnection, InspectionFilter, InspectionSelection, InspectionTotals, KeyAmount, PrefixAmount,
} from '../types/inspection.type.js';
import { Job } from '../types/job.type.js';

@Resolver(() => Backup)
export class InspectionResolver {
  @Mutation(() => InspectBackupPayload)
  inspectBackup(@Arg('input', () => InspectBackupInput) input: InspectBackupInput, @Ctx() context: GraphContext): Promise<Payload<{ backup: BackupRecord; job: JobRecord }>> {
    return toJobPayload(context, () => context.services.inspections.start(context.caller, input));
  }

  @FieldResolver(() => BackupInspection, { nullable: true })
  inspection(@Root() backup: BackupRecord): BackupRecord | null {
    return backup.types === null || backup.state === 'DELETING' || backup.state === 'DELETED' ? null : backup;
  }
}

/** What an inspection found, of the backup that the request asks of. */
const of = async <T>({ loaders }: GraphContext, { id }: BackupRecord, pick: (found: InspectionRecord) => T): Promise<T | null> => {
  const found = await loaders.inspectionByBackup.load(id);
  return found && pick(found);
};

@Resolver(() => BackupInspection)
export class BackupInspectionResolver {
  @FieldResolver(() => InspectionTotals)
  totals(@Root() { keys, expiringKeys, types, databases }: BackupRecord): InspectionTotals {
    return { keys: keys ?? 0n, expiring: expiringKeys ?? 0n, types: types ?? [], databases: databases ?? [] };
  }

  @FieldResolver(() => DateTime, { nullable: true })
  inspectedAt(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<Date | null> {
    return of(context, backup, ({ inspectedAt }) => inspectedAt);
  }

  @FieldResolver(() => Job, { nullable: true })
  async job(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<JobRecord | null> {
    const jobId = await of(context, backup, (found) => found.jobId);
    return jobId === null ? null : context.loaders.jobs.load(jobId);
  }

  @FieldResolver(() => InspectionFilter, { nullable: true })
  filter(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<InspectionFilter | null> {
    return of(context, backup, ({ filter }) => filter);
  }

  @FieldResolver(() => String, { nullable: true })
  delimiter(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<string | null> {
    return of(context, backup, ({ delimiter }) => delimiter);
  }

  @FieldResolver(() => Int, { nullable: true })
  prefixDepth(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<number | null> {
    return of(context, backup, ({ prefixDepth }) => prefixDepth);
  }

  @FieldResolver(() => Boolean, { nullable: true })
  complete(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<boolean | null> {
    return of(context, backup, ({ complete }) => complete);
  }

  @FieldResolver(() => InspectionSelection, { nullable: true })
  selected(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<InspectionSelection | null> {
    return of(context, backup, ({ selected }) => selected);
  }

  @FieldResolver(() => BigIntScalar, { nullable: true })
  uncomparedKeys(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<number | null> {
    return of(context, backup, ({ uncompared }) => uncompared);
  }

  @FieldResolver(() => [PrefixAmount], { nullable: true })
  byPrefix(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<readonly PrefixAmountRecord[] | null> {
    return of(context, backup, ({ prefixes }) => prefixes);
  }

  @FieldResolver(() => KeyAmount, { nullable: true })
  otherPrefixes(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<KeyAmountRecord | null> {
    return of(context, backup, ({ otherPrefixes }) => otherPrefixes);
  }

  @FieldResolver(() => Boolean, { nullable: true })
  prefixesTruncated(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<boolean | null> {
    return of(context, backup, ({ prefixesTruncated }) => prefixesTruncated);
  }

  @FieldResolver(() => [InspectedKey], { nullable: true })
  largest(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<readonly InspectedKeyRecord[] | null> {
    return of(context, backup, ({ largest }) => largest);
  }

  @FieldResolver(() => InspectedKeyConnection, { nullable: true })
  async keys(
    @Root() backup: BackupRecord, @Ctx() context: GraphContext, @Arg('first', () => Int, { nullable: true }) first?: number | null,
    @Arg('after', () => String, { nullable: true }) after?: string | null,
  ): Promise<ConnectionRecord<InspectedKeyRecord> | null> {
    // A cursor names its backup: at most one of a list goes on behind it.
    const page = after == null
      ? await context.loaders.firstKeysOfBackups.with({ first }).load(backup.id)
      : await of(context, backup, (found) => context.services.inspections.keys(context.caller, found, { first, after }));
    return page && toConnection(page);
  }

  @FieldResolver(() => Boolean, { nullable: true })
  keysTruncated(@Root() backup: BackupRecord, @Ctx() context: GraphContext): Promise<boolean | null> {
    return of(context, backup, ({ listedTruncated }) => listedTruncated);
  }
}
