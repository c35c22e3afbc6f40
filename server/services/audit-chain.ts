import { createHash } from 'node:crypto';
import { type AuditDraft } from '../domain/audit.js';
import { type Repositories } from './ports.js';
import { type AuditEventRecord } from './records.js';

/** Names come from tokens and headers, too: a row does not grow with them. */
const MAX_TEXT = 256;
/** How an IPv4 address stands on a socket that takes both. */
const MAPPED = /^::ffff:(?=\d+\.)/i;
const short = (text: string | null | undefined): string | null => (text == null ? null : Buffer.from(text.slice(0, MAX_TEXT)).toString().replaceAll('\0', ''));

/**
 * The hash of an event: SHA-256 over the hash of the one before it and a JSON list of all its fields in a fixed order, so that no event can be changed,
 * left out, added or moved without all later hashes changing. The list begins with its version. Before the first one come 32 zeros.
 */
export const chainHash = (before: Buffer, event: Omit<AuditEventRecord, 'hash'>): Buffer => {
  const { projectId, sequence, id, createdAt, credential, actorId, actorName, address, action, outcome, code, objectId, instanceId, details } = event;
  const facts = Object.entries(details).sort(([a], [b]) => (a < b ? -1 : 1));
  const fields = [1, projectId, String(sequence), id, createdAt.toISOString(), credential, actorId, actorName, address, action, outcome, code, objectId, instanceId, facts];
  return createHash('sha256').update(before).update(JSON.stringify(fields)).digest();
};

/**
 * Adds an event to its project's chain, in the transaction of what it tells of and last in it: the chain's end is locked until the commit, and who holds
 * that waits for no other lock.
 */
export const appendAudit = async (tx: Repositories, { projectId, actor, action, outcome, code = null, objectId, instanceId, details = {}, at }: AuditDraft): Promise<void> => {
  const end = await tx.audit.lockEnd({ projectId });
  const event = {
    id: tx.audit.makeId(at), projectId, sequence: end.sequence + 1n, createdAt: at,
    credential: actor.credential, actorId: short(actor.keyId), actorName: short(actor.name), address: short(actor.from)?.replace(MAPPED, '') ?? null,
    action, outcome, code, objectId: short(objectId), instanceId: short(instanceId), details,
  };
  await tx.audit.append({ ...event, hash: chainHash(end.hash, event) });
};
