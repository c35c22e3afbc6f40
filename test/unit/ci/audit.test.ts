import { expect, it } from 'vitest';
import { judge } from '../../../.ci/audit.mjs';

const report = (vulnerabilities: Record<string, { severity: string; range: string }>) =>
  JSON.stringify({ vulnerabilities, metadata: { vulnerabilities: { low: 1, high: Object.keys(vulnerabilities).length } } });

it.each<[string, string, boolean, RegExp]>([
  ['nothing', report({}), true, /^No known weakness/],
  ['a low one', report({ one: { severity: 'low', range: '<2' } }), true, /^No known weakness/],
  ['a high one', report({ one: { severity: 'high', range: '<2' } }), false, /one <2 \(high\)/],
  ['a registry that does not answer', JSON.stringify({ message: '405 Method Not Allowed' }), true, /^NOT AUDITED.*405/],
  ['no report', 'npm error', true, /^NOT AUDITED/],
])('an audit that finds %s', (_, output, ok, says) => {
  expect(judge(output)).toEqual({ ok, says: expect.stringMatching(says) as string });
});
