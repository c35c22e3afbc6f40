import { DomainError } from '../domain/errors.js';
import { lookUp, shownId } from './lookup.js';
import { type Repositories, type Scope } from './ports.js';
import { type InstanceRecord } from './records.js';

export const missingInstance = (id: string): DomainError => new DomainError('NOT_FOUND', `There is no instance ${shownId(id)}.`, { field: ['instanceId'] });

const stillProtected = (instance: InstanceRecord | null, id: string): InstanceRecord => {
  if (!instance || instance.removedAt !== null) throw missingInstance(id);
  return instance;
};

/** An instance that is still protected, or NOT_FOUND. */
export const protectedInstance = async (repositories: Repositories, scope: Scope, id: string): Promise<InstanceRecord> =>
  stillProtected(await lookUp('instance', id, () => repositories.instances.get(scope, id)), id);

/**
 * The same, locked to the transaction's end: work that starts, a change and a removal cannot pass each other. Of several locks the
 * project's is taken first, then the policy's, then this one.
 */
export const lockedInstance = async (tx: Repositories, scope: Scope, id: string): Promise<InstanceRecord> =>
  stillProtected(await lookUp('instance', id, () => tx.instances.lock(scope, id)), id);
