import { Field, ID, InputType } from 'type-graphql';
import { type Role } from '../../domain/principal.js';
import { type CreateApiKey } from '../../services/api.js';
import { RoleEnum } from '../enums.js';
import { DateTime } from '../scalars.js';

@InputType()
export class ApiKeyFilter {
  @Field(() => ID, { nullable: true }) projectId?: string | null;
  @Field(() => Boolean, { nullable: true }) validOnly?: boolean | null;
}

@InputType()
export class CreateProjectInput {
  @Field(() => String) name!: string;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class CreateApiKeyInput implements CreateApiKey {
  @Field(() => String) name!: string;
  @Field(() => RoleEnum) role!: Role;
  @Field(() => Boolean, { defaultValue: false }) serviceWide!: boolean;
  @Field(() => ID, { nullable: true }) projectId?: string | null;
  @Field(() => [ID], { nullable: true }) instanceIds?: readonly string[] | null;
  @Field(() => DateTime, { nullable: true }) expiresAt?: Date | null;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}

@InputType()
export class RevokeApiKeyInput {
  @Field(() => ID) apiKeyId!: string;
  @Field(() => String, { nullable: true }) idempotencyKey?: string | null;
}
