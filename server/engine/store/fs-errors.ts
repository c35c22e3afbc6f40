import { DomainError } from '../../domain/errors.js';

/** Node's `error.code` of a failed system call, or undefined for anything else. */
export const systemCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

/** No entry of that name; ENOTDIR: a part of the path that should be a folder is a file. */
export const isMissing = (error: unknown): boolean => systemCode(error) === 'ENOENT';

/**
 * Translates a failed system call.
 * @param operation what was being done, as the verb of a sentence: "write", "fsync the folder of"
 * @param subject object key, or the path where no key is meant
 */
export const storageError = (operation: string, subject: string, location: string, cause: unknown): DomainError => {
  if (cause instanceof DomainError) return cause;
  const errno = systemCode(cause) ?? 'unknown fault';
  const message = `Could not ${operation} ${subject} in ${location}: ${errno}.`;
  const details = { operation, subject, location, errno };
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new DomainError('STORAGE_FULL', message, {
        hint: 'Free space on that volume or raise its quota, then start the work again.', details, cause,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new DomainError('STORAGE_PERMISSION', message, {
        hint: 'Give the service\'s user read and write access to the store, and check that the volume is not mounted read-only.', details, cause,
      });
    default:
      return new DomainError('STORAGE_IO', message, {
        hint: 'Check the volume and the system log for disk or mount faults.', retryable: errno === 'EMFILE' || errno === 'ENFILE', details, cause,
      });
  }
};
