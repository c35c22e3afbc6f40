import { type Clock } from '../engine/ports.js';
import { type Database, type Ids } from '../services/ports.js';
import { makeApiKey } from './api-keys.js';

export interface FirstKey {
  text: string;
  keyId: string;
  projectId: string;
}

/**
 * At the very first start, makes project `default` and its admin key, which is service-wide; null at every other. Of several nodes that start at once, one does it.
 * @param keep stores the key's text for its owner before it becomes valid: a crash in between leaves a file without a key, never a key
 * that nobody knows
 */
export const ensureFirstKey = (
  { db, ids, clock }: { db: Database; ids: Ids; clock: Clock },
  keep: (text: string) => Promise<void>,
): Promise<FirstKey | null> =>
  db.transaction(async (tx) => {
    const projectId = ids.make('project');
    const keyId = ids.make('apiKey');
    const { first } = await tx.settings.claim('first-key', keyId);
    if (!first) return null;
    const { text, secretHash } = makeApiKey(keyId);
    const createdAt = clock.now();
    if (!(await tx.projects.insert({ id: projectId, name: 'default', createdAt }))) throw new Error('A database without a first key has a project "default" already');
    await tx.apiKeys.insert({ id: keyId, projectId, name: 'first admin key', role: 'ADMIN', serviceWide: true, instanceIds: null, secretHash, createdAt, expiresAt: null, revokedAt: null, lastUsedAt: null });
    await keep(text);
    return { text, keyId, projectId };
  });
