import { createHmac, timingSafeEqual } from 'node:crypto';
import { type AuditSigner, type ChainEnd } from '../services/ports.js';
import { type MasterKeys } from './master-key.js';

/** Signs ends of audit chains: HMAC-SHA-256 under a key derived from the master key, which whoever can only write to the database does not have. */
export const createAuditSigner = ({ current, all }: MasterKeys): AuditSigner => {
  const keys = new Map(all.map((master) => [master.id, master.derive('audit checkpoints v1')]));
  const signature = (key: Buffer, { projectId, sequence, hash }: ChainEnd, at: Date, keyId: string): Buffer =>
    createHmac('sha256', key).update(JSON.stringify([1, projectId, String(sequence), hash.toString('hex'), at.toISOString(), keyId])).digest();
  const currentKey = current.derive('audit checkpoints v1');
  return {
    sign: (end, at) => ({ ...end, createdAt: at, keyId: current.id, signature: signature(currentKey, end, at, current.id) }),
    verify(checkpoint) {
      const key = keys.get(checkpoint.keyId);
      if (!key) return undefined;
      const wanted = signature(key, checkpoint, checkpoint.createdAt, checkpoint.keyId);
      return wanted.length === checkpoint.signature.length && timingSafeEqual(wanted, checkpoint.signature);
    },
  };
};
