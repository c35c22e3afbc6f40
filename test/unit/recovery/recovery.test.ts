import { expect, it } from 'vitest';
import { recoveryStatus } from '../../../server/domain/recovery.js';

const [before, at, after] = [new Date(1_000), new Date(2_000), new Date(3_000)];

it.each([
  ['OK', { enabled: true, lastDueAt: null, lastGoodAt: at }],
  ['OK', { enabled: true, lastDueAt: before, lastGoodAt: at }],
  ['OK', { enabled: true, lastDueAt: at, lastGoodAt: at }],
  ['LATE', { enabled: true, lastDueAt: after, lastGoodAt: at }],
  ['NEVER', { enabled: true, lastDueAt: null, lastGoodAt: null }],
  ['NEVER', { enabled: true, lastDueAt: at, lastGoodAt: null }],
  ['DISABLED', { enabled: false, lastDueAt: after, lastGoodAt: at }],
  ['DISABLED', { enabled: false, lastDueAt: null, lastGoodAt: null }],
] as const)('is %s for %o', (status, facts) => {
  expect(recoveryStatus(facts)).toBe(status);
});
