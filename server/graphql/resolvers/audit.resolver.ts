import { Args, ArgsType, Ctx, Field, FieldResolver, Query, Resolver, Root } from 'type-graphql';
import { type AuditEventRecord } from '../../services/records.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { AuditEventFilter } from '../inputs/audit.input.js';
import { AuditDetail, AuditEvent, AuditEventConnection } from '../types/audit.type.js';

@ArgsType()
class AuditListArgs extends ListArgs {
  @Field(() => AuditEventFilter, { nullable: true }) filter?: AuditEventFilter | null;
}

@Resolver(() => AuditEvent)
export class AuditResolver {
  @Query(() => AuditEventConnection)
  async auditEvents(@Args(() => AuditListArgs) args: AuditListArgs, @Ctx() { services, caller }: GraphContext): Promise<ConnectionRecord<AuditEventRecord>> {
    return toConnection(await services.audit.list(caller, args.filter ?? {}, pageOf(args)));
  }

  @FieldResolver(() => [AuditDetail])
  details(@Root() { details }: AuditEventRecord): AuditDetail[] {
    return Object.entries(details).map(([name, value]) => ({ name, value: String(value) }));
  }

  @FieldResolver(() => String)
  hash(@Root() { hash }: AuditEventRecord): string {
    return hash.toString('hex');
  }
}
