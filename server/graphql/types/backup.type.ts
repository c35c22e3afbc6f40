import { Field, ID, Int } from 'type-graphql';
import {
  type BackupState, type CaptureMethod, type DatabaseCount, type Engine, type Integrity, type KeyType, type SlotRange as SlotRangeRecord,
  type Trigger, type TypeCount, type VerificationLevel, type VerificationResult,
} from '../../domain/backup.js';
import { type ErrorCode } from '../../domain/errors.js';
import { type SourceNode } from '../../domain/source.js';
import { type BackupRecord, type DamageRecord, type DownloadLinkRecord, type JobRecord, type LoadTargetRecord, type VerificationRecord } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import {
  BackupStateEnum, BackupTriggerEnum, CaptureMethodEnum, CoverageKindEnum, EngineEnum, ErrorCodeEnum, IntegrityEnum, KeyTypeEnum, RetainedBecauseEnum, ServerRoleEnum,
  VerificationLevelEnum, VerificationResultEnum,
} from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { UserError } from './error.type.js';
import { Job } from './job.type.js';
import { Node, Plain, PlainNode } from './node.type.js';
import { DatabaseKeys, SlotRange } from './server-facts.type.js';

@Plain()
export class Coverage {
  @Field(() => CoverageKindEnum) kind!: 'INSTANCE' | 'SHARD';
  @Field(() => [SlotRange]) slots!: readonly SlotRangeRecord[];
}

@Plain()
export class TypeKeys implements TypeCount {
  @Field(() => KeyTypeEnum) type!: KeyType;
  @Field(() => BigIntScalar) keys!: bigint;
}

@Plain()
export class LoadTarget implements LoadTargetRecord {
  @Field(() => EngineEnum) engine!: Engine;
  @Field(() => String) minVersion!: string;
  @Field(() => String, { nullable: true }) maxVersion!: string | null;
}

@Plain()
export class UnknownContent {
  @Field(() => String) what!: string;
  @Field(() => BigIntScalar) offset!: bigint;
}

@Plain()
export class BackupSource implements SourceNode {
  @Field(() => String) host!: string;
  @Field(() => Int) port!: number;
  @Field(() => ServerRoleEnum) role!: 'MASTER' | 'REPLICA';
  @Field(() => String) runId!: string;
  @Field(() => String) version!: string;
  @Field(() => BigIntScalar, { nullable: true }) behindBytes!: bigint | null;
}

@Plain()
export class BackupDamage implements DamageRecord {
  @Field(() => ErrorCodeEnum) code!: ErrorCode;
  @Field(() => String) message!: string;
  @Field(() => DateTime) noticedAt!: Date;
}

@Plain()
export class BackupVerification implements Omit<VerificationRecord, 'jobId'> {
  @Field(() => VerificationLevelEnum) level!: VerificationLevel;
  @Field(() => VerificationResultEnum) result!: VerificationResult;
  @Field(() => DateTime) verifiedAt!: Date;
}

@PlainNode()
export class Backup extends Node implements Omit<BackupRecord, 'projectId' | 'instanceId' | 'jobId' | 'coverage' | 'manifestSha256' | 'verifications'> {
  @Field(() => String) name!: string;
  @Field(() => BackupStateEnum) state!: BackupState;
  @Field(() => BackupTriggerEnum) trigger!: Trigger;
  @Field(() => IntegrityEnum, { nullable: true }) integrity!: Integrity | null;
  @Field(() => UnknownContent, { nullable: true }) unknownContent!: UnknownContent | null;
  @Field(() => CaptureMethodEnum) captureMethod!: CaptureMethod;
  @Field(() => BackupSource, { nullable: true }) source!: SourceNode | null;
  @Field(() => EngineEnum) engine!: Engine;
  @Field(() => String) engineVersion!: string;
  @Field(() => Int, { nullable: true }) rdbVersion!: number | null;
  @Field(() => BigIntScalar, { nullable: true }) sizeBytes!: bigint | null;
  @Field(() => BigIntScalar, { nullable: true }) storedBytes!: bigint | null;
  @Field(() => String, { nullable: true }) sha256!: string | null;
  @Field(() => BigIntScalar, { nullable: true }) keys!: bigint | null;
  @Field(() => BigIntScalar, { nullable: true }) expiringKeys!: bigint | null;
  @Field(() => [DatabaseKeys], { nullable: true }) databases!: readonly DatabaseCount[] | null;
  @Field(() => [TypeKeys], { nullable: true }) types!: readonly TypeCount[] | null;
  @Field(() => Int, { nullable: true }) functions!: number | null;
  @Field(() => [LoadTarget], { nullable: true }) loadsOn!: readonly LoadTargetRecord[] | null;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime, { nullable: true }) startedAt!: Date | null;
  @Field(() => DateTime, { nullable: true }) completedAt!: Date | null;
  @Field(() => Int, { nullable: true }) durationMs!: number | null;
  @Field(() => DateTime, { nullable: true }) expiresAt!: Date | null;
  @Field(() => RetainedBecauseEnum, { nullable: true }) retainedBecause!: 'NEWEST_GOOD' | 'IN_USE' | null;
  @Field(() => BackupDamage, { nullable: true }) damage!: DamageRecord | null;
  @Field(() => DateTime, { nullable: true }) lastVerifiedAt!: Date | null;
}

export const BackupConnection = connectionOf('Backup', () => Backup);

@Plain()
export class BackupNowPayload {
  @Field(() => Backup, { nullable: true }) backup?: BackupRecord | null;
  @Field(() => Job, { nullable: true }) job?: JobRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class VerifyBackupPayload {
  @Field(() => Backup, { nullable: true }) backup?: BackupRecord | null;
  @Field(() => Job, { nullable: true }) job?: JobRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class InspectBackupPayload {
  @Field(() => Backup, { nullable: true }) backup?: BackupRecord | null;
  @Field(() => Job, { nullable: true }) job?: JobRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class DeleteBackupPayload {
  @Field(() => Backup, { nullable: true }) backup?: BackupRecord | null;
  @Field(() => Job, { nullable: true }) job?: JobRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class DownloadLink implements DownloadLinkRecord {
  @Field(() => ID) id!: string;
  @Field(() => String) url!: string;
  @Field(() => DateTime) expiresAt!: Date;
  @Field(() => Boolean) singleUse!: boolean;
  @Field(() => String) fileName!: string;
  @Field(() => BigIntScalar) sizeBytes!: bigint;
  @Field(() => String) sha256!: string;
}

@Plain()
export class CreateDownloadLinkPayload {
  @Field(() => DownloadLink, { nullable: true }) link?: DownloadLinkRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class RevokeDownloadLinksPayload {
  @Field(() => Int, { nullable: true }) revokedCount?: number | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}
