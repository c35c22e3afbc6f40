import { Field, ID } from 'type-graphql';
import { type Role } from '../../domain/principal.js';
import { type ApiKeyRecord, type ProjectRecord } from '../../services/records.js';
import { connectionOf } from '../connection.js';
import { RoleEnum } from '../enums.js';
import { DateTime } from '../scalars.js';
import { UserError } from './error.type.js';
import { Node, Plain, PlainNode } from './node.type.js';
import { Project } from './service.type.js';

export const ProjectConnection = connectionOf('Project', () => Project);

@PlainNode()
export class ApiKey extends Node implements Omit<ApiKeyRecord, 'projectId'> {
  @Field(() => String) name!: string;
  @Field(() => RoleEnum) role!: Role;
  @Field(() => Boolean) serviceWide!: boolean;
  @Field(() => [ID], { nullable: true }) instanceIds!: readonly string[] | null;
  @Field(() => DateTime) createdAt!: Date;
  @Field(() => DateTime, { nullable: true }) expiresAt!: Date | null;
  @Field(() => DateTime, { nullable: true }) revokedAt!: Date | null;
  @Field(() => DateTime, { nullable: true }) lastUsedAt!: Date | null;
}

export const ApiKeyConnection = connectionOf('ApiKey', () => ApiKey);

@Plain()
export class CreateProjectPayload {
  @Field(() => Project, { nullable: true }) project?: ProjectRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class CreateApiKeyPayload {
  @Field(() => ApiKey, { nullable: true }) apiKey?: ApiKeyRecord | null;
  @Field(() => String, { nullable: true }) token?: string | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}

@Plain()
export class RevokeApiKeyPayload {
  @Field(() => ApiKey, { nullable: true }) apiKey?: ApiKeyRecord | null;
  @Field(() => [UserError]) userErrors!: readonly UserError[];
}
