import { secretPlace } from '../../services/endpoint.js';
import { retiringKeys } from '../../services/master-key-use.js';
import { type Vault } from '../../services/ports.js';
import { type UpkeepContext } from './context.js';

const BATCH = 200;

/** Seals stored passwords anew. Returns how many could not be. */
const resealSecrets = async (vault: Vault, { db, lock, log, signal }: UpkeepContext): Promise<number> => {
  let left = 0;
  for (let after = ''; !signal.aborted; ) {
    const rows = await db.read.upkeep.secretsNotUnder(vault.keyId, after, BATCH);
    for (const { id, projectId, secrets } of rows) {
      const place = secretPlace({ projectId, id });
      try {
        const sealed = vault.seal(place, vault.open(place, secrets));
        // One that was changed meanwhile is under the current key already, or comes in the next pass.
        await lock.write((tx) => tx.upkeep.replaceSecrets(id, secrets, sealed));
      } catch (error) {
        left += 1;
        log.error('The credentials of an instance could not be sealed under the current master key.', { instanceId: id, error: String(error) });
      }
    }
    const last = rows.at(-1);
    if (last === undefined) return left;
    after = last.id;
  }
  return left + 1;
};

/**
 * Puts everything that is sealed under another master key under the current one; no data is read or written for that, but the small wrapped
 * keys. Only where this process's current key is the database's: during a roll-out nodes may differ. When nothing is left, says so.
 * @param archiveIds sealed archives with a key wrapped by another master key
 */
export const rekey = async (vault: Vault, archiveIds: readonly string[], ctx: UpkeepContext): Promise<number> => {
  const { db, lock, log, signal, archives } = ctx;
  if ((await db.read.settings.get('master-key-id')) !== vault.keyId) return 0;
  let left = await resealSecrets(vault, ctx);
  let changed = 0;
  for (const backupId of archiveIds) {
    if (signal.aborted) return changed;
    try {
      await ctx.assertOurs();
      if (await archives.rekey(backupId, signal)) changed += 1;
    } catch (error) {
      left += 1;
      log.error('An archive could not be put under the current master key; the next pass tries again.', { backupId, error: String(error) });
    }
  }
  const retiring = await retiringKeys(db);
  if (left > 0 || retiring.length === 0 || signal.aborted) return changed;
  await lock.write((tx) => tx.settings.put('master-keys-retiring', ''));
  log.info('Everything is sealed under the current master key now; the others may be taken out of the configuration once all nodes run with it.', { current: vault.keyId, notNeeded: retiring.join(', ') });
  return changed;
};
