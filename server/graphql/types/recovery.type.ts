import { Field, Int } from 'type-graphql';
import { type RecoveryStatus } from '../../domain/recovery.js';
import { type RecoveryRecord } from '../../services/records.js';
import { RecoveryStatusEnum } from '../enums.js';
import { DateTime } from '../scalars.js';
import { Plain } from './node.type.js';

@Plain()
export class Recovery implements Omit<RecoveryRecord, 'instanceId' | 'lastAvailableBackupId'> {
  @Field(() => Int, { nullable: true }) ageSeconds!: number | null;
  @Field(() => DateTime, { nullable: true }) nextRunAt!: Date | null;
  @Field(() => RecoveryStatusEnum) status!: RecoveryStatus;
}
