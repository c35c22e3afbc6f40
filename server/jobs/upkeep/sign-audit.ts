import { type AuditSigner, type Database } from '../../services/ports.js';
import { type ServiceLock } from './service-lock.js';

/** Signs the ends of audit chains that have grown since they were signed last. Returns how many. */
export const signAudit = async (db: Database, signer: AuditSigner, lock: ServiceLock, { at, signal }: { at: Date; signal: AbortSignal }): Promise<number> => {
  const ends = await db.read.audit.ends({ unsigned: true });
  let signed = 0;
  for (const end of ends) {
    if (signal.aborted) break;
    await lock.write((tx) => tx.audit.addCheckpoint(signer.sign(end, at)));
    signed += 1;
  }
  return signed;
};
