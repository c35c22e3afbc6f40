import { Field, ID, InputType } from 'type-graphql';
import { type AuditAction, type AuditOutcome } from '../../domain/audit.js';
import { type AuditFilter } from '../../services/records.js';
import { AuditActionEnum, AuditOutcomeEnum } from '../enums.js';
import { DateTime } from '../scalars.js';

@InputType()
export class AuditEventFilter implements AuditFilter {
  @Field(() => ID, { nullable: true }) projectId?: string | null;
  @Field(() => [AuditActionEnum], { nullable: true }) actions?: readonly AuditAction[] | null;
  @Field(() => [AuditOutcomeEnum], { nullable: true }) outcomes?: readonly AuditOutcome[] | null;
  @Field(() => ID, { nullable: true }) actorId?: string | null;
  @Field(() => ID, { nullable: true }) objectId?: string | null;
  @Field(() => ID, { nullable: true }) instanceId?: string | null;
  @Field(() => DateTime, { nullable: true }) createdFrom?: Date | null;
  @Field(() => DateTime, { nullable: true }) createdBefore?: Date | null;
}
