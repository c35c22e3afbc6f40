import { type DatabaseCount } from '../../../domain/backup.js';
import { DomainError } from '../../../domain/errors.js';
import { ServerReplyError, type Control } from '../../control.js';
import { ReplyError } from '../../resp.js';
import { keysIn } from '../connection.js';
import { type TargetFacts } from '../facts.js';
import { refusalOf } from './refusals.js';
import { type Router } from './router.js';

const word = (text: string): Buffer => Buffer.from(text, 'latin1');

/**
 * Whether RESTORE may be run, asked with a time that is no number: rights are checked before, and nothing is done after. Null: nobody knows, as for a
 * user whose rights end at some keys.
 */
export const rightToRestore = async (control: Control): Promise<boolean | null> => {
  try {
    await control.call('RESTORE', 'snapback:no-such-key', 'not-a-number', '');
    return null;
  } catch (error) {
    if (error instanceof DomainError && error.code === 'PERMISSION_MISSING') return /access (?:a|one of the) key/i.test(error.message) ? null : false;
    if (!(error instanceof ServerReplyError)) throw error;
    return !error.reply.toLowerCase().includes('unknown command');
  }
};

/** How far the target's clock is ahead of ours, in milliseconds; 0 where it may not be asked. */
export const readClock = async (control: Control): Promise<number> => {
  const before = Date.now();
  try {
    const reply = await control.call('TIME');
    if (!Array.isArray(reply)) return 0;
    const theirs = Number(reply[0]) * 1_000 + Number(reply[1]) / 1_000;
    return Number.isFinite(theirs) ? Math.round(theirs - (before + Date.now()) / 2) : 0;
  } catch (error) {
    if (error instanceof ServerReplyError || (error instanceof DomainError && error.code === 'PERMISSION_MISSING')) return 0;
    throw error;
  }
};

/** Keys per database: of the facts where they are given, else as they are now; in a cluster of all masters together. */
export const keysOnTarget = async (facts: TargetFacts | null, router: Router): Promise<DatabaseCount[]> => {
  if (facts !== null && !router.isCluster) return facts.keysNow;
  const sums = new Map<number, DatabaseCount>();
  for (const node of router.all) {
    const reply = await node.call([word('INFO'), word('keyspace')]);
    if (reply instanceof ReplyError) throw refusalOf(node.address, reply) ?? new DomainError('TARGET_BLOCKED', `${node.address} answered INFO with: ${reply.text}`);
    const lines = (Buffer.isBuffer(reply) ? reply.toString('latin1') : '').split('\n').flatMap((line) => {
      const colon = line.indexOf(':');
      return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1).trim()] as const];
    });
    for (const { database, keys, expiring } of keysIn(new Map(lines))) {
      const known = sums.get(database);
      sums.set(database, { database, keys: keys + (known?.keys ?? 0n), expiring: expiring + (known?.expiring ?? 0n) });
    }
  }
  return [...sums.values()].sort((one, other) => one.database - other.database);
};
