import { DatabaseError } from 'pg';
import { QueryFailedError, QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError } from 'typeorm';

/** SQLSTATEs after which the same transaction may succeed: connection lost (08), deadlock, too many connections, idle for too long, shut down or starting. */
const PASSING = /^(08...|40001|40P01|53300|25P03|57P0[123])$/;
const UNREACHABLE: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

/** No connection to the database could be had. */
export class DatabaseAway extends Error {
  override readonly name = 'DatabaseAway';
}

export const isTransient = (error: unknown): boolean => {
  if (error instanceof DatabaseAway) return true;
  const fault: unknown = error instanceof QueryFailedError ? error.driverError : error;
  if (fault instanceof DatabaseError) return PASSING.test(fault.code ?? '');
  // A statement that failed without a SQLSTATE failed for want of its connection; it may have been lost between two statements.
  if ([QueryFailedError, QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError].some((kind) => error instanceof kind)) return true;
  return fault instanceof Error && 'code' in fault && UNREACHABLE.has(fault.code);
};

/** 23505: what a statement wanted to write is there already. */
export const isUniqueViolation = (error: unknown): boolean =>
  error instanceof QueryFailedError && error.driverError instanceof DatabaseError && error.driverError.code === '23505';
