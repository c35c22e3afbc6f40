import { DomainError, isDamageCode } from '../domain/errors.js';
import { type Log } from '../engine/ports.js';
import { type Database, type Scope } from './ports.js';
import { type DamageRecord } from './records.js';

export const damageOf = ({ code, message }: DomainError, noticedAt: Date): DamageRecord => ({ code, message, noticedAt });

/** Whether an error of an archive's reading says that the archive is damaged. */
export const isDamage = (error: unknown): error is DomainError => error instanceof DomainError && isDamageCode(error.code);

/**
 * Makes an AVAILABLE backup DAMAGED when `error`, which reading its archive ended with, says so. Never rejects: whoever reads has its own
 * error to tell.
 */
export const noteDamage = async (deps: { db: Database; log: Log }, scope: Scope, backupId: string, error: unknown): Promise<void> => {
  if (!isDamage(error)) return;
  try {
    const changed = await deps.db.transaction(async (tx) => tx.backups.change(scope, backupId, ['AVAILABLE'], { state: 'DAMAGED', damage: damageOf(error, await tx.now()) }));
    if (changed) deps.log.error('A reader found that an archive is damaged; its backup is DAMAGED.', { backupId, code: error.code, message: error.message });
  } catch (cause) {
    deps.log.error('A reader found that an archive is damaged, and its backup could not be marked.', { backupId, message: error.message, cause: String(cause) });
  }
};

/** Waits for an archive to be opened. Damage is noted, and is BACKUP_DAMAGED for whoever asked. */
export const notingDamage = async <T>(deps: { db: Database; log: Log }, scope: Scope, backupId: string, opening: Promise<T>): Promise<T> => {
  try {
    return await opening;
  } catch (error) {
    if (!isDamage(error)) throw error;
    await noteDamage(deps, scope, backupId, error);
    throw new DomainError('BACKUP_DAMAGED', `Backup ${backupId} is damaged.`, { hint: 'Use another backup; its "damage" says what is wrong with this one.', field: ['backupId'], cause: error });
  }
};

/** The bytes of an archive, with the damage noted that ends them. */
export async function* readNotingDamage(deps: { db: Database; log: Log }, scope: Scope, backupId: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* bytes;
  } catch (error) {
    await noteDamage(deps, scope, backupId, error);
    throw error;
  }
}
