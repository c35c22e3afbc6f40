import { Field, ID } from 'type-graphql';
import { type AuditAction, type AuditOutcome } from '../../domain/audit.js';
import { type ErrorCode } from '../../domain/errors.js';
import { type CredentialKind } from '../../domain/principal.js';
import { type AuditEventRecord } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { AuditActionEnum, AuditOutcomeEnum, CredentialKindEnum, ErrorCodeEnum } from '../enums.js';
import { BigIntScalar, DateTime } from '../scalars.js';
import { Node, Plain, PlainNode } from './node.type.js';

@Plain()
export class AuditDetail {
  @Field(() => String) name!: string;
  @Field(() => String) value!: string;
}

@PlainNode()
export class AuditEvent extends Node implements Omit<AuditEventRecord, 'projectId' | 'details' | 'hash'> {
  @Field(() => BigIntScalar) sequence!: bigint;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => CredentialKindEnum, { nullable: true }) credential!: CredentialKind | null;
  @Field(() => ID, { nullable: true }) actorId!: string | null;
  @Field(() => String, { nullable: true }) actorName!: string | null;
  @Field(() => String, { nullable: true }) address!: string | null;
  @Field(() => AuditActionEnum) action!: AuditAction;
  @Field(() => AuditOutcomeEnum) outcome!: AuditOutcome;
  @Field(() => ErrorCodeEnum, { nullable: true }) code!: ErrorCode | null;
  @Field(() => ID, { nullable: true }) objectId!: string | null;
  @Field(() => ID, { nullable: true }) instanceId!: string | null;
}

export const AuditEventConnection = connectionOf('AuditEvent', () => AuditEvent);
