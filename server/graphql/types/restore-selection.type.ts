import { Field, ID, Int } from 'type-graphql';
import { type KeyType } from '../../domain/backup.js';
import { type ConflictRule, type DatabaseMapping as DatabaseMappingRecord, type KeyPrefix as KeyPrefixRecord, type TtlRule } from '../../domain/restore-options.js';
import { type KeyFailureRecord, type SelectionRecord, type UndoRecordShown } from '../../services/records.js';
import { ConflictRuleEnum, KeyTypeEnum, TtlRuleEnum } from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { InspectionFilter, TypeAmount } from './inspection.type.js';
import { Plain } from './node.type.js';

@Plain()
export class DatabaseMapping implements DatabaseMappingRecord {
  @Field(() => Int) from!: number;
  @Field(() => Int) to!: number;
}

@Plain()
export class KeyPrefix implements KeyPrefixRecord {
  @Field(() => String, { nullable: true }) replace!: string | null;
  @Field(() => String) by!: string;
}

@Plain()
export class RestoreOptions {
  @Field(() => InspectionFilter, { nullable: true }) keys!: InspectionFilter | null;
  @Field(() => [DatabaseMapping]) databaseMap!: readonly DatabaseMappingRecord[];
  @Field(() => KeyPrefix, { nullable: true }) keyPrefix!: KeyPrefixRecord | null;
  @Field(() => TtlRuleEnum) ttl!: TtlRule;
  @Field(() => ConflictRuleEnum) onConflict!: ConflictRule;
  @Field(() => Boolean) flushFirst!: boolean;
  @Field(() => [String]) acceptedLosses!: readonly string[];
}

@Plain()
export class SelectedDatabase {
  @Field(() => Int) database!: number;
  @Field(() => Int) into!: number;
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => BigIntScalar) bytes!: number;
  @Field(() => BigIntScalar) expired!: number;
}

@Plain()
export class SelectedKey {
  @Field(() => Int) database!: number;
  @Field(() => Int) into!: number;
  @Field(() => String) key!: string;
  @Field(() => KeyTypeEnum) type!: KeyType;
  @Field(() => DateTime, { nullable: true }) expiresAt!: Date | null;
  @Field(() => BigIntScalar) bytes!: number;
}

@Plain()
export class KeyComparison {
  @Field(() => BigIntScalar) new!: number;
  @Field(() => BigIntScalar) sameType!: number;
  @Field(() => BigIntScalar) otherType!: number;
  @Field(() => BigIntScalar) equal!: number;
  @Field(() => BigIntScalar) compared!: number;
}

@Plain()
export class KeyProblem {
  @Field(() => String) blocker!: string;
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => String) key!: string;
}

@Plain()
export class RestoreSelection {
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => BigIntScalar) bytes!: number;
  @Field(() => BigIntScalar) expired!: number;
  @Field(() => BigIntScalar) byCommands!: number;
  @Field(() => [SelectedDatabase]) databases!: SelectionRecord['databases'];
  @Field(() => [TypeAmount]) types!: SelectionRecord['types'];
  @Field(() => Int) functions!: number;
  @Field(() => [SelectedKey]) sample!: readonly SelectedKey[];
  @Field(() => KeyComparison, { nullable: true }) comparison!: SelectionRecord['comparison'];
  @Field(() => [KeyProblem]) problems!: SelectionRecord['problems'];
}

@Plain()
export class KeyFailure implements KeyFailureRecord {
  @Field(() => String) key!: string;
  @Field(() => String) reason!: string;
}

@Plain()
export class RestoreUndo implements UndoRecordShown {
  @Field(() => ID) backupId!: string;
  @Field(() => ID) instanceId!: string;
  @Field(() => Boolean) safetyBackup!: boolean;
  @Field(() => String) message!: string;
  @Field(() => DateTime) possibleUntil!: Date;
}
