import { Field, ID, InputType, Int } from 'type-graphql';
import { type BackupState, type Trigger, type VerificationLevel } from '../../domain/backup.js';
import { type BackupFilter as BackupFilterRecord } from '../../services/records.js';
import { BackupStateEnum, BackupTriggerEnum, VerificationLevelEnum } from '../enums.js';
import { DateTime } from '../scalars.js';

@InputType()
export class BackupFilter implements BackupFilterRecord {
  @Field(() => ID, { nullable: true }) instanceId?: string | null;
  @Field(() => [BackupStateEnum], { nullable: true }) states?: readonly BackupState[] | null;
  @Field(() => [BackupTriggerEnum], { nullable: true }) triggers?: readonly Trigger[] | null;
  @Field(() => String, { nullable: true }) nameContains?: string | null;
  @Field(() => DateTime, { nullable: true }) createdFrom?: Date | null;
  @Field(() => DateTime, { nullable: true }) createdBefore?: Date | null;
}

@InputType()
export class BackupNowInput {
  @Field(() => ID) instanceId!: string;
  @Field(() => String) name!: string;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class VerifyBackupInput {
  @Field(() => ID) backupId!: string;
  @Field(() => VerificationLevelEnum, { defaultValue: 'CONTENT' }) level!: VerificationLevel;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class DeleteBackupInput {
  @Field(() => ID) backupId!: string;
  @Field(() => Boolean, { defaultValue: false }) force!: boolean;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class CreateDownloadLinkInput {
  @Field(() => ID) backupId!: string;
  @Field(() => Int, { defaultValue: 3600 }) expiresInSeconds!: number;
}
