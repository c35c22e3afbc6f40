import { type DomainError, isUserError } from '../domain/errors.js';
import { type JobRecord } from '../services/records.js';
import { type GraphContext } from './context.js';
import { clearLoaders } from './loaders.js';
import { type UserError } from './types/error.type.js';

const sentence = (text: string): string => (/[.!?…]$/.test(text) ? text : `${text}.`);

export const toUserError = (error: DomainError): UserError => ({
  code: error.code,
  message: error.hint === undefined ? error.message : `${sentence(error.message)} ${error.hint}`,
  field: error.field ?? null,
});

export type Payload<T extends object> = Partial<T> & { userErrors: readonly UserError[] };

/**
 * Runs a mutation's service call and makes its payload: the objects, or what the caller can fix. Anything else is thrown on.
 * Loaders are cleared afterwards: what was loaded before the change must not be shown after it.
 */
export const toPayload = async <T extends object>(context: GraphContext, work: () => Promise<T>): Promise<Payload<T>> => {
  try {
    return { ...(await work()), userErrors: [] };
  } catch (error) {
    if (!isUserError(error)) throw error;
    const nothing: Partial<T> = {};
    return { ...nothing, userErrors: [toUserError(error)] };
  } finally {
    clearLoaders(context.loaders);
  }
};

/** The same for mutations whose payload shows, with INSTANCE_BUSY, the job that is in the way (`details.jobId`). */
export const toJobPayload = async <T extends { job: JobRecord }>(context: GraphContext, work: () => Promise<T>): Promise<Payload<T>> => {
  let blocking: string | undefined;
  const payload = await toPayload(context, async () => {
    try {
      return await work();
    } catch (error) {
      const jobId = isUserError(error) && error.code === 'INSTANCE_BUSY' ? error.details['jobId'] : undefined;
      if (typeof jobId === 'string') blocking = jobId;
      throw error;
    }
  });
  return blocking === undefined ? payload : { ...payload, job: await context.loaders.jobs.load(blocking) };
};
