import { DomainError } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { type Database } from './ports.js';

/** The master keys of this process, by their ids. */
export interface KnownKeys {
  current: { readonly id: string };
  all: readonly { readonly id: string }[];
}

const idsIn = (setting: string | null): string[] => (setting ?? '').split(',').filter((id) => id !== '');

/**
 * Binds this process's master keys to the database, before anything is written under them. A current key that is new to the database begins
 * a change of keys: what is sealed under the others is sealed anew by the upkeep. KEY_UNAVAILABLE when a key is missing under
 * which something may still be sealed.
 */
export const claimMasterKeys = (db: Database, { current, all }: KnownKeys, log: Log): Promise<void> =>
  db.transaction(async (tx) => {
    const { value: known } = await tx.settings.claim('master-key-id', current.id);
    const retiring = idsIn(await tx.settings.get('master-keys-retiring'));
    const given = new Set(all.map(({ id }) => id));
    const missing = [known, ...retiring].filter((id) => !given.has(id));
    if (missing.length > 0) {
      throw new DomainError('KEY_UNAVAILABLE', `This database has secrets and archives under master key ${missing.join(' and ')}; configured: ${[...given].join(', ')}.`, {
        hint: 'Start the service with MASTER_KEY or MASTER_KEY_FILE as it was. To change keys, give the new one first and keep the old one behind it until the log says that it is not needed any more.',
      });
    }
    if (known === current.id) return;
    await tx.settings.put('master-keys-retiring', [...new Set([...retiring, known])].filter((id) => id !== current.id).join(','));
    await tx.settings.put('master-key-id', current.id);
    log.info('The master key changes; what is sealed under the old one is sealed anew in the background. Keep the old one configured until then.', { from: known, to: current.id });
  });

/** Ids of master keys that were current before and under which something may still be sealed. */
export const retiringKeys = async (db: Database): Promise<string[]> => idsIn(await db.read.settings.get('master-keys-retiring'));
