import { DomainError } from '../../domain/errors.js';
import { ServerReplyError } from '../control.js';

/** The reply, or undefined when the server refused the command (no right, unknown, renamed). Other faults are faults. */
export const optional = async (reply: Promise<unknown>): Promise<unknown> => {
  try {
    return await reply;
  } catch (error) {
    if (error instanceof ServerReplyError || (error instanceof DomainError && error.code === 'PERMISSION_MISSING')) return undefined;
    throw error;
  }
};
