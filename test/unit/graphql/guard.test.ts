import { expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../../server/graphql/limits.js';
import { makeGuard } from '../../../server/graphql/guard.js';
import { createRateLimiter } from '../../../server/graphql/rate.js';
import { buildServedSchema } from '../../../server/graphql/schema.js';
import * as documents from '../../../sdk/src/generated/operations.js';

it('lets everything through that the SDK sends, with pages of 100', async () => {
  const guard = makeGuard({ schema: await buildServedSchema(), authenticate: () => Promise.resolve(undefined), pointsPerMinute: 1_000_000 });
  const costs = Object.entries(documents).filter(([name]) => name.endsWith('Document')).map(([name, document]) => {
    const parsed = guard.parse(String(document));
    if ('errors' in parsed) throw new Error(`${name}: ${parsed.errors.join(' ')}`);
    return [name, guard.admit({ credential: 'API_KEY', keyId: name, name, projectId: 'prj_1', serviceWide: false, role: 'ADMIN', instanceIds: null, expiresAt: null }, { document: parsed.document, variables: { first: 100 } })?.cost];
  });
  expect(costs.length).toBeGreaterThan(30);
  // Some room is left for what they grow by.
  expect(costs.filter(([, cost]) => Number(cost) > DEFAULT_LIMITS.maxCost * 0.9)).toEqual([]);
});

it('gives points back evenly, to each key its own', () => {
  let now = 0;
  const limiter = createRateLimiter(600, () => now);
  const codeOf = (keyId: string, cost: number): unknown => {
    try {
      return limiter.take(keyId, cost)?.remaining;
    } catch (error) {
      return { ...(error as { code: string; details: object }) };
    }
  };
  expect([codeOf('a', 400), codeOf('a', 200), codeOf('b', 1)]).toEqual([200, 0, 599]);
  expect(codeOf('a', 10)).toMatchObject({ code: 'RATE_LIMITED', retryable: true, details: { retryAfterMs: 1_000 } });
  now += 1_000;
  expect([codeOf('a', 10), codeOf('a', 601)]).toEqual([0, expect.objectContaining({ code: 'LIMIT_EXCEEDED' })]);
  now += 3_600_000;
  expect(codeOf('a', 1)).toBe(599);
  expect(createRateLimiter(null).take('a', 1e9)).toBeNull();
});
