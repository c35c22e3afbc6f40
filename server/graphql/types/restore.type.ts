import { Field, Int } from 'type-graphql';
import { type DatabaseCount, type Engine } from '../../domain/backup.js';
import { type ErrorCode } from '../../domain/errors.js';
import { type RestoreMethod } from '../../domain/restore-method.js';
import {
  type BlockerRecord, type JobRecord, type LossRecord, type RestoredKeysRecord, type RestorePlanRecord, type RestoreRecord, type RestoreReportRecord, type WarningRecord,
} from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { DataNowEnum, EngineEnum, ErrorCodeEnum, RestoreMethodEnum, RestorePlanStateEnum } from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { UserError } from './error.type.js';
import { Job } from './job.type.js';
import { Node, Plain, PlainNode } from './node.type.js';
import { DatabaseKeys } from './server-facts.type.js';

@Plain()
export class RestoreBlocker implements BlockerRecord {
  @Field(() => String) name!: string;
  @Field(() => ErrorCodeEnum) code!: ErrorCode;
  @Field(() => String) message!: string;
  @Field(() => String, { nullable: true }) hint!: string | null;
}

@Plain()
export class RestoreWarning implements WarningRecord {
  @Field(() => String) name!: string;
  @Field(() => String) message!: string;
  @Field(() => String, { nullable: true }) hint!: string | null;
  @Field(() => Boolean) mustAccept!: boolean;
}

@Plain()
export class RestoreCompatibility {
  @Field(() => Boolean) loads!: boolean;
  @Field(() => String, { nullable: true }) reason!: string | null;
}

@Plain()
export class RestoreMemory {
  @Field(() => BigIntScalar) usedBytes!: bigint;
  @Field(() => BigIntScalar, { nullable: true }) maxBytes!: bigint | null;
  @Field(() => BigIntScalar, { nullable: true }) estimatedBytes!: bigint | null;
}

@Plain()
export class RestoreLoss implements LossRecord {
  @Field(() => String) name!: string;
  @Field(() => String) message!: string;
  @Field(() => BigIntScalar, { nullable: true }) keys!: bigint | null;
  @Field(() => Boolean) accepted!: boolean;
}

@PlainNode()
export class RestorePlan extends Node implements Omit<RestorePlanRecord, 'projectId' | 'backupId' | 'instanceId' | 'jobId'> {
  @Field(() => RestorePlanStateEnum) state!: RestorePlanRecord['state'];
  @Field(() => RestoreMethodEnum, { nullable: true }) method!: RestoreMethod | null;
  @Field(() => String) methodReason!: string;
  @Field(() => Boolean) mayFallBack!: boolean;
  @Field(() => Boolean) replacesEverything!: boolean;
  @Field(() => [RestoreLoss]) losses!: readonly LossRecord[];
  @Field(() => Boolean) safetyBackup!: boolean;
  @Field(() => Boolean) pauseWrites!: boolean;
  @Field(() => Boolean) disklessLoad!: boolean;
  @Field(() => EngineEnum) targetEngine!: Engine;
  @Field(() => String) targetVersion!: string;
  @Field(() => String) targetRunId!: string;
  @Field(() => [DatabaseKeys]) keysNow!: readonly DatabaseCount[];
  @Field(() => [DatabaseKeys]) keysAfter!: readonly DatabaseCount[];
  @Field(() => RestoreCompatibility) compatibility!: RestoreCompatibility;
  @Field(() => RestoreMemory) memory!: RestoreMemory;
  @Field(() => [RestoreBlocker]) blockers!: readonly BlockerRecord[];
  @Field(() => [RestoreWarning]) warnings!: readonly WarningRecord[];
  @Field(() => String) confirmationText!: string;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime) expiresAt!: Date;
}

@Plain()
export class LostContent {
  @Field(() => String) name!: string;
  @Field(() => BigIntScalar) count!: bigint;
}

@Plain()
export class RestoredKeys implements RestoredKeysRecord {
  @Field(() => BigIntScalar) restored!: bigint;
  @Field(() => BigIntScalar) replaced!: bigint;
  @Field(() => BigIntScalar) skipped!: bigint;
  @Field(() => BigIntScalar) expired!: bigint;
  @Field(() => BigIntScalar) failed!: bigint;
  @Field(() => BigIntScalar) uncertain!: bigint;
  @Field(() => [LostContent]) lost!: RestoredKeysRecord['lost'];
  @Field(() => Int) functions!: number;
  @Field(() => [Int]) flushed!: readonly number[];
  @Field(() => Int) reconnects!: number;
}

@Plain()
export class RestoreReport implements RestoreReportRecord {
  @Field(() => [DatabaseKeys]) keysBefore!: readonly DatabaseCount[];
  @Field(() => [DatabaseKeys], { nullable: true }) keysAfter!: readonly DatabaseCount[] | null;
  @Field(() => BigIntScalar) bytesSent!: bigint;
  @Field(() => Int, { nullable: true }) loadMs!: number | null;
  @Field(() => Boolean) promoted!: boolean;
  @Field(() => Boolean) bgsaveSuggested!: boolean;
  @Field(() => [String]) notices!: readonly string[];
  @Field(() => RestoredKeys, { nullable: true }) keys?: RestoredKeysRecord | null;
}

/** What links to other objects has resolvers; what the contract does not show has nothing. */
type Unshown = 'projectId' | 'planId' | 'backupId' | 'instanceId' | 'safetyBackupId' | 'jobId' | 'acceptedWarnings';

@PlainNode()
export class Restore extends Node implements Omit<RestoreRecord, Unshown> {
  @Field(() => RestoreMethodEnum) method!: RestoreMethod;
  @Field(() => DataNowEnum) dataNow!: RestoreRecord['dataNow'];
  @Field(() => BigIntScalar, { nullable: true }) unsavedWriteBytes!: bigint | null;
  @Field(() => RestoreReport, { nullable: true }) report!: RestoreReportRecord | null;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime, { nullable: true }) completedAt!: Date | null;
}

export const RestoreConnection = connectionOf('Restore', () => Restore);

@Plain()
export class CreateRestorePlanPayload {
  @Field(() => RestorePlan, { nullable: true }) plan?: RestorePlanRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class RestoreBackupPayload {
  @Field(() => Restore, { nullable: true }) restore?: RestoreRecord | null;
  @Field(() => Job, { nullable: true }) job?: JobRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}
