import { Field, ID, InputType, Int } from 'type-graphql';
import { type BackupState, type KeyType, type Trigger, type VerificationLevel } from '../../domain/backup.js';
import { DEFAULT_DELIMITER } from '../../domain/inspection.js';
import { type KeySelection } from '../../domain/key-selection.js';
import { type BackupFilter as BackupFilterRecord } from '../../services/records.js';
import { BackupStateEnum, BackupTriggerEnum, KeyTypeEnum, VerificationLevelEnum } from '../enums.js';
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
export class KeyFilter implements KeySelection {
  @Field(() => [String], { nullable: true }) patterns?: readonly string[] | null;
  @Field(() => [KeyTypeEnum], { nullable: true }) types?: readonly KeyType[] | null;
  @Field(() => [Int], { nullable: true }) databases?: readonly number[] | null;
}

@InputType()
export class InspectBackupInput {
  @Field(() => ID) backupId!: string;
  @Field(() => KeyFilter, { nullable: true }) filter?: KeyFilter | null;
  @Field(() => String, { defaultValue: DEFAULT_DELIMITER }) delimiter!: string;
  @Field(() => Int, { defaultValue: 1 }) prefixDepth!: number;
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
  @Field(() => Boolean, { defaultValue: false }) singleUse!: boolean;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class RevokeDownloadLinksInput {
  @Field(() => ID) backupId!: string;
  @Field(() => ID, { nullable: true }) linkId?: string | null;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}
