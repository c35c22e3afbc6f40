import { Field, ID, InputType, Int } from 'type-graphql';
import { type Engine } from '../../domain/backup.js';
import { type RegisterInstance, type TlsChange, type UpdateInstance } from '../../services/api.js';
import { type InstanceFilter as InstanceFilterRecord } from '../../services/records.js';
import { type HostPort, type SourcePreference } from '../../domain/source.js';
import { EngineEnum, SourcePreferenceEnum } from '../enums.js';

@InputType()
export class InstanceFilter implements InstanceFilterRecord {
  @Field(() => String, { nullable: true }) nameContains?: string | null;
  @Field(() => EngineEnum, { nullable: true }) engine?: Engine | null;
}

@InputType()
export class TlsInput implements TlsChange {
  @Field(() => String, { nullable: true }) ca?: string | null;
  @Field(() => String, { nullable: true }) cert?: string | null;
  @Field(() => String, { nullable: true }) key?: string | null;
  @Field(() => String, { nullable: true }) serverName?: string | null;
  @Field(() => Boolean, { defaultValue: false }) insecureSkipVerify!: boolean;
}

@InputType()
export class ReplicaInput implements HostPort {
  @Field(() => String) host!: string;
  @Field(() => Int, { defaultValue: 6379 }) port!: number;
}

@InputType()
export class RegisterInstanceInput implements RegisterInstance {
  @Field(() => String) name!: string;
  @Field(() => String) host!: string;
  @Field(() => Int, { defaultValue: 6379 }) port!: number;
  @Field(() => String, { nullable: true }) username?: string | null;
  @Field(() => String, { nullable: true }) password?: string | null;
  @Field(() => TlsInput, { nullable: true }) tls?: TlsChange | null;
  @Field(() => Boolean, { defaultValue: false }) acceptPartial!: boolean;
  @Field(() => SourcePreferenceEnum, { defaultValue: 'PREFER_REPLICA' }) sourcePreference!: SourcePreference;
  @Field(() => ReplicaInput, { nullable: true }) replica?: HostPort | null;
  @Field(() => Boolean, { defaultValue: false }) skipSyncDelay!: boolean;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

/** A field that was not sent is absent here too, so that the service can tell it from `null`. */
@InputType()
export class UpdateInstanceInput implements UpdateInstance {
  @Field(() => ID) instanceId!: string;
  @Field(() => String, { nullable: true }) name?: string | null;
  @Field(() => String, { nullable: true }) host?: string | null;
  @Field(() => Int, { nullable: true }) port?: number | null;
  @Field(() => String, { nullable: true }) username?: string | null;
  @Field(() => String, { nullable: true }) password?: string | null;
  @Field(() => TlsInput, { nullable: true }) tls?: TlsChange | null;
  @Field(() => Boolean, { nullable: true }) acceptPartial?: boolean | null;
  @Field(() => SourcePreferenceEnum, { nullable: true }) sourcePreference?: SourcePreference | null;
  @Field(() => ReplicaInput, { nullable: true }) replica?: HostPort | null;
  @Field(() => Boolean, { nullable: true }) skipSyncDelay?: boolean | null;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class RemoveInstanceInput {
  @Field(() => ID) instanceId!: string;
  @Field(() => Boolean, { defaultValue: false }) deleteBackups!: boolean;
  @Field(() => Boolean, { defaultValue: false }) abandonTarget!: boolean;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class ProbeInstanceInput {
  @Field(() => ID) instanceId!: string;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}
