import { Field, Int } from 'type-graphql';
import { type RateState } from '../rate.js';
import { DateTime } from '../scalars.js';
import { Plain } from './node.type.js';

@Plain()
export class RateLimit implements RateState {
  @Field(() => Int) cost!: number;
  @Field(() => Int) limit!: number;
  @Field(() => Int) remaining!: number;
  @Field(() => DateTime) resetAt!: Date;
}
