import { secretPlace } from '../../services/endpoint.js';
import { inspectionPlace } from '../../services/inspection-parts.js';
import { retiringKeys } from '../../services/master-key-use.js';
import { type Repositories, type RestoreDetail, type SecretPlace, type Vault } from '../../services/ports.js';
import { restoreDetailPlace } from '../../services/restore-details.js';
import { type UpkeepContext } from './context.js';

/** Rows that hold something sealed. */
interface SealedRows<Row> {
  what: string;
  /** Of the next ones under another key than that. */
  next(keyId: string, after: Row | null): Promise<Row[]>;
  placeOf(row: Row): SecretPlace;
  sealedIn(row: Row): Buffer;
  /** false: it has been changed meanwhile, and so is under the current key, or comes in the next pass. */
  replace(tx: Repositories, row: Row, sealed: Buffer): Promise<boolean>;
}

/** Seals rows anew. Returns how many could not be. */
const reseal = async <Row>(rows: SealedRows<Row>, vault: Vault, { lock, log, signal }: UpkeepContext): Promise<number> => {
  let left = 0;
  for (let after: Row | null = null; !signal.aborted; ) {
    const batch: Row[] = await rows.next(vault.keyId, after);
    for (const row of batch) {
      const place = rows.placeOf(row);
      try {
        const sealed = vault.seal(place, vault.open(place, rows.sealedIn(row)));
        await lock.write((tx) => rows.replace(tx, row, sealed));
      } catch (error) {
        left += 1;
        log.error(`${rows.what} could not be sealed under the current master key.`, { id: place.rowId, error: String(error) });
      }
    }
    const last = batch.at(-1);
    if (last === undefined) return left;
    after = last;
  }
  return left + 1;
};

const secrets = ({ db }: UpkeepContext): SealedRows<{ id: string; projectId: string; secrets: Buffer }> => ({
  what: 'The credentials of an instance',
  next: (keyId, after) => db.read.upkeep.secretsNotUnder(keyId, after?.id ?? '', 200),
  placeOf: secretPlace,
  sealedIn: (row) => row.secrets,
  replace: (tx, row, sealed) => tx.upkeep.replaceSecrets(row.id, row.secrets, sealed),
});

/** Parts are larger than credentials: up to some hundred kilobytes each. */
const inspections = ({ db }: UpkeepContext): SealedRows<Awaited<ReturnType<Repositories['inspections']['notUnder']>>[number]> => ({
  what: 'A part of an inspection',
  next: (keyId, after) => db.read.inspections.notUnder(keyId, after, 20),
  placeOf: inspectionPlace,
  sealedIn: (row) => row.sealed,
  replace: (tx, row, sealed) => tx.inspections.reseal(row, sealed),
});

const restores = ({ db }: UpkeepContext): SealedRows<RestoreDetail> => ({
  what: 'What a restore tells of keys',
  next: (keyId, after) => db.read.restoreDetails.notUnder(keyId, after?.ownerId ?? '', 50),
  placeOf: restoreDetailPlace,
  sealedIn: (row) => row.sealed,
  replace: (tx, row, sealed) => tx.restoreDetails.reseal(row, sealed),
});

/**
 * Puts everything that is sealed under another master key under the current one; no data is read or written for that, but the small wrapped
 * keys. Only where this process's current key is the database's: during a roll-out nodes may differ. When nothing is left, says so.
 * @param archiveIds sealed archives with a key wrapped by another master key
 */
export const rekey = async (vault: Vault, archiveIds: readonly string[], ctx: UpkeepContext): Promise<number> => {
  const { db, lock, log, signal, archives } = ctx;
  if ((await db.read.settings.get('master-key-id')) !== vault.keyId) return 0;
  let left = (await reseal(secrets(ctx), vault, ctx)) + (await reseal(inspections(ctx), vault, ctx)) + (await reseal(restores(ctx), vault, ctx));
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
