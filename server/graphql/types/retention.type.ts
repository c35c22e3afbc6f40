import { Field, Int } from 'type-graphql';
import { type BackupRecord, type RetentionStatusRecord, type RetentionVerdictRecord } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { RetentionActionEnum, RetentionReasonEnum } from '../enums.js';
import { DateTime } from '../scalars.js';
import { Backup } from './backup.type.js';
import { Plain } from './node.type.js';

@Plain()
export class RetentionVerdict implements RetentionVerdictRecord {
  @Field(() => Backup) backup!: BackupRecord;
  @Field(() => RetentionActionEnum) action!: RetentionVerdictRecord['action'];
  @Field(() => RetentionReasonEnum) because!: RetentionVerdictRecord['because'];
}

export const RetentionVerdictConnection = connectionOf('RetentionVerdict', () => RetentionVerdict);

@Plain()
export class RetentionStatus implements RetentionStatusRecord {
  @Field(() => DateTime, { nullable: true }) lastPassAt!: Date | null;
  @Field(() => DateTime, { nullable: true }) nextPassAt!: Date | null;
  @Field(() => Int) maxDeletions!: number;
  @Field(() => String, { nullable: true }) stoppedBecause!: string | null;
}
