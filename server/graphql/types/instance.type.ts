import { Field, Int } from 'type-graphql';
import { type CaptureMethod } from '../../domain/backup.js';
import { type RestoreMethod } from '../../domain/restore-method.js';
import { type HostPort, type SourcePreference } from '../../domain/source.js';
import { type CapabilitiesRecord, type InstanceRecord, type InstanceTlsRecord, type ServerFactsRecord } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { CaptureMethodEnum, RestoreMethodEnum, SourcePreferenceEnum } from '../enums.js';
import { DateTime } from '../scalars.js';
import { UserError } from './error.type.js';
import { Node, Plain, PlainNode } from './node.type.js';
import { ServerFacts } from './server-facts.type.js';

@Plain()
export class BackupCapability {
  @Field(() => Boolean) possible!: boolean;
  @Field(() => CaptureMethodEnum, { nullable: true }) method!: CaptureMethod | null;
  @Field(() => String, { nullable: true }) reason!: string | null;
}

@Plain()
export class RestoreCapability {
  @Field(() => Boolean) possible!: boolean;
  @Field(() => [RestoreMethodEnum]) methods!: readonly RestoreMethod[];
  @Field(() => String, { nullable: true }) reason!: string | null;
}

@Plain()
export class InstanceCapabilities implements CapabilitiesRecord {
  @Field(() => BackupCapability) backup!: BackupCapability;
  @Field(() => RestoreCapability) restore!: RestoreCapability;
}

@Plain()
export class InstanceTls implements InstanceTlsRecord {
  @Field(() => String, { nullable: true }) serverName!: string | null;
  @Field(() => Boolean) hasCa!: boolean;
  @Field(() => Boolean) hasClientCertificate!: boolean;
  @Field(() => Boolean) insecureSkipVerify!: boolean;
}

@Plain()
export class ReplicaAddress implements HostPort {
  @Field(() => String) host!: string;
  @Field(() => Int) port!: number;
}

@PlainNode()
export class Instance extends Node implements Omit<InstanceRecord, 'projectId'> {
  @Field(() => String) name!: string;
  @Field(() => String) host!: string;
  @Field(() => Int) port!: number;
  @Field(() => String, { nullable: true }) username!: string | null;
  @Field(() => Boolean) hasPassword!: boolean;
  @Field(() => InstanceTls, { nullable: true }) tls!: InstanceTlsRecord | null;
  @Field(() => Boolean) acceptPartial!: boolean;
  @Field(() => SourcePreferenceEnum) sourcePreference!: SourcePreference;
  @Field(() => ReplicaAddress, { nullable: true }) replica!: HostPort | null;
  @Field(() => Boolean) skipSyncDelay!: boolean;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime) updatedAt!: Date;
  @Field(() => DateTime, { nullable: true }) removedAt!: Date | null;
  @Field(() => ServerFacts) server!: ServerFactsRecord;
  @Field(() => InstanceCapabilities) capabilities!: CapabilitiesRecord;
}

export const InstanceConnection = connectionOf('Instance', () => Instance);

@Plain()
export class RegisterInstancePayload {
  @Field(() => Instance, { nullable: true }) instance?: InstanceRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class UpdateInstancePayload {
  @Field(() => Instance, { nullable: true }) instance?: InstanceRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class RemoveInstancePayload {
  @Field(() => Instance, { nullable: true }) instance?: InstanceRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class ProbeInstancePayload {
  @Field(() => Instance, { nullable: true }) instance?: InstanceRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}
