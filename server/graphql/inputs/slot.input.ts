import { Field, InputType } from 'type-graphql';
import { type SlotState } from '../../domain/slot.js';
import { type SlotFilter as SlotFilterRecord } from '../../services/records.js';
import { SlotStateEnum } from '../enums.js';

@InputType()
export class SlotFilter implements SlotFilterRecord {
  @Field(() => [SlotStateEnum], { nullable: true }) states?: readonly SlotState[] | null;
}
