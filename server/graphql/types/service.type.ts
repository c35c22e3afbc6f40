import { Field, ID, Int } from 'type-graphql';
import { type Engine } from '../../domain/backup.js';
import { type CredentialKind, type Role } from '../../domain/principal.js';
import { type ProjectRecord, type ServiceRecord, type ViewerRecord } from '../../services/records.js';
import { CredentialKindEnum, EngineEnum, RoleEnum, StoreKindEnum } from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { Node, Plain, PlainNode } from './node.type.js';

@PlainNode()
export class Project extends Node implements ProjectRecord {
  @Field(() => String) name!: string;
  @Field(() => DateTime) createdAt!: Date;
}

@Plain()
export class Viewer implements ViewerRecord {
  @Field(() => CredentialKindEnum) credential!: CredentialKind;
  @Field(() => ID) keyId!: string;
  @Field(() => String) keyName!: string;
  @Field(() => RoleEnum) role!: Role;
  @Field(() => Boolean) serviceWide!: boolean;
  @Field(() => [ID], { nullable: true }) instanceIds!: readonly string[] | null;
  @Field(() => DateTime, { nullable: true }) expiresAt!: Date | null;
  @Field(() => Project) project!: ProjectRecord;
}

@Plain()
export class StoreInfo {
  @Field(() => StoreKindEnum) kind!: 'FILE_SYSTEM' | 'S3';
  @Field(() => String, { nullable: true }) location!: string | null;
  @Field(() => Boolean) writable!: boolean;
  @Field(() => BigIntScalar, { nullable: true }) freeBytes!: bigint | null;
}

type Limits = ServiceRecord['limits'];

@Plain()
export class ServiceLimits implements Limits {
  @Field(() => Int) maxPageSize!: number;
  @Field(() => Int) maxNameLength!: number;
  @Field(() => Int) minDownloadLinkSeconds!: number;
  @Field(() => Int) maxDownloadLinkSeconds!: number;
  @Field(() => Int) restorePlanSeconds!: number;
  @Field(() => Int) idempotencyKeySeconds!: number;
  @Field(() => Int) concurrentJobs!: number;
}

@Plain()
export class EngineSupport {
  @Field(() => EngineEnum) engine!: Engine;
  @Field(() => String) minVersion!: string;
  @Field(() => [String]) disabledVersions!: readonly string[];
}

@Plain()
export class Service implements ServiceRecord {
  @Field(() => String) version!: string;
  @Field(() => [Int]) sdkMajors!: readonly number[];
  @Field(() => String) defaultTimeZone!: string;
  @Field(() => Int) retentionDays!: number;
  @Field(() => StoreInfo) store!: StoreInfo;
  @Field(() => ServiceLimits) limits!: ServiceLimits;
  @Field(() => [EngineSupport]) engines!: readonly EngineSupport[];
}
