import { DomainError, type ErrorCode } from '../../domain/errors.js';

const HINTS: Partial<Record<ErrorCode, string>> = {
  CORRUPT: 'These bytes are not a sound RDB file; take the backup again, or use another copy.',
  TRUNCATED: 'The file ends too early; take the backup again, or fetch the file again.',
  UNSUPPORTED_FORMAT: 'Only RDB files of released Redis and Valkey servers can be read.',
  LIMIT_EXCEEDED: 'The file goes beyond what any real server writes.',
};

/** An error of the RDB reader: what was wrong, at which byte from the start of the file. */
export const rdbError = (
  code: 'CORRUPT' | 'TRUNCATED' | 'UNSUPPORTED_FORMAT' | 'LIMIT_EXCEEDED', what: string, offset: number,
): DomainError => new DomainError(code, `RDB file: ${what} (byte ${offset}).`, { hint: HINTS[code], details: { offset } });
