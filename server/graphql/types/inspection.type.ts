import { Field, Int } from 'type-graphql';
import { type DatabaseCount, type KeyType, type TypeCount } from '../../domain/backup.js';
import { type InspectionSummary, type KeyAmount as KeyAmountRecord, type KeyFilter, type PrefixAmount as PrefixAmountRecord } from '../../domain/inspection.js';
import { type InspectedKeyRecord } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { KeyTypeEnum } from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { TypeKeys } from './backup.type.js';
import { Plain } from './node.type.js';
import { DatabaseKeys } from './server-facts.type.js';

type SelectedRecord = InspectionSummary['selected'];

@Plain()
export class KeyAmount implements KeyAmountRecord {
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => BigIntScalar) bytes!: number;
}

@Plain()
export class TypeAmount {
  @Field(() => KeyTypeEnum) type!: KeyType;
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => BigIntScalar) bytes!: number;
}

@Plain()
export class DatabaseAmount {
  @Field(() => Int) database!: number;
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => BigIntScalar) bytes!: number;
  @Field(() => BigIntScalar) expiring!: number;
}

@Plain()
export class PrefixAmount implements PrefixAmountRecord {
  @Field(() => String) prefix!: string;
  @Field(() => Boolean) binary!: boolean;
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => BigIntScalar) bytes!: number;
  @Field(() => Boolean) exact!: boolean;
}

@Plain()
export class InspectionTotals {
  @Field(() => BigIntScalar) keys!: bigint;
  @Field(() => BigIntScalar) expiring!: bigint;
  @Field(() => [TypeKeys]) types!: readonly TypeCount[];
  @Field(() => [DatabaseKeys]) databases!: readonly DatabaseCount[];
}

@Plain()
export class InspectionSelection implements SelectedRecord {
  @Field(() => BigIntScalar) keys!: number;
  @Field(() => BigIntScalar) bytes!: number;
  @Field(() => BigIntScalar) expiring!: number;
  @Field(() => [TypeAmount]) types!: SelectedRecord['types'];
  @Field(() => [DatabaseAmount]) databases!: SelectedRecord['databases'];
}

@Plain()
export class InspectionFilter implements KeyFilter {
  @Field(() => [String], { nullable: true }) patterns!: readonly string[] | null;
  @Field(() => [KeyTypeEnum], { nullable: true }) types!: readonly KeyType[] | null;
  @Field(() => [Int], { nullable: true }) databases!: readonly number[] | null;
}

@Plain()
export class InspectedKey implements InspectedKeyRecord {
  @Field(() => String) name!: string;
  @Field(() => Boolean) binary!: boolean;
  @Field(() => Boolean) nameTruncated!: boolean;
  @Field(() => BigIntScalar) nameBytes!: number;
  @Field(() => KeyTypeEnum) type!: KeyType;
  @Field(() => Int) database!: number;
  @Field(() => DateTime, { nullable: true }) expiresAt!: Date | null;
  @Field(() => BigIntScalar, { nullable: true }) ttlSeconds!: bigint | null;
  @Field(() => BigIntScalar) bytes!: number;
  @Field(() => BigIntScalar, { nullable: true }) elements!: number | null;
}

export const InspectedKeyConnection = connectionOf('InspectedKey', () => InspectedKey);

/** Every field is a resolver's: the object is the backup itself. */
@Plain()
export class BackupInspection {
  @Field(() => InspectionTotals) totals!: InspectionTotals;
}
