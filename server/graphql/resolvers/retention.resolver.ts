import { Args, ArgsType, Ctx, Field, FieldResolver, ID, Query, Resolver } from 'type-graphql';
import { type RetentionStatusRecord, type RetentionVerdictRecord } from '../../services/records.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { RetentionStatus, RetentionVerdictConnection } from '../types/retention.type.js';
import { Service } from '../types/service.type.js';

@ArgsType()
class RetentionPreviewArgs extends ListArgs {
  @Field(() => ID, { nullable: true }) instanceId?: string | null;
}

@Resolver(() => Service)
export class RetentionResolver {
  @Query(() => RetentionVerdictConnection)
  async retentionPreview(@Args(() => RetentionPreviewArgs) args: RetentionPreviewArgs, @Ctx() { services, caller }: GraphContext): Promise<ConnectionRecord<RetentionVerdictRecord>> {
    return toConnection(await services.retention.preview(caller, { instanceId: args.instanceId }, pageOf(args)));
  }

  @FieldResolver(() => RetentionStatus)
  retention(@Ctx() { services, caller }: GraphContext): Promise<RetentionStatusRecord> {
    return services.retention.status(caller);
  }
}
