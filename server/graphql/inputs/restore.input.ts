import { Field, ID, InputType } from 'type-graphql';
import { type RestoreFilter as RestoreFilterRecord } from '../../services/records.js';

@InputType()
export class RestoreFilter implements RestoreFilterRecord {
  @Field(() => ID, { nullable: true }) instanceId?: string | null;
  @Field(() => ID, { nullable: true }) backupId?: string | null;
}

@InputType()
export class CreateRestorePlanInput {
  @Field(() => ID) backupId!: string;
  @Field(() => ID) instanceId!: string;
  @Field(() => Boolean, { defaultValue: true }) safetyBackup!: boolean;
  @Field(() => Boolean, { defaultValue: true }) pauseWrites!: boolean;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class RestoreBackupInput {
  @Field(() => ID) planId!: string;
  @Field(() => String) confirmation!: string;
  @Field(() => [String], { defaultValue: [] }) acceptedWarnings!: readonly string[];
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}
