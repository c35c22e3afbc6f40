import { Arg, Args, ArgsType, Ctx, Field, FieldResolver, Mutation, Query, Resolver, Root } from 'type-graphql';
import { type ApiKeyRecord, type ProjectRecord } from '../../services/records.js';
import { type ConnectionRecord, ListArgs, pageOf, toConnection } from '../connection.js';
import { type GraphContext } from '../context.js';
import { ApiKeyFilter, CreateApiKeyInput, CreateProjectInput, RevokeApiKeyInput } from '../inputs/access.input.js';
import { loadRequired } from '../loaders.js';
import { type Payload, toPayload } from '../payload.js';
import { ApiKey, ApiKeyConnection, CreateApiKeyPayload, CreateProjectPayload, ProjectConnection, RevokeApiKeyPayload } from '../types/access.type.js';
import { Project } from '../types/service.type.js';

@ArgsType()
class ApiKeyListArgs extends ListArgs {
  @Field(() => ApiKeyFilter, { nullable: true }) filter?: ApiKeyFilter | null;
}

@Resolver()
export class AccessResolver {
  @Query(() => ProjectConnection)
  async projects(@Args(() => ListArgs) args: ListArgs, @Ctx() { services, caller }: GraphContext): Promise<ConnectionRecord<ProjectRecord>> {
    return toConnection(await services.projects.list(caller, pageOf(args)));
  }

  @Query(() => ApiKeyConnection)
  async apiKeys(@Args(() => ApiKeyListArgs) args: ApiKeyListArgs, @Ctx() { services, caller }: GraphContext): Promise<ConnectionRecord<ApiKeyRecord>> {
    return toConnection(await services.apiKeys.list(caller, args.filter ?? {}, pageOf(args)));
  }

  @Mutation(() => CreateProjectPayload)
  createProject(@Arg('input', () => CreateProjectInput) input: CreateProjectInput, @Ctx() context: GraphContext): Promise<Payload<{ project: ProjectRecord }>> {
    return toPayload(context, async () => ({ project: await context.services.projects.create(context.caller, input) }));
  }

  @Mutation(() => CreateApiKeyPayload)
  createApiKey(@Arg('input', () => CreateApiKeyInput) input: CreateApiKeyInput, @Ctx() context: GraphContext): Promise<Payload<{ apiKey: ApiKeyRecord; token: string }>> {
    return toPayload(context, () => context.services.apiKeys.create(context.caller, input));
  }

  @Mutation(() => RevokeApiKeyPayload)
  revokeApiKey(@Arg('input', () => RevokeApiKeyInput) input: RevokeApiKeyInput, @Ctx() context: GraphContext): Promise<Payload<{ apiKey: ApiKeyRecord }>> {
    return toPayload(context, async () => ({ apiKey: await context.services.apiKeys.revoke(context.caller, input) }));
  }
}

@Resolver(() => ApiKey)
export class ApiKeyResolver {
  @FieldResolver(() => Project)
  project(@Root() key: ApiKeyRecord, @Ctx() { loaders }: GraphContext): Promise<ProjectRecord> {
    return loadRequired(loaders.projects, key.projectId, `The API key ${key.id}`);
  }
}
