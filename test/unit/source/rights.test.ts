import { describe, expect, test } from 'vitest';
import { engineGate } from '../../../server/domain/capability.js';
import { hasSentinelClient, slotsOfMyself } from '../../../server/engine/probe/info-facts.js';
import { categoriesOf, judgeByRules } from '../../../server/engine/probe/rights.js';

const categories = (name: string): ReadonlySet<string> | undefined => ({ dangerous: new Set(['psync', 'replicaof', 'config|set']), admin: new Set(['psync']) })[name];

describe('ACL rules decide in their order', () => {
  test.each([
    ['+@all', 'psync', true],
    ['-@all', 'psync', false],
    ['+@all -@dangerous', 'psync', false],
    ['+@all -@dangerous +psync', 'psync', true],
    ['+psync -@all', 'psync', false],
    ['-@all +config|get', 'config|get', true],
    ['-@all +config|get', 'config|set', false],
    ['+@all -config', 'config|get', false],
    ['+@all -@dangerous', 'config|set', false],
    ['+@all -@dangerous', 'config|get', true],
    ['+@all -@unheard-of', 'psync', null],
    ['+@all -@unheard-of +psync', 'psync', true],
    ['', 'psync', false],
  ] as const)('%s: %s → %s', (rules, right, expected) => {
    expect(judgeByRules(rules, right, categories)).toBe(expected);
  });

  test('which categories have to be looked up', () => {
    expect(categoriesOf('+@all -@dangerous +@read -@dangerous +psync')).toEqual(['dangerous', 'read']);
  });
});

test('slots of the node that answers, of a replica those of its master, without those on the move', () => {
  const nodes = [
    'aaa 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-100 200 [93-<-bbb] 300-301',
    'bbb 127.0.0.1:3@4 master - 0 0 2 connected 400-500',
  ];
  expect(slotsOfMyself(nodes.join('\n'))).toEqual([{ start: 0, end: 100 }, { start: 200, end: 200 }, { start: 300, end: 301 }]);
  expect(slotsOfMyself(['ccc 127.0.0.1:5@6 myself,slave bbb 0 0 2 connected', ...nodes.map((line) => line.replace('myself,', ''))].join('\n'))).toEqual([{ start: 400, end: 500 }]);
  expect(slotsOfMyself('')).toEqual([]);
});

test('a Sentinel is known by the names of its connections', () => {
  const line = 'id=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name=%s age=1 db=0 cmd=ping';
  expect(hasSentinelClient(line.replace('%s', 'sentinel-d2a9f7c1-cmd'))).toBe(true);
  expect(hasSentinelClient(line.replace('%s', 'my-sentinel-watcher'))).toBe(false);
  expect(hasSentinelClient(line.replace('%s', ''))).toBe(false);
});

describe('the engine gate', () => {
  test.each([
    ['redis 4.0', 'REDIS', '4.0.14', true],
    ['redis 4.0', 'REDIS', '4.1.0', false],
    ['redis 4', 'REDIS', '40.0.0', false],
    [' Valkey   8 ', 'VALKEY', '8.1.1', true],
    ['valkey 8', 'REDIS', '8.0.2', false],
    ['redis', 'REDIS', '7.0.15', true],
    ['redis 7.0.15', 'REDIS', '7.0.15', true],
  ] as const)('%s on %s %s → %s', (rule, engine, version, off) => {
    expect(engineGate([rule]).isOff(engine, version)).toBe(off);
  });

  test.each(['', 'keydb 6', 'redis four', 'redis 1.2.3.4'])('"%s" is no rule', (rule) => {
    expect(() => engineGate([rule])).toThrowError(expect.objectContaining({ code: 'BAD_INPUT' }));
  });
});
