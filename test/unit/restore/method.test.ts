import { describe, expect, it } from 'vitest';
import { chooseMethod, type MethodWish } from '../../../server/domain/restore-method.js';
import { type CreatePlan } from '../../../server/services/api.js';
import { restoreRequest } from '../../../server/services/restore-request.js';

const obstacle = (name: string) => ({ name, message: 'It is in the way.' });
const ASKED: CreatePlan = { backupId: 'bak_1', instanceId: 'ins_1', safetyBackup: true, pauseWrites: true, disklessLoad: false, databaseMap: [], ttl: 'KEEP', acceptedLosses: [] };

describe('the method of a restore', () => {
  const LINK: MethodWish = { method: 'REPLICATION_LINK', keyByKey: false };
  const PIPELINE: MethodWish = { method: 'RESTORE_PIPELINE', keyByKey: false };
  const ANY: MethodWish = { method: null, keyByKey: false };
  const SELECTIVE: MethodWish = { method: null, keyByKey: true };

  it.each<[string, MethodWish, string[], 'LINK' | 'KEYS' | 'NONE']>([
    ['the link where nothing is in its way', ANY, [], 'LINK'],
    ['the link that was asked for', LINK, [], 'LINK'],
    ['no link that was asked for and cannot be', LINK, ['CLUSTER_MODE'], 'NONE'],
    ['keys for a target that cannot connect back', ANY, ['CANNOT_LISTEN_BACK'], 'KEYS'],
    ['keys for a cluster', ANY, ['CLUSTER_MODE', 'NO_RIGHT_TO_REPLICAOF'], 'KEYS'],
    ['keys for a file that the target does not load', ANY, ['CANNOT_LOAD'], 'KEYS'],
    ['keys for a selection', SELECTIVE, [], 'KEYS'],
    ['nothing by itself under a Sentinel', ANY, ['SENTINEL_IN_CHARGE'], 'NONE'],
    ['nothing by itself under a Sentinel, whatever else has a way around', ANY, ['SENTINEL_IN_CHARGE', 'CANNOT_LOAD'], 'NONE'],
    ['keys under a Sentinel when asked', PIPELINE, ['SENTINEL_IN_CHARGE', 'FLUSH_BEFORE_LOAD'], 'KEYS'],
    ['keys for a selection under a Sentinel: nobody follows anybody', SELECTIVE, ['SENTINEL_IN_CHARGE'], 'KEYS'],
    ['nothing on a replica', PIPELINE, ['TARGET_IS_REPLICA'], 'NONE'],
    ['nothing on a replica, for a selection', SELECTIVE, ['TARGET_IS_REPLICA', 'CLUSTER_MODE'], 'NONE'],
    ['nothing where memory lacks', ANY, ['INSUFFICIENT_MEMORY'], 'NONE'],
  ])('is %s', (_, wish, obstacles, by) => {
    const choice = chooseMethod(wish, obstacles.map(obstacle));
    expect(choice.by).toBe(by);
    expect(choice.reason).toMatch(/\w+ \w+/);
  });
});

describe('what is asked of a restore', () => {
  it.each<[string, Partial<CreatePlan>, object]>([
    ['everything in place of everything', {}, { options: { flush: 'EVERYTHING', onConflict: 'REPLACE', commandsOnly: false }, wish: { method: null, keyByKey: false } }],
    ['everything, with other expiries', { ttl: 'SHIFT' }, { options: { flush: 'EVERYTHING', ttl: 'SHIFT' }, wish: { keyByKey: true } }],
    ['everything beside what is there', { flushFirst: false }, { options: { flush: 'NOTHING' }, wish: { keyByKey: true } }],
    ['everything that is not there yet', { onConflict: 'SKIP' }, { options: { flush: 'NOTHING', onConflict: 'SKIP' }, wish: { keyByKey: true } }],
    ['some keys', { keys: { patterns: ['a*'] } }, { options: { flush: 'NOTHING', selection: { patterns: ['a*'], types: null, databases: null } }, wish: { keyByKey: true } }],
    ['a database, in place of that', { keys: { databases: [1] }, flushFirst: true }, { options: { flush: 'WRITTEN' } }],
    ['no selection, in empty words', { keys: { patterns: null } }, { options: { flush: 'EVERYTHING' }, wish: { keyByKey: false } }],
    ['by commands', { method: 'LOGICAL_COMMANDS' }, { options: { flush: 'EVERYTHING', commandsOnly: true }, wish: { method: 'LOGICAL_COMMANDS', keyByKey: false } }],
  ])('is %s', (_, asked, wanted) => {
    expect(restoreRequest({ ...ASKED, ...asked }, ['FIELD_TTL'])).toMatchObject(wanted);
  });
});
