import { Ctx, Query, Resolver } from 'type-graphql';
import { type GraphContext } from '../context.js';
import { type RateState } from '../rate.js';
import { RateLimit } from '../types/rate-limit.type.js';

@Resolver()
export class RateLimitResolver {
  @Query(() => RateLimit, { nullable: true })
  rateLimit(@Ctx() { rate }: GraphContext): RateState | null {
    return rate;
  }
}
