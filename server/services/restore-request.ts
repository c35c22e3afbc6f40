import { DomainError } from '../domain/errors.js';
import { selectsAll } from '../domain/key-selection.js';
import { type MethodWish } from '../domain/restore-method.js';
import { checkRestoreOptions, type FlushRule, type RestoreOptions } from '../domain/restore-options.js';
import { type CreatePlan } from './api.js';

/** What a caller wants of a restore, checked and complete. */
export interface RestoreRequest {
  options: RestoreOptions;
  wish: MethodWish;
}

/** All keys under their own names, and nothing said about those that are there: the backup takes the place of what the target holds. */
const isWhole = ({ keys, databaseMap, keyPrefix, onConflict }: CreatePlan): boolean =>
  selectsAll(keys ?? {}) && databaseMap.length === 0 && keyPrefix == null && onConflict == null;

/** BAD_INPUT with the path of the field. @param losses every name that a loss can have */
export const restoreRequest = (input: CreatePlan, losses: readonly string[]): RestoreRequest => {
  const { keys, databaseMap, keyPrefix, ttl, onConflict, flushFirst, acceptedLosses, method = null } = input;
  const selection = { patterns: keys?.patterns ?? null, types: keys?.types ?? null, databases: keys?.databases ?? null };
  const whole = isWhole(input);
  const flush: FlushRule = !(flushFirst ?? whole) ? 'NOTHING' : selectsAll(selection) ? 'EVERYTHING' : 'WRITTEN';
  const options: RestoreOptions = {
    selection, flush, ttl, commandsOnly: method === 'LOGICAL_COMMANDS', onConflict: onConflict ?? 'REPLACE', acceptedLosses: [...acceptedLosses].sort(),
    databaseMap: databaseMap.map(({ from, to }) => ({ from, to })),
    keyPrefix: keyPrefix == null ? null : { replace: keyPrefix.replace ?? null, by: keyPrefix.by },
  };
  checkRestoreOptions(options, [], losses);
  const keyByKey = !whole || ttl !== 'KEEP' || flush === 'NOTHING';
  if (method === 'REPLICATION_LINK' && keyByKey) {
    throw new DomainError('BAD_INPUT', 'A replication link restores all of a backup as it is, in place of all that the target holds: it takes none of these options.', {
      hint: 'Leave the method out, or the options.', field: ['method'],
    });
  }
  return { options, wish: { method, keyByKey } };
};
