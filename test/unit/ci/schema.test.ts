import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { judgeSchema, nextVersion, readReleased } from '../../../.ci/schema.mjs';

const RELEASED = `
  type Query { "A job." job("Which." id: ID!): Job  old: String @deprecated(reason: "Use job. Goes 2026-06-01.") }
  "A job." type Job { id: ID!  state: State! }
  enum State { QUEUED RUNNING }
  input JobInput { name: String! }
`;
const TODAY = '2026-03-01';

const judge = (change: (sdl: string) => string, versions = { released: '1.2.3', current: '1.2.3' }, today = TODAY) =>
  judgeSchema({ released: RELEASED, current: change(RELEASED) }, versions, today);
const replace = (from: string, to: string) => (sdl: string): string => {
  expect(sdl).toContain(from);
  return sdl.replace(from, to);
};

describe('what has become of the schema', () => {
  it.each<[what: string, change: (sdl: string) => string, kind: string, named: RegExp, next: string]>([
    ['nothing', (sdl) => sdl, '', /^$/, '1.2.3'],
    ['a description', replace('"A job." type', '"One job." type'), 'wording', /^Job is described otherwise/, '1.2.4'],
    ['a field more', replace('state: State!', 'state: State! name: String'), 'addition', /^Job\.name was added/, '1.3.0'],
    ['an argument more', replace('id: ID!): Job', 'id: ID! deep: Boolean): Job'), 'addition', /^Query\.job\(deep:\) was added/, '1.3.0'],
    ['a type more', (sdl) => `${sdl} type New { id: ID! }`, 'addition', /^New was added/, '1.3.0'],
    ['an enum value more', replace('QUEUED RUNNING', 'QUEUED RUNNING DONE'), 'dangerous', /DONE/, '1.3.0'],
    ['a deprecation', replace('id: ID!  state', 'id: ID! @deprecated(reason: "Use state. Goes 2027-01-01.") state'), 'deprecation', /^Job\.id was deprecated: Use state/, '1.3.0'],
    ['a field less', replace('state: State!', ''), 'breaking', /Job\.state/, '2.0.0'],
    ['a field that may be null now', replace('state: State!', 'state: State'), 'breaking', /Job\.state/, '2.0.0'],
    ['an input that must be given', replace('name: String!', 'name: String! age: Int!'), 'breaking', /age/, '2.0.0'],
    ['an enum value less', replace('QUEUED RUNNING', 'QUEUED'), 'breaking', /RUNNING/, '2.0.0'],
  ])('is named and gives the next version: %s', (_what, change, kind, named, next) => {
    const { changes, next: decided } = judge(change);
    expect(decided).toBe(next);
    if (kind === '') expect(changes).toEqual([]);
    else expect(changes.filter((found) => found.kind === kind && named.test(found.what)), JSON.stringify(changes)).not.toEqual([]);
  });

  it('counts minor versions as major ones before 1.0', () => {
    expect([nextVersion('0.1.0', 'breaking'), nextVersion('0.1.0', 'addition'), nextVersion('0.1.9', 'wording'), nextVersion('0.1.0', 'none')]).toEqual(['0.2.0', '0.1.1', '0.1.10', '0.1.0']);
  });
});

describe('what is refused', () => {
  const gone = replace('state: State!', '');

  it('what breaks, until the version says so', () => {
    expect(judge(gone).faults[0]).toBe('Job.state is gone and was never deprecated.');
    expect(judge(replace('state: State!', 'state: State')).faults).toEqual([expect.stringMatching(/breaks what 1\.2\.3 promises, within the same major version: it needs 2\.0\.0/)]);
    expect(judge(replace('state: State!', 'state: State'), { released: '1.2.3', current: '1.9.0' }).faults).toHaveLength(1);
    expect(judge(replace('state: State!', 'state: State'), { released: '1.2.3', current: '2.0.0' }).faults).toEqual([]);
    expect(judge(gone, { released: '0.1.0', current: '0.1.7' }).faults).toEqual([expect.stringMatching(/same minor version: it needs 0\.2\.0/)]);
    expect(judge(gone, { released: '0.1.0', current: '0.2.0' }).faults).toEqual([]);
  });

  it('a version too low for what was added, and one that goes back', () => {
    const added = replace('state: State!', 'state: State! name: String');
    expect(judge(added).faults).toEqual([]);
    expect(judge(added, { released: '1.2.3', current: '1.2.4' }).faults).toEqual([expect.stringMatching(/too low/)]);
    expect(judge(added, { released: '1.2.3', current: '1.1.0' }).faults).toEqual([expect.stringMatching(/below 1\.2\.3/)]);
  });

  it.each(['No longer supported', 'Use state.', 'Goes 2027-01-01.', 'Use state. Goes 2027-02-30.', 'Use state. Goes soon.'])('a deprecation that says %s', (reason) => {
    expect(judge(replace('id: ID!  state', `id: ID! @deprecated(reason: "${reason}") state`)).faults).toEqual([expect.stringMatching(/^Job\.id is deprecated without/)]);
  });

  it('a removal before the day that was promised, in any version', () => {
    const removed = replace('old: String @deprecated(reason: "Use job. Goes 2026-06-01.")', '');
    const next = { released: '1.2.3', current: '2.0.0' };
    expect(judge(removed, next, '2026-05-31').faults).toEqual([expect.stringMatching(/^Query\.old is gone before 2026-06-01/)]);
    expect(judge(removed, next, '2026-06-01').faults).toEqual([]);
  });
});

it('the contract as it stands may be released as the version that the SDK says', () => {
  const { version, sdl } = readReleased();
  const current = readdirSync('schema').filter((name) => name.endsWith('.graphql')).sort().map((name) => readFileSync(`schema/${name}`, 'utf8')).join('\n');
  const { version: now } = JSON.parse(readFileSync('sdk/package.json', 'utf8')) as { version: string };
  expect(judgeSchema({ released: sdl, current }, { released: version, current: now }, new Date().toISOString().slice(0, 10)).faults).toEqual([]);
});
