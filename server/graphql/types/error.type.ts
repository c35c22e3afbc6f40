import { Field } from 'type-graphql';
import { type ErrorCode } from '../../domain/errors.js';
import { ErrorCodeEnum } from '../enums.js';
import { Plain } from './node.type.js';

@Plain()
export class UserError {
  @Field(() => ErrorCodeEnum) code!: ErrorCode;
  @Field(() => String) message!: string;
  @Field(() => [String], { nullable: true }) field!: readonly string[] | null;
}
