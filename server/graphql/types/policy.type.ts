import { Field, Int } from 'type-graphql';
import { type PlannedRunRecord, type PolicyRecord, type Weekday } from '../../services/records.js';
import { WeekdayEnum } from '../enums.js';
import { DateTime } from '../scalars.js';
import { UserError } from './error.type.js';
import { Node, Plain, PlainNode } from './node.type.js';

@PlainNode()
export class BackupPolicy extends Node implements Omit<PolicyRecord, 'projectId' | 'instanceId'> {
  @Field(() => Boolean) enabled!: boolean;
  @Field(() => [WeekdayEnum]) weekdays!: readonly Weekday[];
  @Field(() => String) startTime!: string;
  @Field(() => Int) windowMinutes!: number;
  @Field(() => String) timeZone!: string;
  @Field(() => Int) retentionDays!: number;
  @Field(() => DateTime, { nullable: true }) nextRunAt!: Date | null;
  @Field(() => DateTime) updatedAt!: Date;
}

@Plain()
export class PlannedRun implements PlannedRunRecord {
  @Field(() => DateTime) plannedAt!: Date;
  @Field(() => DateTime) windowStart!: Date;
  @Field(() => DateTime) windowEnd!: Date;
  @Field(() => WeekdayEnum) weekday!: Weekday;
}

@Plain()
export class SetBackupPolicyPayload {
  @Field(() => BackupPolicy, { nullable: true }) policy?: PolicyRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}
