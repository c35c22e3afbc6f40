import { Field, Int } from 'type-graphql';
import { type DatabaseCount, type Engine, type SlotRange as SlotRangeRecord } from '../../domain/backup.js';
import { type ServerFactsRecord } from '../../services/records.js';
import { EngineEnum, ServerModeEnum, ServerRoleEnum } from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { Plain } from './node.type.js';

@Plain()
export class DatabaseKeys implements DatabaseCount {
  @Field(() => Int) database!: number;
  @Field(() => BigIntScalar) keys!: bigint;
  @Field(() => BigIntScalar) expiring!: bigint;
}

@Plain()
export class SlotRange implements SlotRangeRecord {
  @Field(() => Int) start!: number;
  @Field(() => Int) end!: number;
}

@Plain()
export class ServerRight {
  @Field(() => String) command!: string;
  @Field(() => Boolean, { nullable: true }) allowed!: boolean | null;
}

@Plain()
export class ServerPersistence {
  @Field(() => Boolean) appendOnly!: boolean;
  @Field(() => String, { nullable: true }) saveRules!: string | null;
  @Field(() => Boolean, { nullable: true }) rdbChecksum!: boolean | null;
}

@Plain()
export class ServerFacts implements ServerFactsRecord {
  @Field(() => DateTime) probedAt!: Date;
  @Field(() => EngineEnum) engine!: Engine;
  @Field(() => String) version!: string;
  @Field(() => String) runId!: string;
  @Field(() => ServerRoleEnum) role!: 'MASTER' | 'REPLICA';
  @Field(() => ServerModeEnum) mode!: 'STANDALONE' | 'CLUSTER' | 'SENTINEL';
  @Field(() => BigIntScalar) usedMemoryBytes!: bigint;
  @Field(() => BigIntScalar, { nullable: true }) maxMemoryBytes!: bigint | null;
  @Field(() => String, { nullable: true }) maxMemoryPolicy!: string | null;
  @Field(() => BigIntScalar) keys!: bigint;
  @Field(() => [DatabaseKeys]) databases!: readonly DatabaseCount[];
  @Field(() => ServerPersistence) persistence!: ServerPersistence;
  @Field(() => Int) rdbVersion!: number;
  @Field(() => Int) connectedReplicas!: number;
  @Field(() => [SlotRange]) slots!: readonly SlotRangeRecord[];
  @Field(() => [ServerRight]) rights!: readonly ServerRight[];
}
