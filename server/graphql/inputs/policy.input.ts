import { Field, ID, InputType, Int } from 'type-graphql';
import { type SetBackupPolicy } from '../../services/api.js';
import { type Weekday } from '../../services/records.js';
import { WeekdayEnum } from '../enums.js';

@InputType()
export class SetBackupPolicyInput implements SetBackupPolicy {
  @Field(() => ID) instanceId!: string;
  @Field(() => Boolean, { nullable: true }) enabled?: boolean | null;
  @Field(() => [WeekdayEnum], { nullable: true }) weekdays?: readonly Weekday[] | null;
  @Field(() => String, { nullable: true }) startTime?: string | null;
  @Field(() => Int, { nullable: true }) windowMinutes?: number | null;
  @Field(() => String, { nullable: true }) timeZone?: string | null;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}
