import { Field, ID, InputType, Int } from 'type-graphql';
import { type RestoreMethod } from '../../domain/restore-method.js';
import { type ConflictRule, type DatabaseMapping, type TtlRule } from '../../domain/restore-options.js';
import { type CreatePlan } from '../../services/api.js';
import { type RestoreFilter as RestoreFilterRecord } from '../../services/records.js';
import { ConflictRuleEnum, RestoreMethodEnum, TtlRuleEnum } from '../enums.js';
import { KeyFilter } from './backup.input.js';

@InputType()
export class RestoreFilter implements RestoreFilterRecord {
  @Field(() => ID, { nullable: true }) instanceId?: string | null;
  @Field(() => ID, { nullable: true }) backupId?: string | null;
}

@InputType()
export class DatabaseMappingInput implements DatabaseMapping {
  @Field(() => Int) from!: number;
  @Field(() => Int) to!: number;
}

@InputType()
export class KeyPrefixInput {
  @Field(() => String, { nullable: true }) replace?: string | null;
  @Field(() => String) by!: string;
}

@InputType()
export class CreateRestorePlanInput implements CreatePlan {
  @Field(() => ID) backupId!: string;
  @Field(() => ID) instanceId!: string;
  @Field(() => Boolean, { defaultValue: true }) safetyBackup!: boolean;
  @Field(() => Boolean, { defaultValue: true }) pauseWrites!: boolean;
  @Field(() => Boolean, { defaultValue: false }) disklessLoad!: boolean;
  @Field(() => RestoreMethodEnum, { nullable: true }) method?: RestoreMethod | null;
  @Field(() => KeyFilter, { nullable: true }) keys?: KeyFilter | null;
  @Field(() => [DatabaseMappingInput], { defaultValue: [] }) databaseMap!: readonly DatabaseMappingInput[];
  @Field(() => KeyPrefixInput, { nullable: true }) keyPrefix?: KeyPrefixInput | null;
  @Field(() => TtlRuleEnum, { defaultValue: 'KEEP' }) ttl!: TtlRule;
  @Field(() => ConflictRuleEnum, { nullable: true }) onConflict?: ConflictRule | null;
  @Field(() => Boolean, { nullable: true }) flushFirst?: boolean | null;
  @Field(() => [String], { defaultValue: [] }) acceptedLosses!: readonly string[];
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class RestoreBackupInput {
  @Field(() => ID) planId!: string;
  @Field(() => String) confirmation!: string;
  @Field(() => [String], { defaultValue: [] }) acceptedWarnings!: readonly string[];
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}
