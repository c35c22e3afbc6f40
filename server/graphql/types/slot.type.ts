import { Field } from 'type-graphql';
import { type SlotStarter, type SlotState } from '../../domain/slot.js';
import { type SlotRecord, type Weekday } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { SlotStarterEnum, SlotStateEnum, WeekdayEnum } from '../enums.js';
import { DateTime } from '../scalars.js';
import { Node, PlainNode } from './node.type.js';

@PlainNode()
export class Slot extends Node implements Omit<SlotRecord, 'projectId' | 'policyId' | 'instanceId' | 'jobId'> {
  @Field(() => DateTime) plannedAt!: Date;
  @Field(() => WeekdayEnum, { nullable: true }) weekday!: Weekday | null;
  @Field(() => SlotStateEnum) state!: SlotState;
  @Field(() => SlotStarterEnum, { nullable: true }) startedBy!: SlotStarter | null;
  @Field(() => String, { nullable: true }) reason!: string | null;
}

export const SlotConnection = connectionOf('Slot', () => Slot);
