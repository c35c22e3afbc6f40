import { Field, ID, InputType } from 'type-graphql';
import { type JobKind, type JobState } from '../../domain/job.js';
import { type JobFilter as JobFilterRecord } from '../../services/records.js';
import { JobKindEnum, JobStateEnum } from '../enums.js';

@InputType()
export class JobFilter implements JobFilterRecord {
  @Field(() => [ID], { nullable: true }) instanceIds?: readonly string[] | null;
  @Field(() => [JobKindEnum], { nullable: true }) kinds?: readonly JobKind[] | null;
  @Field(() => [JobStateEnum], { nullable: true }) states?: readonly JobState[] | null;
}

@InputType()
export class CancelJobInput {
  @Field(() => ID) jobId!: string;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}
