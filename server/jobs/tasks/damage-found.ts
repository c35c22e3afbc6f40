import { DomainError } from '../../domain/errors.js';
import { isDamage } from '../../services/damage.js';
import { type BackupRecord } from '../../services/records.js';

/** A job that reads an archive has met damage of it. */
export class DamageFound extends DomainError {
  constructor(readonly damage: DomainError, { name }: Pick<BackupRecord, 'name'>) {
    super('BACKUP_DAMAGED', `Backup "${name}" is damaged. ${damage.message}`, { hint: 'Take another backup, and check the disk or bucket that the store lies on.', details: damage.details, cause: damage });
    this.name = 'DamageFound';
  }
}

/** What reading ended with, as the job's own error. */
export const asFound = (error: unknown, backup: Pick<BackupRecord, 'name'>): unknown => (isDamage(error) ? new DamageFound(error, backup) : error);
