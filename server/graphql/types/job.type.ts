import { Field, Float, Int } from 'type-graphql';
import { type VerificationLevel } from '../../domain/backup.js';
import { type ErrorCode } from '../../domain/errors.js';
import {
  type JobConclusion, type JobFailure as JobFailureRecord, type JobKind, type JobState, type Phase, type PhaseRecord,
} from '../../domain/job.js';
import { type JobEventKind, type JobEventRecord, type JobNoticeRecord, type JobRecord } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { ErrorCodeEnum, JobConclusionEnum, JobEventKindEnum, JobKindEnum, JobStateEnum, PhaseEnum, VerificationLevelEnum } from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { UserError } from './error.type.js';
import { Node, Plain, PlainNode } from './node.type.js';

type ProgressRecord = NonNullable<JobRecord['progress']>;

@Plain()
export class JobPhase implements PhaseRecord {
  @Field(() => PhaseEnum) phase!: Phase;
  @Field(() => DateTime) startedAt!: Date;
  @Field(() => DateTime, { nullable: true }) endedAt!: Date | null;
}

@Plain()
export class JobProgress implements ProgressRecord {
  @Field(() => BigIntScalar) bytesDone!: bigint;
  @Field(() => BigIntScalar, { nullable: true }) bytesTotal!: bigint | null;
  @Field(() => BigIntScalar) keysDone!: bigint;
  @Field(() => BigIntScalar, { nullable: true }) keysTotal!: bigint | null;
  @Field(() => BigIntScalar, { nullable: true }) bytesPerSecond!: number | null;
  @Field(() => Int, { nullable: true }) remainingSeconds!: number | null;
  @Field(() => Float, { nullable: true }) fraction!: number | null;
}

@Plain()
export class JobFailure implements JobFailureRecord {
  @Field(() => ErrorCodeEnum) code!: ErrorCode;
  @Field(() => String) message!: string;
  @Field(() => String, { nullable: true }) hint!: string | null;
  @Field(() => Boolean) retryable!: boolean;
  @Field(() => DateTime, { nullable: true }) retryAt?: Date | null | undefined;
  @Field(() => PhaseEnum, { nullable: true }) phase!: Phase | null;
  @Field(() => DateTime) at!: Date;
}

@Plain()
export class JobNotice implements JobNoticeRecord {
  @Field(() => String) code!: string;
  @Field(() => String) message!: string;
}

@PlainNode()
export class Job extends Node implements Omit<JobRecord, 'projectId' | 'instanceId' | 'backupId' | 'restoreId'> {
  @Field(() => JobKindEnum) kind!: JobKind;
  @Field(() => JobStateEnum) state!: JobState;
  @Field(() => JobConclusionEnum, { nullable: true }) conclusion!: JobConclusion | null;
  @Field(() => PhaseEnum, { nullable: true }) phase!: Phase | null;
  @Field(() => [JobPhase]) phases!: readonly PhaseRecord[];
  @Field(() => JobProgress, { nullable: true }) progress!: ProgressRecord | null;
  @Field(() => JobFailure, { nullable: true }) failure!: JobFailureRecord | null;
  @Field(() => [JobNotice]) notices!: readonly JobNotice[];
  @Field(() => Int) attempt!: number;
  @Field(() => Int) sequence!: number;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime, { nullable: true }) startedAt!: Date | null;
  @Field(() => DateTime, { nullable: true }) completedAt!: Date | null;
  @Field(() => DateTime, { nullable: true }) cancelRequestedAt!: Date | null;
  @Field(() => Boolean) cancellable!: boolean;
  @Field(() => VerificationLevelEnum, { nullable: true }) verificationLevel!: VerificationLevel | null;
}

export const JobConnection = connectionOf('Job', () => Job);

@Plain()
export class JobEvent implements JobEventRecord {
  @Field(() => String) cursor!: string;
  @Field(() => Int) sequence!: number;
  @Field(() => JobEventKindEnum) kind!: JobEventKind;
  @Field(() => DateTime) at!: Date;
  @Field(() => Job) job!: JobRecord;
  @Field(() => JobNotice, { nullable: true }) notice!: JobNotice | null;
}

@Plain()
export class CancelJobPayload {
  @Field(() => Job, { nullable: true }) job?: JobRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}
