import { type AuditOutcome } from '../domain/audit.js';
import { DomainError } from '../domain/errors.js';
import { isId } from '../domain/ids.js';
import { type Clock, type Log } from '../engine/ports.js';
import { archiveOf } from './archive-ref.js';
import { Seldom } from './audit.js';
import { appendAudit } from './audit-chain.js';
import { notingDamage, readNotingDamage } from './damage.js';
import { downloadName } from './file-name.js';
import { type Database, type EnginePort, type LinkSigner } from './ports.js';
import { startReading } from './reading.js';

export interface Download {
  fileName: string;
  sizeBytes: bigint;
  sha256: string;
  etag: string;
  modifiedAt: Date;
  read(range: { start: bigint; end: bigint }, signal: AbortSignal): AsyncIterable<Uint8Array>;
  release(): Promise<void>;
}

export interface DownloadServiceDeps {
  db: Database;
  engine: EnginePort;
  links: LinkSigner;
  clock: Clock;
  log: Log;
  seldom?: Seldom;
}

const NOTED_EVERY_MS = 60_000;

const invalid = (): DomainError => new DomainError('NOT_FOUND', 'This link is not valid, or not any more.', { hint: 'Make a new one with createDownloadLink.' });

/**
 * The link is the right: whoever holds a valid one is authorised for exactly its backup, until its time, until it is revoked, or until the key that it
 * was made with is. One for a single use is used by its first GET, whatever comes of that.
 */
export const createDownloadService = (
  { db, engine, links, clock, log, seldom = new Seldom(NOTED_EVERY_MS) }: DownloadServiceDeps,
): { open(token: string, method: 'GET' | 'HEAD', from?: string): Promise<Download> } => ({
  async open(token, method, from) {
    const at = clock.now();
    const claims = links.verify(token, at);
    // Of whom it is, nobody knows: there is no project to note it in.
    if (!claims) throw invalid();
    const { projectId, backupId, keyId } = claims;
    const note = async (outcome: AuditOutcome, instanceId?: string): Promise<void> => {
      if (!seldom.isDue(`${outcome} ${from ?? ''} ${token}`)) return;
      await db.transaction((tx) => appendAudit(tx, {
        projectId, actor: { credential: null, keyId, name: null, from }, action: 'BACKUP_DOWNLOADED', outcome, code: outcome === 'DONE' ? null : 'NOT_FOUND', objectId: backupId, instanceId, at,
      }));
    };
    const keyStands = !isId('apiKey', keyId) || (await db.read.apiKeys.standing([keyId])).length > 0;
    if (!keyStands || !(method === 'GET' ? await db.read.links.use(claims, claims, at) : await db.read.links.stands(claims, claims))) {
      await note('REFUSED');
      throw invalid();
    }
    const reading = await startReading(db, log, claims, backupId, 'download');
    try {
      const { backup } = reading;
      await note('DONE', backup.instanceId);
      const archive = await notingDamage({ db, log }, claims, backup.id, engine.openArchive(archiveOf(backup)));
      return {
        fileName: downloadName(backup),
        sizeBytes: backup.sizeBytes,
        sha256: backup.sha256,
        etag: backup.sha256,
        modifiedAt: backup.completedAt ?? backup.createdAt,
        read: (range, signal) => readNotingDamage({ db, log }, claims, backup.id, archive.read(range, AbortSignal.any([signal, reading.lost]))),
        async release() {
          try {
            await archive.close();
          } finally {
            await reading.release();
          }
        },
      };
    } catch (error) {
      await reading.release();
      throw error;
    }
  },
});
