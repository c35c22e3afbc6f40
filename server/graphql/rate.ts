import { DomainError } from '../domain/errors.js';

/** What a key may still ask for, after an operation. */
export interface RateState {
  /** Points of the operation. */
  cost: number;
  /** Points for each minute. */
  limit: number;
  remaining: number;
  /** When all of the limit is there again, if nothing else is asked. */
  resetAt: Date;
}

export interface RateLimiter {
  /** null: nobody is limited. @throws DomainError RATE_LIMITED with `details.retryAfterMs`, LIMIT_EXCEEDED for what no minute has the points */
  take(keyId: string, cost: number): RateState | null;
}

interface Bucket {
  points: number;
  at: number;
}

const MINUTE_MS = 60_000;
/** So many keys are told apart; of more, those that have been quiet the longest start anew. */
const MOST_KEYS = 10_000;

/**
 * A bucket for each key: as large as a minute's points, filled evenly, in this process alone. What is refused costs nothing.
 * @param pointsPerMinute null: no limit
 * @param now milliseconds that only go forward
 */
export const createRateLimiter = (pointsPerMinute: number | null, now: () => number = () => performance.now()): RateLimiter => {
  const buckets = new Map<string, Bucket>();
  return {
    take(keyId, cost) {
      if (pointsPerMinute === null) return null;
      const at = now();
      const known = buckets.get(keyId);
      const points = Math.min(pointsPerMinute, (known?.points ?? pointsPerMinute) + ((at - (known?.at ?? at)) * pointsPerMinute) / MINUTE_MS);
      const isTooMuch = cost > points;
      const left = isTooMuch ? points : points - cost;
      // In the order of their use, so that the first is the one to forget.
      buckets.delete(keyId);
      buckets.set(keyId, { points: left, at });
      if (buckets.size > MOST_KEYS) for (const first of buckets.keys()) { buckets.delete(first); break; }
      const msUntil = (wanted: number): number => Math.max(0, Math.ceil(((wanted - left) * MINUTE_MS) / pointsPerMinute));
      if (isTooMuch) {
        if (cost > pointsPerMinute) {
          throw new DomainError('LIMIT_EXCEEDED', `This operation costs ${cost} points; a key has ${pointsPerMinute} a minute.`, { hint: 'Ask for less: fewer fields, shorter pages, fewer levels of lists.' });
        }
        const seconds = Math.ceil(msUntil(cost) / 1000);
        throw new DomainError('RATE_LIMITED', `This key has used up its ${pointsPerMinute} points a minute: ${Math.floor(left)} are left, and this operation costs ${cost}.`, {
          hint: `Try again in ${seconds} s. "rateLimit" tells how much is left.`, retryable: true, details: { retryAfterMs: seconds * 1000 },
        });
      }
      return { cost, limit: pointsPerMinute, remaining: Math.floor(left), resetAt: new Date(Date.now() + msUntil(pointsPerMinute)) };
    },
  };
};
