import { DomainError } from '../../domain/errors.js';

/**
 * Damage, with the part of the archive and the byte it was noticed at.
 * @param offset bytes from the start of the object `key`
 */
export const corrupt = (key: string, part: string, offset: number, what: string, cause?: unknown): DomainError =>
  new DomainError('CORRUPT', `Archive object ${key} is damaged: ${part} at byte ${String(offset)}: ${what}.`, {
    hint: 'Do not restore from this backup; take another one, and check the disk or bucket it lies on.',
    details: { key, part, offset },
    cause,
  });

export const unsupported = (key: string, what: string): DomainError =>
  new DomainError('UNSUPPORTED_FORMAT', `Archive object ${key} has ${what}, which this version cannot read.`, {
    hint: 'Use the version of Snapback that wrote it, or a newer one.',
    details: { key },
  });
